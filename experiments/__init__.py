# SPDX-License-Identifier: Apache-2.0
"""Experiments whose results the documentation shows; one command reproduces each."""
