# SPDX-License-Identifier: Apache-2.0
"""Convolutions computed at active sites alone, with the result of the dense ones."""
