# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Dense path: a network computed on every cell of a map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tiny_bev_ros.inference.cuda_graph import Capture, RecordedWork
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer


class DensePath:
    """Network computed on every cell of a map: as a folded chain where it is one, else unchanged.

    A chain is computed in ``dtype``; a network that is no chain runs under autocast. On CUDA the
    activations of a chain are channels_last, and the launches for a shape are recorded once, as a
    CUDA graph. The caller switches off TF32, see `full_float32`.

    Buffers of input and output are kept where these are converted or recorded. PyTorch allocates
    the maps between layers, as its convolutions cannot write into an existing tensor; on the CPU
    it also allocates a float32 output.

    Args:
        network: network in eval mode, on the device.
        layers: layers of the network; empty if it is no chain.
        device: device on which to compute.
        dtype: compute dtype.
        capture: records launches; None where they are not recorded.

    Attributes:
        no_graph_reason: reason for which launches could not be recorded; '' for none.
    """

    @torch.inference_mode()
    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[ConvLayer],
        device: torch.device,
        dtype: torch.dtype,
        capture: Capture | None,
    ) -> None:
        self.no_graph_reason = ''
        self._network, self._device, self._dtype, self._capture = network, device, dtype, capture
        # Other networks may view their input in ways that only the contiguous layout allows.
        fast = bool(layers) and device.type == 'cuda'
        self._layout = torch.channels_last if fast else torch.contiguous_format
        self._layers = [
            ConvLayer(
                layer.weight.to(device, dtype).contiguous(memory_format=self._layout),
                layer.bias.to(device, dtype),
                layer.stride,
                layer.relu,
            )
            for layer in layers
        ]
        # Not bound methods: a reference cycle would keep the object, with all its weights, until
        # the next run of the garbage collector.
        self._shape: torch.Size | None = None
        self._kept: Tensor | None = None
        self._recorded: RecordedWork[Tensor] | None = None
        self._outputs: list[Tensor] = []

    @torch.inference_mode()
    def __call__(self, pseudo_image: Tensor) -> Tensor:
        """Computes (B,C_out,h,w) float32 of (B,C,H,W) float32 on the device.

        The result is overwritten by the second next call, or later.
        """
        if pseudo_image.shape != self._shape:
            self._prepare(pseudo_image.shape)
        result = self._run(pseudo_image)
        if self._recorded is None and result.dtype == torch.float32:
            return result.contiguous()
        if not self._outputs:
            self._outputs = [torch.empty(result.shape, device=self._device) for _ in range(2)]
        self._outputs.reverse()
        return self._outputs[0].copy_(result)

    def release(self) -> None:
        """Frees buffers and the recording."""
        self._shape, self._kept, self._outputs = None, None, []
        self._recorded = None

    def _prepare(self, shape: torch.Size) -> None:
        """Allocates the buffers of a shape in place of the last, as a stream has one shape."""
        self.release()
        dtype = self._dtype if self._layers else torch.float32
        capture = None if self.no_graph_reason else self._capture
        if dtype != torch.float32 or self._layout != torch.contiguous_format or capture:
            self._kept = torch.zeros(shape, dtype=dtype, device=self._device).contiguous(
                memory_format=self._layout
            )
        if capture and self._kept is not None:
            kept = self._kept
            work = RecordedWork(lambda: self._forward(kept), self._device, capture)
            try:
                work.record()
            except RuntimeError:
                self.release()
                raise
            self.no_graph_reason = work.no_graph_reason
            self._recorded = work if work.is_recorded else None
        self._shape = shape

    def _run(self, pseudo_image: Tensor) -> Tensor:
        x = pseudo_image if self._kept is None else self._kept.copy_(pseudo_image)
        return self._forward(x) if self._recorded is None else self._recorded()

    def _forward(self, x: Tensor) -> Tensor:
        if not self._layers:
            # No cache: values cached by a recording do not exist when it is repeated.
            with torch.autocast(
                self._device.type,
                self._dtype,
                enabled=self._dtype != torch.float32,
                cache_enabled=False,
            ):
                return self._network(x)
        for layer in self._layers:
            x = layer(x)
        return x
