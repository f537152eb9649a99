# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Fingerprint of the weights of a network, by which changed weights are noticed."""

from __future__ import annotations

from torch import nn


def fingerprint(network: nn.Module) -> tuple[tuple[int, int], ...]:
    """Identifies the weights of a network: it changes whenever one of them does.

    Inference tensors, which cannot be changed in place outside of inference mode, are identified
    by their memory alone.
    """
    tensors = [*network.parameters(), *network.buffers()]
    return tuple(
        (tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors
    )
