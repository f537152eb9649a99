# SPDX-License-Identifier: Apache-2.0
"""Whether the weights of a network are still those from which something was built."""

from __future__ import annotations

from torch import nn


def fingerprint(network: nn.Module) -> tuple[tuple[int, int], ...]:
    """Changes whenever a weight does (inference tensors, which nobody may change, aside)."""
    tensors = [*network.parameters(), *network.buffers()]
    return tuple(
        (tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors
    )
