# SPDX-License-Identifier: Apache-2.0
"""Demos: a recorded or simulated drive through the nodes, drawn."""
