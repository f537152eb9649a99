# SPDX-License-Identifier: Apache-2.0
"""Rosbag2 files: read, written, played and made from the simulator."""
