# SPDX-License-Identifier: Apache-2.0
"""Programs beside the nodes, and what launch files and tests share with them."""
