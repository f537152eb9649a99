# SPDX-License-Identifier: Apache-2.0
"""Heads: BEV features to detections and drivable area."""
