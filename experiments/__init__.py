# SPDX-License-Identifier: Apache-2.0
"""Experiments whose results the documentation shows; each is made again by one command."""
