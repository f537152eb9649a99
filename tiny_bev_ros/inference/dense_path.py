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

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from tiny_bev_ros.inference.cuda_graph import Capture, RecordedWork, ResultCopies
from tiny_bev_ros.inference.cudnn_layer import fused_where_possible
from tiny_bev_ros.inference.precision import autocast
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer

Step = Callable[[Tensor], Tensor]


class DensePath:
    """Network computed on every cell of a map: as a folded chain where it is one, else unchanged.

    A chain is computed in ``dtype`` and channels_last, on CUDA with ReLU fused into the
    convolutions; a network that is no chain runs under autocast. On CUDA the launches for a shape,
    those of ``after`` included, are recorded once, as a CUDA graph. The caller switches off TF32,
    see `full_float32`.

    The input is kept: pillars are scattered straight into it, and only the cells of the previous
    pillars are cleared. Where the first layer of a chain is 1x1, its output is kept in place of
    the input: the layer is computed on the pillars alone, as every other cell has the same value,
    its background. PyTorch allocates the maps between layers, as its convolutions cannot
    write into an existing tensor, and the output where nothing is recorded.

    Args:
        network: network in eval mode, on the device.
        layers: layers of the network; empty if it is no chain.
        device: device on which to compute.
        dtype: compute dtype.
        capture: records launches; None where they are not recorded.
        after: part that follows the network: a map (B,C,h,w) to BEV features; None for none.
        watch: receives the map of each layer of a chain and the result, and returns it; None for
            none.

    Attributes:
        no_graph_reason: reason for which launches could not be recorded; '' for none.
        unfused_reason: reason for which a convolution and its ReLU are launched apart on CUDA;
            '' for none.
    """

    @torch.inference_mode()
    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[ConvLayer],
        device: torch.device,
        dtype: torch.dtype,
        capture: Capture | None,
        after: Step | None = None,
        watch: Step | None = None,
    ) -> None:
        self.no_graph_reason = self.unfused_reason = ''
        self._device, self._capture = device, capture
        self._dtype = dtype if layers else torch.float32
        # Other networks may view their input in ways that only the contiguous layout allows.
        self._layout = torch.channels_last if layers else torch.contiguous_format
        folded = [
            ConvLayer(
                layer.weight.to(device, dtype).contiguous(memory_format=self._layout),
                layer.bias.to(device, dtype),
                layer.stride,
                layer.relu,
            )
            for layer in layers
        ]
        pointwise = has_pointwise_stem(folded)
        self._stem = folded[0] if pointwise else None
        self._layers = folded[1:] if pointwise else folded
        # No methods of this object: a reference cycle would keep it, with all its weights, until
        # the next run of the garbage collector.
        self._network: list[Step] = (
            [] if layers else [partial(_under_autocast, network, device, dtype)]
        )
        self._after: list[Step] = [] if after is None else [after]
        self._watch: list[Step] = [] if watch is None else [watch]
        self.release()

    def release(self) -> None:
        """Frees buffers and the recording."""
        self._shape: tuple[int, ...] | None = None
        # Input of the recorded layers; see the class.
        self._kept: Tensor | None = None
        # Flat indices of the cells of `_kept` that may hold values; None for any cell.
        self._filled: Tensor | None = None
        # (1, channels) values that all other cells have.
        self._background = torch.zeros(0)
        self._work: RecordedWork[Tensor] | None = None
        self._copies = ResultCopies()

    @torch.inference_mode()
    def __call__(self, pseudo_image: Tensor) -> Tensor:
        """Computes the output of (B,C,H,W) of any float dtype on the device.

        Returns:
            (B,C_out,h,w) in the dtype and the memory format in which it was computed; overwritten
            by the second next call, or later.

        Raises:
            RuntimeError: memory is short, or the device is lost.
        """
        kept = self._prepare(pseudo_image.shape)
        self._filled = None
        kept.copy_(pseudo_image if self._stem is None else self._stem_map(pseudo_image))
        return self._run()

    @torch.inference_mode()
    def from_pillars(self, features: Tensor, cells: Tensor, shape: tuple[int, int]) -> Tensor:
        """Computes the output of pillars on the device, as a call does for their pseudo-image.

        Args:
            features: (P,C) features of any float dtype.
            cells: (P,2) int64 [row, col] of each pillar, all different and on the map.
            shape: (H,W) of the map.
        """
        kept = self._prepare((1, features.shape[1], *shape))
        rows, filled = kept[0].view(kept.shape[1], -1).t(), self._filled
        # After an error from here on, the next pillars find the whole map cleared.
        self._filled = None
        flat = torch.add(cells[:, 1], cells[:, 0], alpha=shape[1]).long()
        if filled is None:
            rows.copy_(self._background)
        else:
            rows.index_copy_(0, filled, self._background.expand(len(filled), -1))
        rows.index_copy_(0, flat, self._pillar_values(features.to(rows.dtype)))
        # A network that is no chain may write to its input.
        self._filled = flat if self._layers else None
        return self._run()

    def _prepare(self, shape: tuple[int, ...]) -> Tensor:
        """Returns the kept input; allocates all of a shape in place of the last one.

        A stream of frames has one shape.
        """
        if self._kept is not None and shape == self._shape:
            return self._kept
        self.release()
        self._background = torch.zeros(1, shape[1], dtype=self._dtype, device=self._device)
        self._background = self._pillar_values(self._background)
        kept = torch.empty(
            (shape[0], self._background.shape[1], *shape[2:]),
            dtype=self._dtype,
            device=self._device,
            memory_format=self._layout,
        ).zero_()
        chain = list(self._layers)
        if self._device.type == 'cuda' and self._layers:
            chain, self.unfused_reason = fused_where_possible(self._layers, kept.uniform_())
            kept.zero_()
        parts: list[Step] = [*chain, *self._network, *self._after]
        steps = [step for part in parts for step in (part, *self._watch)]
        capture = None if self.no_graph_reason else self._capture
        work = RecordedWork(partial(_apply, steps, kept), self._device, capture)
        work.record()
        self.no_graph_reason = self.no_graph_reason or work.no_graph_reason
        self._shape, self._kept, self._work = tuple(shape), kept, work
        return kept

    def _pillar_values(self, features: Tensor) -> Tensor:
        """Computes the rows of the kept map for pillars (P,C) in the compute dtype."""
        if self._stem is None:
            return features
        values = torch.addmm(self._stem.bias, features, self._stem.weight.flatten(1).t())
        return self._watched(values.relu_() if self._stem.relu else values)

    def _stem_map(self, pseudo_image: Tensor) -> Tensor:
        """Computes the kept map of a pseudo-image (B,C,H,W); its temporaries end here."""
        assert self._stem is not None
        image = pseudo_image.to(self._dtype, memory_format=self._layout)
        return self._watched(self._stem(image))

    def _watched(self, x: Tensor) -> Tensor:
        # An empty tensor has no largest value.
        return _apply(self._watch, x) if x.numel() else x

    def _run(self) -> Tensor:
        """Computes the output of the kept input."""
        assert self._work is not None
        result = self._work()
        return self._copies(result) if self._work.is_recorded else result


def has_pointwise_stem(layers: Sequence[ConvLayer]) -> bool:
    """Returns True if the first of several layers is 1x1 with a stride of 1."""
    return len(layers) > 1 and layers[0].kernel == layers[0].stride == 1


def _apply(steps: Sequence[Step], x: Tensor) -> Tensor:
    for step in steps:
        x = step(x)
    return x


def _under_autocast(
    network: nn.Module, device: torch.device, dtype: torch.dtype, x: Tensor
) -> Tensor:
    with autocast(dtype, device):
        y: Tensor = network(x)
    return y
