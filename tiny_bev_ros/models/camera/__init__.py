# SPDX-License-Identifier: Apache-2.0
"""Cameras: geometry, extrinsics and the image encoder."""
