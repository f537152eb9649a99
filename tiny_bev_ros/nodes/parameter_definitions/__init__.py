# SPDX-License-Identifier: Apache-2.0
"""Definitions of all parameters, in groups that nodes share; parameters.py lists them by node."""
