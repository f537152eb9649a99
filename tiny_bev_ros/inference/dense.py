# SPDX-License-Identifier: Apache-2.0
"""The dense path: every cell of the map, by PyTorch's own convolutions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tiny_bev_ros.inference.device_errors import device_is_lost
from tiny_bev_ros.inference.memory import shortage
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer

# Records work; returns what repeats it, and the tensor in which its result then lies.
Capture = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]


class DensePath:
    """A network on whole maps: as a folded chain, or as it is where it is none.

    Products are of ``dtype``; a network that is no chain runs under autocast. On CUDA the
    activations of a chain are channels_last, and the launches for a shape are recorded once, as a
    CUDA graph. How float32 is rounded there is up to the caller, see `full_float32`.

    Input and output have kept buffers where they are converted or recorded. Between its layers
    PyTorch allocates, as its convolutions write into no tensor that they are given; on the CPU
    it does so for the output too, where that is float32.

    Args:
        network: in eval mode, on the device.
        layers: of the same network; empty if it is no chain.
        device: where to compute.
        dtype: of the products.
        capture: how launches are recorded; they are not if this is None.

    Attributes:
        why_no_graph: '' or why launches could not be recorded; each is then made anew.
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
        self.why_no_graph = ''
        self._network, self._device, self._dtype, self._capture = network, device, dtype, capture
        # Other networks may view their input in ways that only the usual layout allows.
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
        # Not methods of its own: an object in such a circle lives, with all the weights, until
        # the garbage collector comes.
        self._shape: torch.Size | None = None
        self._kept: Tensor | None = None
        self._replay: Callable[[], None] | None = None
        self._recorded: Tensor | None = None
        self._outputs: list[Tensor] = []

    @torch.inference_mode()
    def __call__(self, pseudo_image: Tensor) -> Tensor:
        """(B,C,H,W) float32 on the device to (B,C_out,h,w) float32.

        The result is overwritten by the second next call, or later.
        """
        if pseudo_image.shape != self._shape:
            self._prepare(pseudo_image.shape)
        result = self._run(pseudo_image)
        if result is not self._recorded and result.dtype == torch.float32:
            return result.contiguous()
        if not self._outputs:
            self._outputs = [torch.empty(result.shape, device=self._device) for _ in range(2)]
        self._outputs.reverse()
        return self._outputs[0].copy_(result)

    def release(self) -> None:
        """Lets go of buffers and of the recording."""
        self._shape, self._kept, self._outputs = None, None, []
        self._replay = self._recorded = None

    def _prepare(self, shape: torch.Size) -> None:
        """Makes the buffers of a shape; those of the last go, as a stream has one shape."""
        self.release()
        dtype = self._dtype if self._layers else torch.float32
        capture = None if self.why_no_graph else self._capture
        if dtype != torch.float32 or self._layout != torch.contiguous_format or capture:
            self._kept = torch.zeros(shape, dtype=dtype, device=self._device).contiguous(
                memory_format=self._layout
            )
        if capture and self._kept is not None:
            kept = self._kept
            try:
                self._replay, self._recorded = capture(lambda: self._forward(kept))
            except RuntimeError as error:
                # Neither says anything of graphs.
                if shortage(error) or device_is_lost(error, self._device):
                    self.release()
                    raise
                self.why_no_graph = str(error).strip().partition('\n')[0]
                warnings.warn(f'no CUDA graph: {self.why_no_graph}', stacklevel=2)
        self._shape = shape

    def _run(self, pseudo_image: Tensor) -> Tensor:
        x = pseudo_image if self._kept is None else self._kept.copy_(pseudo_image)
        if self._replay is None or self._recorded is None:
            return self._forward(x)
        self._replay()
        return self._recorded

    def _forward(self, x: Tensor) -> Tensor:
        if not self._layers:
            # No cache: what one recording caches is gone when it is repeated.
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


def cuda_graph(
    device: torch.device, work: Callable[[], Tensor]
) -> tuple[Callable[[], None], Tensor]:
    """Records work on a CUDA device as a graph.

    Returns:
        What repeats it, and the tensor that then holds its result.

    Raises:
        RuntimeError: it cannot be recorded, or memory is short.
    """
    with torch.cuda.device(device):
        # Libraries make their choices on the first runs, which must not be recorded.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Only this thread: others of the process may allocate meanwhile.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode='thread_local'):
            result = work()
    return graph.replay, result


def dense_work(layers: Sequence[ConvLayer], shape: tuple[int, int]) -> int:
    """Multiplications of a chain on a map of (H,W)."""
    rows, cols = shape
    total = 0
    for layer in layers:
        rows, cols = -(-rows // layer.stride), -(-cols // layer.stride)
        total += rows * cols * layer.weight.numel()
    return total
