# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Network in TensorRT, in half precision."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.check_section import CheckSettings
from tiny_bev_ros.optional_imports import import_optional


def tensorrt_engine(
    network: nn.Module, dense: Tensor, settings: CheckSettings
) -> Callable[[], Tensor]:
    """Exports a network and builds its engine, for TensorRT 8.6 or later.

    Args:
        network: network in eval mode on the CPU.
        dense: (1,C,H,W) float32 pseudo-image.
        settings: device, and folder of the exported network.

    Returns:
        Function that runs the engine on the pseudo-image, and returns its features.

    Raises:
        ModuleNotFoundError: tensorrt or onnx cannot be used.
        RuntimeError: TensorRT does not accept the network.
    """
    for name in ('tensorrt', 'onnx'):
        reason = import_optional(name).reason
        if reason:
            raise ModuleNotFoundError(reason)
    path = settings.folder / 'half.onnx'
    x = dense.half().to(settings.device)
    torch.onnx.export(
        copy.deepcopy(network).half().to(settings.device),
        (x,),
        path,
        dynamo=False,
        input_names=['x'],
        output_names=['y'],
    )
    engine = _built(import_optional('tensorrt').module, path.read_bytes())
    context = engine.create_execution_context()
    y = torch.empty(tuple(engine.get_tensor_shape('y')), dtype=x.dtype, device=settings.device)
    context.set_tensor_address('x', x.data_ptr())
    context.set_tensor_address('y', y.data_ptr())

    def run() -> Tensor:
        # x is named here, as the engine knows only its address.
        if not context.execute_async_v3(torch.cuda.current_stream(x.device).cuda_stream):
            raise RuntimeError('TensorRT could not run the network')
        return y

    return run


def _built(tensorrt: Any, model: bytes) -> Any:
    """Builds an engine that computes in the dtypes of the model."""
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    flags = tensorrt.NetworkDefinitionCreationFlag
    typed = hasattr(flags, 'STRONGLY_TYPED')  # since TensorRT 9
    flag = flags.STRONGLY_TYPED if typed else flags.EXPLICIT_BATCH
    definition = builder.create_network(1 << int(flag))
    parser = tensorrt.OnnxParser(definition, logger)
    if not parser.parse(model):
        raise RuntimeError(f'TensorRT cannot read the network: {parser.get_error(0).desc()}')
    config = builder.create_builder_config()
    if not typed:
        config.set_flag(tensorrt.BuilderFlag.FP16)
    plan = builder.build_serialized_network(definition, config)
    if plan is None:
        raise RuntimeError('TensorRT cannot build the network')
    return tensorrt.Runtime(logger).deserialize_cuda_engine(plan)
