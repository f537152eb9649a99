# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Opens exported networks and checks that they belong to the loaded weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.backbone_memory import BackboneMemory
from tiny_bev_ros.inference.cpu_flags import lacks_int8_products
from tiny_bev_ros.inference.exported_runners import (
    FEATURES,
    HEAD_MAPS,
    MAP_CHANNELS,
    ExportedBackbone,
    ExportedHeads,
    compute_dtype,
)
from tiny_bev_ros.inference.exported_runtimes import (
    ExportedNetwork,
    OnnxRuntime,
    OpenVino,
    require_package,
)
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig
from tiny_bev_ros.models.device import CPU, resolve_device
from tiny_bev_ros.models.heads.head_registry import map_heads
from tiny_bev_ros.optional_imports import one_line

RUNTIMES: dict[str, type[OnnxRuntime] | type[OpenVino]] = {
    '.onnx': OnnxRuntime,
    '.xml': OpenVino,
}
_DIGEST_LENGTH, _SHOWN_LENGTH = 64, 12


def choose_device(name: str, exported_network: str | Path | None = '') -> torch.device:
    """Returns the device of a name: see `resolve_device`; the CPU with an exported network.

    Args:
        name: auto, cpu, cuda or cuda:N.
        exported_network: file of an exported network; '' or None for none.

    Raises:
        TinyBevError: the device is unknown, does not work, or cannot run an exported network.
    """
    if not exported_network:
        return resolve_device(name)
    if name not in ('auto', 'cpu'):
        raise TinyBevError(
            f'device is {name!r}; expected auto or cpu, on which an exported network runs'
        )
    return CPU


def exported_files(path: Path) -> list[Path]:
    """Returns the files of an exported network: an .onnx file, or an .xml and a .bin file."""
    return [path, path.with_suffix('.bin')] if path.suffix == '.xml' else [path]


def open_exported(path: Path, threads: int) -> ExportedNetwork:
    """Opens an exported network in the runtime of its suffix.

    Args:
        path: .onnx file, for ONNX Runtime, or .xml file, for OpenVINO.
        threads: number of threads.

    Raises:
        TinyBevError: there is no such file, the runtime is not installed, or it cannot read the
            file; the message begins with 'exported_network'.
    """
    if path.suffix not in RUNTIMES or not path.is_file():
        raise TinyBevError(
            f"exported_network is '{path}'; expected a .onnx or .xml file, as "
            '`ros2 run tiny_bev_ros export` writes'
        )
    for file in exported_files(path)[1:]:
        if not file.is_file():
            raise TinyBevError(
                f"exported_network is '{path}' without '{file.name}'; expected both files"
            )
    runtime = RUNTIMES[path.suffix]
    try:
        require_package(runtime.runtime)
        return runtime(path, threads)
    except TinyBevError as error:
        raise TinyBevError(f"exported_network is '{path}', but {error}") from None
    except Exception as error:  # runtimes raise errors of any kind
        raise TinyBevError(
            f"exported_network is '{path}', which {runtime.runtime} cannot read "
            f'({one_line(error)}); expected a file as `ros2 run tiny_bev_ros export` writes'
        ) from None


def build_exported(
    models: LoadedModels, config: ExecutionConfig
) -> tuple[ExportedBackbone, ExportedHeads | None, str]:
    """Opens the exported network that replaces the backbone, or backbone and heads.

    Args:
        models: networks, `exported_network` among them.
        config: device, precision and threads.

    Returns:
        Backbone; heads if the network computes them, else None; and a description for the log.

    Raises:
        TinyBevError: the device is not the CPU, the precision is not float32, the network cannot
            be opened, was made from other weights, or lacks outputs.
    """
    assert models.exported_network is not None and models.backbone is not None
    choose_device(str(config.device), models.exported_network)
    if config.precision != 'float32':
        raise TinyBevError(
            f'precision is {config.precision!r}; expected float32 with '
            'backbone.exported_network, as the file has a precision of its own'
        )
    threads = config.threads or torch.get_num_threads()
    network = open_exported(models.exported_network, threads)
    heads = None
    if network.output_names != [FEATURES]:
        heads = _heads_of(network, models)
    parts = ['backbone'] if heads is None else ['backbone', 'heads']
    _check_weights(network, models, parts)
    described = ', '.join([network.runtime, compute_dtype(network), f'threads {threads}'])
    line = f'{models.exported_network} ({" and ".join(parts)} in {described})'
    return ExportedBackbone(network, BackboneMemory.from_backbone(models.backbone)), heads, line


def int8_warning(backbone: ExportedBackbone) -> str:
    """Returns a warning of an int8 network on a CPU without int8 products; '' for none."""
    if backbone.statistics.precision != 'int8' or not lacks_int8_products():
        return ''
    return (
        'the CPU has no int8 dot products (VNNI, asimddp): the network may be slower and less '
        'exact'
    )


def _heads_of(network: ExportedNetwork, models: LoadedModels) -> ExportedHeads:
    """Returns the heads of a network that has them, with those of the models.

    Raises:
        TinyBevError: BEV features are needed, outputs of a head are missing, or exported
            networks have no such head.
    """
    names = list(map_heads(models.heads)) if models.heads is not None else []
    found = network.output_names
    if not set(found) <= set(MAP_CHANNELS):
        raise _outputs_error(models, found, [FEATURES])
    if models.fusion is not None:
        raise _outputs_error(models, found, [FEATURES], ', as cameras are fused with them')
    if not names:
        raise _outputs_error(models, found, [FEATURES], ', as there are no heads')
    if not set(names) <= set(HEAD_MAPS):
        raise TinyBevError(
            f'heads are {", ".join(names)} with backbone.exported_network; expected some of '
            f'{", ".join(HEAD_MAPS)}'
        )
    needed = [output for name in names for output in HEAD_MAPS[name]]
    if not set(needed) <= set(found):
        raise _outputs_error(models, found, needed, ', as the heads need them')
    return ExportedHeads(found, names)


def _outputs_error(
    models: LoadedModels, found: Sequence[str], wanted: Sequence[str], why: str = ''
) -> TinyBevError:
    return TinyBevError(
        f"exported_network is '{models.exported_network}' with the outputs {', '.join(found)}; "
        f'expected {", ".join(wanted)}{why}'
    )


def _check_weights(network: ExportedNetwork, models: LoadedModels, parts: Sequence[str]) -> None:
    """Refuses a network that was made from other weights than those of the models."""
    made_from = network.metadata.get('weights_sha256', '')
    for part in parts:
        own = models.digests.get(part, '')
        if not made_from or made_from != own:
            raise TinyBevError(
                f"exported_network is '{models.exported_network}', made from weights of SHA-256 "
                f'{_shown(made_from)}; expected {_shown(own)}, as the weights of the {part}: '
                'export them again'
            )


def _shown(digest: str) -> str:
    return digest[:_SHOWN_LENGTH] if len(digest) == _DIGEST_LENGTH else digest or 'unknown'
