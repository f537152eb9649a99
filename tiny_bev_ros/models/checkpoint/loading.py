# SPDX-License-Identifier: Apache-2.0
"""Weights from files, strictly checked, of this package and of the code bases around it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.checkpoint.key_names import Part, find_part, misfit
from tiny_bev_ros.models.checkpoint.weight_files import WeightFile, read_weights, shown

_PFN_STYLES = {
    'pfn': 'tiny_bev_ros',
    'vfe': 'OpenPCDet',
    'pillar_vfe': 'OpenCOOD',
    'voxel_encoder': 'mmdetection3d',
    'pts_voxel_encoder': 'mmdetection3d',
    'reader': 'det3d',
}
_SECOND_LAYER = re.compile(r'(^|\.)pfn_layers\.[1-9]')
# Names that are told, of what else a file holds.
_TOLD = 5


class LoadInfo(NamedTuple):
    """What became of a file.

    Attributes:
        names: which key names were recognised, and what else the file holds, for a log.
        digest: SHA-256 of the bytes that were loaded, as 64 hexadecimal digits.
    """

    names: str
    digest: str


def load_pfn(model: nn.Module, path: str | Path) -> LoadInfo:
    """Loads the weights of a pillar feature net.

    The file is of safetensors or of torch.save, whatever its name, and holds a state_dict, alone
    or in dicts around it. Recognised are ``linear.weight`` and ``norm.*``, alone or below any
    prefix, such as ``pfn.``, ``vfe.pfn_layers.0.`` (OpenPCDet), ``pillar_vfe.pfn_layers.0.``
    (OpenCOOD), ``voxel_encoder.pfn_layers.0.`` or ``pts_voxel_encoder.pfn_layers.0.``
    (mmdetection3d) and ``reader.pfn_layers.0.`` (det3d); other parts of the model may be in the
    file. What torch.compile, DataParallel and other wrappers put into names is left out.

    Names do not tell everything. Networks from these code bases need ``max_points`` as
    they were trained (32 for KITTI, 20 for nuScenes). mmdetection3d's networks need
    ``legacy_offsets=True`` if their config does not set ``legacy=False`` (the KITTI ones
    do not). A det3d network of 10 channels has other decorations and is refused; one of
    mmdetection3d before 1.0 with a time column has those too, and cannot be told apart.

    Args:
        model: a PillarFeatureNet, on any device.
        path: of the file.

    Raises:
        TinyBevError: the file cannot be read, is larger than 1 GiB, has no such weights or
            several that differ, or its tensors are not those of the model; the model is
            unchanged then.
    """
    file = read_weights(path)
    if any(_SECOND_LAYER.search(key) for values in file.maps.values() for key in values):
        raise TinyBevError(f'{path} holds a PFN of several layers; expected one layer')
    part = find_part(path, file.maps, model.state_dict(), adapt=_flat_linear)
    words = part.place.split('.')
    if 'reader' in words and part.values['linear.weight'].shape[1] == 10:
        raise TinyBevError(
            f'{path} holds a det3d PFN of 10 channels, which are x, y, z, intensity, time and '
            '5 offsets; expected 9'
        )
    style = next((_PFN_STYLES[word] for word in words if word in _PFN_STYLES), 'bare')
    return _put(model, part, file, path, style)


def load_backbone(model: nn.Module, path: str | Path) -> LoadInfo:
    """Loads the weights of a backbone of the registry.

    The file is as for `load_pfn`; recognised are the model's own key names, alone or
    below any prefix, such as ``backbone.``.

    Args:
        model: the backbone, on any device.
        path: of the file.

    Raises:
        TinyBevError: as for `load_pfn`.
    """
    return _load(model, path)


def load_camera_encoder(model: nn.Module, path: str | Path) -> LoadInfo:
    """Loads the weights of a CameraEncoder; as `load_backbone`."""
    return _load(model, path)


def load_fusion(model: nn.Module, path: str | Path) -> LoadInfo:
    """Loads the weights of a FuTrFusion; as `load_backbone`."""
    return _load(model, path)


def load_heads(model: nn.ModuleDict, path: str | Path) -> LoadInfo:
    """Loads the weights of heads; the file may hold others beside them.

    Args:
        model: heads by name, on any device.
        path: of the file, which is as for `load_backbone`.

    Raises:
        TinyBevError: as for `load_pfn`.
    """
    return _load(model, path, others=True)


def _load(model: nn.Module, path: str | Path, *, others: bool = False) -> LoadInfo:
    """Weights under the model's own key names."""
    file = read_weights(path)
    part = find_part(path, file.maps, model.state_dict(), others=others)
    return _put(model, part, file, path, 'tiny_bev_ros')


def _flat_linear(values: dict[str, Any]) -> dict[str, Any]:
    """A 1x1 convolution is the same layer."""
    linear = values.get('linear.weight')
    if isinstance(linear, Tensor) and linear.ndim > 2 and set(linear.shape[2:]) == {1}:
        return {**values, 'linear.weight': linear.flatten(1)}
    return dict(values)


def _put(model: nn.Module, part: Part, file: WeightFile, path: str | Path, style: str) -> LoadInfo:
    faults = []
    for key, value in part.values.items():
        fault = _bad_values(key, value)
        if fault:
            faults.append(f'{part.place}{key} {fault}')
    if faults:
        raise misfit(path, faults)
    model.load_state_dict(part.values)
    unread = ''
    if file.unread:
        names = ', '.join(shown(name) for name in file.unread[:_TOLD])
        more = f' and {len(file.unread) - _TOLD} more' if len(file.unread) > _TOLD else ''
        unread = f'; left unread, as they are no tensors: {names}{more}'
    place = shown(part.place) or 'no prefix'
    return LoadInfo(f'{style} key names, {place}{unread}', file.digest)


def _bad_values(key: str, value: Tensor) -> str:
    if not value.double().isfinite().all():
        return 'holds NaN or Inf; expected finite numbers'
    if key.endswith('running_var') and (value < 0).any():
        return 'holds a negative variance; expected 0 or more'
    return ''
