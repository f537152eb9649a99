# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Runtimes that compute exported networks on the CPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.optional_imports import import_optional

# Entry of `rt_info` of an OpenVINO file with the metadata of the export.
METADATA_KEY = 'tiny_bev_ros'


def require_package(name: str) -> Any:
    """Imports a package that exported networks need.

    Raises:
        TinyBevError: it cannot be used.
    """
    module, reason = import_optional(name)
    if reason:
        raise TinyBevError(f'{reason}; expected it for exported networks: pip install {name}')
    return module


class ExportedNetwork(ABC):
    """Exported network in another runtime.

    Attributes:
        runtime: name of the package of the runtime.
        output_names: names of the outputs, in the order of the file.
        metadata: description of the network by the export; empty in files of other programs.
    """

    runtime: str
    output_names: list[str]
    metadata: dict[str, str]

    @abstractmethod
    def outputs(self, *inputs: Tensor) -> list[Tensor]:
        """Maps inputs, in the order of the file, to all outputs, likewise."""

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Maps inputs, in the order of the file, to the only output."""
        (y,) = self.outputs(*inputs)
        return y


class OnnxRuntime(ExportedNetwork):
    """Exported network in ONNX Runtime.

    Args:
        path: .onnx file.
        threads: number of threads; 0 for all cores.
    """

    runtime = 'onnxruntime'

    def __init__(self, path: Path, threads: int = 0) -> None:
        onnxruntime = require_package('onnxruntime')
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Otherwise idle threads take a third of a core from other nodes between two clouds.
        options.add_session_config_entry('session.force_spinning_stop', '1')
        self._session = onnxruntime.InferenceSession(
            path, options, providers=['CPUExecutionProvider']
        )
        self._names = [each.name for each in self._session.get_inputs()]
        self.output_names = [each.name for each in self._session.get_outputs()]
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)

    def outputs(self, *inputs: Tensor) -> list[Tensor]:
        """Maps inputs, in the order of the file, to all outputs, likewise."""
        named = {name: x.numpy() for name, x in zip(self._names, inputs, strict=True)}
        try:
            found = self._session.run(None, named)
        except Exception as error:  # those of ONNX Runtime are of no other kind
            raise RuntimeError(str(error)) from error
        return [torch.from_numpy(y) for y in found]


class OpenVino(ExportedNetwork):
    """Exported network in OpenVINO, tuned for the latency of one frame.

    Args:
        path: .onnx or .xml file.
        threads: number of threads; 0 for all cores.
        precision: compute dtype: float32 or bfloat16.

    Raises:
        TinyBevError: the CPU has no instructions for bfloat16, which OpenVINO would emulate.
    """

    runtime = 'openvino'

    def __init__(self, path: Path, threads: int = 0, precision: str = 'float32') -> None:
        core = require_package('openvino').Core()
        can = core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
        if precision == 'bfloat16' and 'BF16' not in can:
            known = ', '.join(can)
            raise TinyBevError(
                f'capabilities of OpenVINO on this CPU are {known}; expected BF16 among them'
            )
        options = {
            'PERFORMANCE_HINT': 'LATENCY',
            'INFERENCE_NUM_THREADS': threads,
            # Pinned threads of several processes, such as workers, would share the first cores.
            'ENABLE_CPU_PINNING': False,
            'INFERENCE_PRECISION_HINT': {'float32': 'f32', 'bfloat16': 'bf16'}[precision],
        }
        model = core.read_model(path)
        self.output_names = [min(each.names, default='') for each in model.outputs]
        described = model.has_rt_info([METADATA_KEY])
        self.metadata = dict(model.get_rt_info([METADATA_KEY]).value) if described else {}
        self._request = core.compile_model(model, 'CPU', options).create_infer_request()

    def outputs(self, *inputs: Tensor) -> list[Tensor]:
        """Maps inputs to all outputs, in the order of the file; the next call overwrites them."""
        arrays = [x.numpy() for x in inputs]
        found = self._request.infer(arrays, share_inputs=True, share_outputs=True)
        return [torch.from_numpy(np.asarray(y)) for y in found.values()]
