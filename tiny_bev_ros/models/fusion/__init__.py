# SPDX-License-Identifier: Apache-2.0
"""Fusion: BEV features that attend to camera features."""
