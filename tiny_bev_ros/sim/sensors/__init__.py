# SPDX-License-Identifier: Apache-2.0
"""Sensors of the simulator: spinning LiDARs and a pinhole camera."""
