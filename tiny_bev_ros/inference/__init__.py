# SPDX-License-Identifier: Apache-2.0
"""Running the models on a device: arrays in, tensors out, no ROS."""
