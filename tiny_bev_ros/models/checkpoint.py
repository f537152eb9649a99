# SPDX-License-Identifier: Apache-2.0
"""Weights from files, strictly checked, of this package and of the code bases around it."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError

_CONTAINERS = ('state_dict', 'model_state', 'model', 'model_state_dict')
_PFN_STYLES = {
    'pfn.': 'tiny_bev_ros',
    'vfe.': 'OpenPCDet',
    'pillar_vfe.': 'OpenCOOD',
    'voxel_encoder.': 'mmdetection3d',
    'pts_voxel_encoder.': 'mmdetection3d',
    'reader.': 'det3d',
}
_FIRST_LAYER = 'pfn_layers.0.'
# Of a file, and of what is packed in it: far above any detector's, below a robot's memory.
MAX_BYTES = 2**30


class Loaded(NamedTuple):
    """What became of a file.

    Attributes:
        names: which key names were recognised, for a log.
        digest: SHA-256 of the bytes that were loaded, as 64 hexadecimal digits.
    """

    names: str
    digest: str


def load_pfn(model: nn.Module, path: str | Path) -> Loaded:
    """Loads the weights of a pillar feature net.

    The file holds a state_dict, or a dict with one under ``state_dict``,
    ``model_state``, ``model`` or ``model_state_dict``; ``module.`` before every key is
    ignored. Recognised are ``linear.weight`` and ``norm.*``, alone or below ``pfn.``,
    ``pfn_layers.0.``, ``vfe.pfn_layers.0.`` (OpenPCDet),
    ``pillar_vfe.pfn_layers.0.`` (OpenCOOD), ``voxel_encoder.pfn_layers.0.`` or
    ``pts_voxel_encoder.pfn_layers.0.`` (mmdetection3d) and ``reader.pfn_layers.0.``
    (det3d); with such a prefix other parts of the model may be in the file.

    Names do not tell everything. Networks from these code bases need ``max_points`` as
    they were trained (32 for KITTI, 20 for nuScenes). mmdetection3d's networks need
    ``legacy_offsets=True`` if their config does not set ``legacy=False`` (the KITTI ones
    do not). A det3d network of 10 channels has other decorations and is refused; one of
    mmdetection3d before 1.0 with a time column has those too, and cannot be told apart.

    Args:
        model: a PillarFeatureNet, on any device.
        path: ``.safetensors``, ``.pt`` or ``.pth``.

    Raises:
        TinyBevError: the file cannot be read, is larger than MAX_BYTES, holds more than
            tensors, or its tensors are not those of the model; the model is unchanged then.
    """
    weights, digest = _read(path)
    prefix = _only_prefix(path, weights, ('linear.', 'norm.', 'pfn_layers.'), _PFN_STYLES)
    part = _below(weights, prefix)
    if any(re.match(r'pfn_layers\.[1-9]', key) for key in part):
        raise TinyBevError(f'{path} holds a PFN of several layers; expected one layer')
    if any(key.startswith(_FIRST_LAYER) for key in part):
        part = {key.removeprefix(_FIRST_LAYER): value for key, value in part.items()}
    linear = part.get('linear.weight')
    if isinstance(linear, Tensor) and linear.ndim > 2 and set(linear.shape[2:]) == {1}:
        # A 1x1 convolution is the same layer.
        linear = part['linear.weight'] = linear.flatten(1)
    if prefix == 'reader.' and isinstance(linear, Tensor) and linear.shape[1:] == (10,):
        raise TinyBevError(
            f'{path} holds a det3d PFN of 10 channels, which are x, y, z, intensity, time and '
            '5 offsets; expected 9'
        )
    _load(model, part, prefix, path)
    return Loaded(f'{_PFN_STYLES.get(prefix, "bare")} key names, {prefix or "no prefix"}', digest)


def load_backbone(model: nn.Module, path: str | Path) -> Loaded:
    """Loads the weights of a backbone of the registry.

    The file is as for `load_pfn`; recognised are the model's own key names, alone or
    below ``backbone.``.

    Args:
        model: the backbone, on any device.
        path: ``.safetensors``, ``.pt`` or ``.pth``.

    Raises:
        TinyBevError: as for `load_pfn`.
    """
    return _load_part(model, path, 'backbone.')


def load_camera_encoder(model: nn.Module, path: str | Path) -> Loaded:
    """Loads the weights of a CameraEncoder; as `load_backbone`, below ``camera_encoder.``."""
    return _load_part(model, path, 'camera_encoder.')


def load_fusion(model: nn.Module, path: str | Path) -> Loaded:
    """Loads the weights of a FuTrFusion; as `load_backbone`, below ``fusion.``."""
    return _load_part(model, path, 'fusion.')


def load_heads(model: nn.ModuleDict, path: str | Path) -> Loaded:
    """Loads the weights of heads; the file may hold others beside them.

    The file is as for `load_pfn`; recognised are the names of the heads below ``heads.``.

    Args:
        model: heads by name, on any device.
        path: ``.safetensors``, ``.pt`` or ``.pth``.

    Raises:
        TinyBevError: as for `load_pfn`.
    """
    weights, digest = _read(path)
    own = tuple(f'{name}.' for name in model)
    prefix = _only_prefix(path, weights, own, ('heads.',))
    part = {key: value for key, value in _below(weights, prefix).items() if key.startswith(own)}
    _load(model, part, prefix, path)
    return Loaded(f'tiny_bev_ros key names, {prefix or "no prefix"}', digest)


def _load_part(model: nn.Module, path: str | Path, prefix: str) -> Loaded:
    """Weights under the model's own key names, alone or below a prefix."""
    weights, digest = _read(path)
    own = tuple(f'{name}.' for name, _ in model.named_children())
    prefix = _only_prefix(path, weights, own, (prefix,))
    _load(model, _below(weights, prefix), prefix, path)
    return Loaded(f'tiny_bev_ros key names, {prefix or "no prefix"}', digest)


def _read(path: str | Path) -> tuple[dict[str, Any], str]:
    """The state_dict in a file, on the CPU, without containers and ``module.``, and its digest."""
    path = Path(path).expanduser()
    if path.suffix not in ('.safetensors', '.pt', '.pth'):
        raise TinyBevError(f'checkpoint is {path}; expected a .safetensors, .pt or .pth file')
    if not path.is_file():
        raise TinyBevError(f'checkpoint is {path}, which is no file; expected an existing one')
    # All of it at once: whoever replaces or truncates a file that is mapped ends the process.
    content = _content(path)
    try:
        if path.suffix == '.safetensors':
            weights: Any = _load_safetensors(path, content)
        else:
            _check_unpacked(path, content)
            weights = torch.load(io.BytesIO(content), map_location='cpu', weights_only=True)
    except TinyBevError:
        raise
    except Exception as error:  # what broken bytes raise is not documented
        raise TinyBevError(f'{path} cannot be read: {_reason(error)}') from None
    weights = _unwrapped(path, weights)
    if all(key.startswith('module.') for key in weights):
        weights = {key.removeprefix('module.'): value for key, value in weights.items()}
    return weights, hashlib.sha256(content).hexdigest()


def _content(path: Path) -> bytes:
    try:
        with path.open('rb') as file:
            # One more than allowed: a file may grow while it is read.
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise TinyBevError(f'{path} cannot be read: {error.strerror}') from None
    if len(content) > MAX_BYTES:
        raise TinyBevError(f'{path} is larger than {MAX_BYTES} bytes; expected at most that')
    return content


def _check_unpacked(path: Path, content: bytes) -> None:
    """Refuses an archive that would become larger than any file may be."""
    file = io.BytesIO(content)
    if not zipfile.is_zipfile(file):  # of PyTorch before 1.6: not packed
        return
    with zipfile.ZipFile(file) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MAX_BYTES:
        raise TinyBevError(f'{path} unpacks to {size} bytes; expected at most {MAX_BYTES}')


def _load_safetensors(path: Path, content: bytes) -> dict[str, Tensor]:
    # Not among the packages that rosdep knows, so it may be absent on a ROS machine.
    try:
        from safetensors.torch import load
    except ImportError:
        raise TinyBevError(
            f'{path} needs the package safetensors: pip install safetensors'
        ) from None
    return load(content)


def _reason(error: Exception) -> str:
    """One line. PyTorch's own goes on about loading untrusted pickles after all."""
    refused = re.search(r'GLOBAL (\S+)', str(error))
    if refused:
        return f'it holds {refused[1]}, which may run code; expected tensors only'
    first = str(error).strip().partition('\n')[0]
    if not first or first.startswith('Weights only'):
        first = type(error).__name__
    return f'{first}; expected a complete file of tensors'


def _unwrapped(path: Path, weights: Any) -> dict[str, Any]:
    # A container in each other one at most: a pickle may hold itself.
    for _ in range(len(_CONTAINERS) + 1):
        if not isinstance(weights, Mapping):
            break
        found = [name for name in _CONTAINERS if isinstance(weights.get(name), Mapping)]
        if len(found) > 1:
            raise TinyBevError(f'{path} holds {" and ".join(found)}; expected one of them')
        if not found:
            return {str(key): value for key, value in weights.items()}
        weights = weights[found[0]]
    raise TinyBevError(
        f'{path} holds a {type(weights).__name__}; expected a state_dict, or a dict with one'
    )


def _only_prefix(
    path: str | Path, weights: Mapping[str, Any], own: tuple[str, ...], prefixes: Iterable[str]
) -> str:
    """The one prefix under which the file has the model's keys; '' when they are bare."""
    found = [prefix for prefix in prefixes if any(key.startswith(prefix) for key in weights)]
    if any(key.startswith(own) for key in weights):
        found.append('')
    if len(found) != 1:
        known = f'keys below {", ".join(prefixes)} or {", ".join(own)}'
        some = ', '.join(sorted({key.partition('.')[0] for key in weights})[:8])
        amount = 'several of the' if found else 'none of the'
        raise TinyBevError(f'{path} has keys below {some or "nothing"}: {amount} expected {known}')
    return found[0]


def _below(weights: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)
    }


def _load(model: nn.Module, weights: dict[str, Any], prefix: str, path: str | Path) -> None:
    own = model.state_dict()
    for key, value in own.items():
        # A mere counter, which older files lack and evaluation does not use.
        if key.endswith('num_batches_tracked'):
            weights.setdefault(key, value)
    faults = [f'missing {prefix}{key}' for key in own if key not in weights]
    faults += [f'unexpected {prefix}{key}' for key in weights if key not in own]
    for key in own.keys() & weights.keys():
        fault = _fault(key, weights[key], own[key])
        if fault:
            faults.append(f'{prefix}{key} {fault}')
    if faults:
        raise TinyBevError(f'{path} does not fit the model: {"; ".join(sorted(faults))}')
    model.load_state_dict(weights)


def _fault(key: str, value: Any, own: Tensor) -> str:
    """What is wrong with the value of a key; '' for nothing."""
    if not isinstance(value, Tensor):
        return f'is a {type(value).__name__}; expected a tensor'
    if value.layout != torch.strided or value.is_nested or value.is_meta:
        return 'is sparse, nested or without data; expected an ordinary tensor'
    if value.shape != own.shape:
        return f'has shape {tuple(value.shape)}; expected {tuple(own.shape)}'
    if value.is_floating_point() != own.is_floating_point():
        return f'is {value.dtype}; expected {own.dtype}'
    return _bad_values(key, value)


def _bad_values(key: str, value: Tensor) -> str:
    if not value.double().isfinite().all():
        return 'holds NaN or Inf; expected finite numbers'
    if key.endswith('running_var') and (value < 0).any():
        return 'holds a negative variance; expected 0 or more'
    return ''
