# SPDX-License-Identifier: Apache-2.0
"""Weight files: read without running anything, matched to networks, described."""
