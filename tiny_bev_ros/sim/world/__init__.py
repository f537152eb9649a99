# SPDX-License-Identifier: Apache-2.0
"""Streets made at random: ground, buildings, traffic and clutter."""
