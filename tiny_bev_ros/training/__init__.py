# SPDX-License-Identifier: Apache-2.0
"""Training of the networks, and what measures them; without ROS."""
