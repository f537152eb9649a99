# SPDX-License-Identifier: Apache-2.0
"""Skips test modules whose optional packages cannot be used."""

from __future__ import annotations

import pytest

from tiny_bev_ros.optional_imports import import_optional


def require_packages(*names: str) -> None:
    """Skips the calling test module unless all packages can be used; call it before imports.

    A package that is installed but fails to import counts as missing.
    """
    for name in names:
        if reason := import_optional(name).reason:
            pytest.skip(reason, allow_module_level=True)
