# SPDX-License-Identifier: Apache-2.0
"""Bird's-eye-view features from LiDAR for ROS 2, on small GPUs or none."""

__version__ = '0.1.0'
