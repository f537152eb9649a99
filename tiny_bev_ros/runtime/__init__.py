# SPDX-License-Identifier: Apache-2.0
"""How tensor messages get from one process to another; what they say is in messages."""
