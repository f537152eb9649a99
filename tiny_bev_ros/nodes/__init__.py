# SPDX-License-Identifier: Apache-2.0
"""ROS 2 nodes: thin layers over models, inference and messages."""
