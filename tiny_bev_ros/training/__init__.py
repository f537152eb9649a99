# SPDX-License-Identifier: Apache-2.0
"""Training and evaluation of the networks, without ROS.

`train` and `evaluate` are the programs. `trainer` has the training loop, `networks` the models
that it trains, `dataset` and `camera_dataset` their samples. Targets and losses are those of the
heads, `tiny_bev_ros.models.heads`.
"""
