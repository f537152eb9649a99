# SPDX-License-Identifier: Apache-2.0
"""Running nodes: subscriptions, publishers, synchronization, statistics, process settings."""
