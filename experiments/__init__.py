# SPDX-License-Identifier: Apache-2.0
"""Experiments: what the documentation shows, made again by one command each."""
