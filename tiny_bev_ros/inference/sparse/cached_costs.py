# SPDX-License-Identifier: Apache-2.0
"""Measured costs, remembered from one start to the next.

They lie in `${XDG_CACHE_HOME:-~/.cache}/tiny_bev_ros/crossover.json`. Without that file, or
without an entry that fits machine, network and map, they are measured again.
"""

from __future__ import annotations

import json
import math
import os
import platform
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from tiny_bev_ros.inference.sparse.cost_model import CostModel
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer

# Goes up when a path becomes faster or slower, so that old times are not used.
_ALGORITHM = 2


def machine_key(
    layers: Sequence[ConvLayer],
    shape: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device,
    threads: int,
    path: str,
) -> str:
    """Names all on which the costs depend.

    Args:
        layers: the chain.
        shape: (H,W) of the map.
        dtype: of the products.
        device: where both paths run.
        threads: of the sparse path.
        path: what the sparse path is made with: numba or torch.
    """
    hardware = torch.cuda.get_device_name(device) if device.type == 'cuda' else _cpu_name()
    chain = [f'{tuple(layer.weight.shape)}/{layer.stride}' for layer in layers]
    return ', '.join(
        (
            f'version {_ALGORITHM}',
            hardware,
            f'{threads} and {torch.get_num_threads()} threads',
            f'torch {torch.__version__}',
            path,
            str(dtype),
            ' '.join(chain),
            f'map {shape[0]}x{shape[1]}',
        )
    )


def remembered(key: str, measure: Callable[[], CostModel]) -> CostModel:
    """The costs of the key from the file, or as measured now, and then put into the file.

    Of two processes that write at once one loses; it measures again when next started.
    """
    entries = _read()
    costs = _costs(entries.get(key))
    if costs is None:
        costs = measure()
        _write({**_read(), key: asdict(costs)})
    return costs


def _cpu_name() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else f'{platform.processor()} {platform.machine()}'


def _path() -> Path:
    cache = os.environ.get('XDG_CACHE_HOME')
    return Path(cache or Path.home() / '.cache') / 'tiny_bev_ros' / 'crossover.json'


def _read() -> dict[str, Any]:
    try:
        entries = json.loads(_path().read_text())
    except (OSError, ValueError, RuntimeError):  # RuntimeError: there is no home
        return {}
    return entries if isinstance(entries, dict) else {}


def _write(entries: dict[str, Any]) -> None:
    try:
        path = _path()
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            whole = Path(folder, path.name)
            whole.write_text(json.dumps(entries, indent=1))
            whole.replace(path)
    except (OSError, RuntimeError) as error:
        warnings.warn(f'which path is cheaper will be measured again: {error}', stacklevel=2)


def _costs(entry: Any) -> CostModel | None:
    """An entry of the file, if it is whole and can be true."""
    names = [field.name for field in fields(CostModel)]
    if not isinstance(entry, dict) or set(entry) != set(names):
        return None
    values = [entry[name] for name in names]
    if not all(isinstance(x, float) and math.isfinite(x) and x > 0 for x in values):
        return None
    return CostModel(*values)
