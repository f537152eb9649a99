# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Loading of checkpoints from this package and from other code bases, strictly checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.checkpoint.key_names import Part, find_part, mismatch_error
from tiny_bev_ros.models.checkpoint.weight_files import WeightFile, printable, read_weights
from tiny_bev_ros.models.pfn import PillarFeatureNet

_PFN_STYLES = {
    'pfn': 'tiny_bev_ros',
    'vfe': 'OpenPCDet',
    'pillar_vfe': 'OpenCOOD',
    'voxel_encoder': 'mmdetection3d',
    'pts_voxel_encoder': 'mmdetection3d',
    'reader': 'det3d',
}
_SECOND_LAYER = re.compile(r'(^|\.)pfn_layers\.[1-9]')
# Number of names of unread content that are listed; the rest is counted.
_LISTED = 5


class LoadInfo(NamedTuple):
    """Origin of the weights of one part, for logs and diagnostics.

    Attributes:
        names: recognised style of key names, prefix, and other content of the file.
        digest: SHA-256 of the bytes that were loaded, as 64 hexadecimal digits.
    """

    names: str
    digest: str


def load_checkpoint(path: str | Path, parts: Mapping[str, nn.Module]) -> dict[str, LoadInfo]:
    """Loads parts of a network from a file, which is read once.

    The file is of safetensors or of torch.save, whatever its name, and holds a state_dict, alone
    or in dicts around it. The keys of a part are its own names, alone or below any prefix; other
    parts may lie beside it. Words that torch.compile, DataParallel and other wrappers put into
    names are left out. A PillarFeatureNet is also found under the names of other code bases, see
    `load_pfn`. For a ModuleDict, such as heads by name, the file may hold further entries.

    Args:
        path: file to read.
        parts: modules by a name for the result, on any device.

    Returns:
        LoadInfo for each part.

    Raises:
        TinyBevError: the file cannot be read, is larger than 1 GiB, has no such weights or
            several that differ, or its tensors are not those of a module; no module is
            changed then.
    """
    file = read_weights(path)
    weights = {name: _find(module, file, path) for name, module in parts.items()}
    for name, module in parts.items():
        module.load_state_dict(weights[name].values)
    return {
        name: LoadInfo(_describe(parts[name], part, file.unread), file.digest)
        for name, part in weights.items()
    }


def load_pfn(model: nn.Module, path: str | Path) -> LoadInfo:
    """Loads the weights of a pillar feature net; see `load_checkpoint`.

    Recognises ``linear.weight`` and ``norm.*``, alone or below any prefix, such as ``pfn.``,
    ``vfe.pfn_layers.0.`` (OpenPCDet), ``pillar_vfe.pfn_layers.0.`` (OpenCOOD),
    ``voxel_encoder.pfn_layers.0.`` or ``pts_voxel_encoder.pfn_layers.0.`` (mmdetection3d) and
    ``reader.pfn_layers.0.`` (det3d).

    Key names do not determine the options of the network. Networks of these code bases need
    ``max_points`` as in their training (32 for KITTI, 20 for nuScenes). mmdetection3d's networks
    need ``legacy_offsets=True`` if their config does not set ``legacy=False`` (the KITTI ones do
    not). A det3d network of 10 channels has other decorations and is refused; a network of
    mmdetection3d before 1.0 with a time column has them too, but cannot be recognised.

    Args:
        model: a PillarFeatureNet, on any device.
        path: file to read.

    Raises:
        TinyBevError: see `load_checkpoint`.
    """
    return load_checkpoint(path, {'pfn': model})['pfn']


def load_backbone(model: nn.Module, path: str | Path) -> LoadInfo:
    """Loads the weights of a backbone of the registry; see `load_checkpoint`."""
    return load_checkpoint(path, {'backbone': model})['backbone']


def load_camera_encoder(model: nn.Module, path: str | Path) -> LoadInfo:
    """Loads the weights of a CameraEncoder; see `load_checkpoint`."""
    return load_checkpoint(path, {'camera_encoder': model})['camera_encoder']


def load_fusion(model: nn.Module, path: str | Path) -> LoadInfo:
    """Loads the weights of a FuTrFusion; see `load_checkpoint`."""
    return load_checkpoint(path, {'fusion': model})['fusion']


def load_heads(model: nn.ModuleDict, path: str | Path) -> LoadInfo:
    """Loads the weights of heads by name; the file may hold other heads. See `load_checkpoint`."""
    return load_checkpoint(path, {'heads': model})['heads']


def _find(module: nn.Module, file: WeightFile, path: str | Path) -> Part:
    """Finds and checks the weights of a module."""
    own = module.state_dict()
    if isinstance(module, PillarFeatureNet):
        part = _find_pfn(own, file, path)
    else:
        part = find_part(path, file.maps, own, others=isinstance(module, nn.ModuleDict))
    faults = [
        f'{part.prefix}{key} {fault}'
        for key, value in part.values.items()
        if (fault := _value_fault(key, value))
    ]
    if faults:
        raise mismatch_error(path, faults)
    return part


def _find_pfn(own: Mapping[str, Tensor], file: WeightFile, path: str | Path) -> Part:
    if any(_SECOND_LAYER.search(key) for values in file.maps.values() for key in values):
        raise TinyBevError(f'{path} holds a PFN of several layers; expected one layer')
    part = find_part(path, file.maps, own, adapt=_flatten_linear)
    if 'reader' in part.prefix.split('.') and part.values['linear.weight'].shape[1] == 10:
        raise TinyBevError(
            f'{path} holds a det3d PFN of 10 channels, which are x, y, z, intensity, time and '
            '5 offsets; expected 9'
        )
    return part


def _flatten_linear(values: dict[str, Any]) -> dict[str, Any]:
    """Converts the weight of a 1x1 convolution to that of the equivalent linear layer."""
    linear = values.get('linear.weight')
    if isinstance(linear, Tensor) and linear.ndim > 2 and set(linear.shape[2:]) == {1}:
        return {**values, 'linear.weight': linear.flatten(1)}
    return dict(values)


def _describe(module: nn.Module, part: Part, unread: list[str]) -> str:
    style, rest = 'tiny_bev_ros', ''
    if isinstance(module, PillarFeatureNet):
        words = part.prefix.split('.')
        style = next((_PFN_STYLES[word] for word in words if word in _PFN_STYLES), 'bare')
    if unread:
        names = ', '.join(printable(name) for name in unread[:_LISTED])
        more = f' and {len(unread) - _LISTED} more' if len(unread) > _LISTED else ''
        rest = f'; left unread, as they are no tensors: {names}{more}'
    return f'{style} key names, {printable(part.prefix) or "no prefix"}{rest}'


def _value_fault(key: str, value: Tensor) -> str:
    """Returns the fault in the numbers of a tensor; '' for none."""
    if not value.double().isfinite().all():
        return 'holds NaN or Inf; expected finite numbers'
    if key.endswith('running_var') and (value < 0).any():
        return 'holds a negative variance; expected 0 or more'
    if key.endswith('calibration.scale') and (value <= 0).any():
        return 'holds a scale of 0 or less; expected scales above 0'
    return ''
