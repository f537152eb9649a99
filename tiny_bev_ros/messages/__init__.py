# SPDX-License-Identifier: Apache-2.0
"""Codecs between ROS messages and NumPy arrays."""
