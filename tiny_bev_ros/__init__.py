# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Bird's-eye-view features from LiDAR for ROS 2, on small GPUs or none.

The names in ``__all__`` are the public Python API. Each is imported on first use: importing the
package loads neither PyTorch nor ROS.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiny_bev_ros.bag.cloud_frames import BagFrame, read_bag
    from tiny_bev_ros.client import BevSubscriber
    from tiny_bev_ros.detector import Detector
    from tiny_bev_ros.errors import TinyBevError
    from tiny_bev_ros.grid import BevGrid
    from tiny_bev_ros.models import TinyBEVBackbone, build_backbone, list_backbones

__version__ = '0.1.0'
__all__ = [
    'BagFrame',
    'BevGrid',
    'BevSubscriber',
    'Detector',
    'TinyBEVBackbone',
    'TinyBevError',
    'build_backbone',
    'list_backbones',
    'read_bag',
]
# Module of each public name.
_MODULES = {
    'BagFrame': 'bag.cloud_frames',
    'BevGrid': 'grid',
    'BevSubscriber': 'client',
    'Detector': 'detector',
    'TinyBEVBackbone': 'models',
    'TinyBevError': 'errors',
    'build_backbone': 'models',
    'list_backbones': 'models',
    'read_bag': 'bag.cloud_frames',
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = getattr(import_module(f'{__name__}.{_MODULES[name]}'), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Lists the public names too, imported or not."""
    return sorted({*globals(), *__all__})
