# SPDX-License-Identifier: Apache-2.0
"""Backbones: a pseudo-image to BEV features."""
