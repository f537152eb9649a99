# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Recording of the launches of a CUDA device as a graph, which repeats them in one launch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Function that records work as a graph, and returns a function that repeats the work, and the
# tensor that then holds the result.
Capture = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]


def cuda_graph(
    device: torch.device, work: Callable[[], Tensor]
) -> tuple[Callable[[], None], Tensor]:
    """Records work on a CUDA device as a graph.

    Returns:
        Function that repeats the work, and the tensor that then holds its result.

    Raises:
        RuntimeError: the work cannot be recorded, or memory is short.
    """
    with torch.cuda.device(device):
        # Libraries choose their algorithms on the first runs, which must not be recorded.
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
