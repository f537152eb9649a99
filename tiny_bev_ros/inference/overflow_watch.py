# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Watch for values beyond the range of float16, which does not wait for the device."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

LARGEST_FLOAT16 = 65504


class OverflowWatch:
    """Notices maps with values that are not finite, and warns at a later frame.

    The largest magnitude is kept on the device, and copied to the host without waiting for it: the
    host reads the copy once it is complete, at a later frame. No overflow is missed, as the
    largest magnitude of all frames is kept.

    Each map is watched where it is made, as fused convolutions may turn the NaN that follows an
    overflow back into 0.

    Args:
        device: device of the maps.

    Attributes:
        reason: text that names the overflow; '' while none is known.
    """

    @torch.inference_mode()
    def __init__(self, device: torch.device) -> None:
        self.reason = ''
        self._peak = torch.zeros((), device=device)
        self._known = torch.zeros(())
        self._copied: torch.cuda.Event | None = None
        if device.type == 'cuda':
            self._known, self._copied = self._known.pin_memory(), torch.cuda.Event()

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the map itself; may be recorded in a CUDA graph."""
        magnitude = torch.linalg.vector_norm(x, math.inf)
        torch.maximum(self._peak, magnitude, out=self._peak)
        return x

    @torch.inference_mode()
    def poll(self) -> None:
        """Reads the values of earlier frames; the first overflow is warned of."""
        if self.reason or not (self._copied is None or self._copied.query()):
            return
        if not math.isfinite(self._known.item()):
            self.reason = (
                f'values in float16 exceed {LARGEST_FLOAT16}; '
                'expected precision bfloat16 or float32'
            )
            warnings.warn(self.reason, stacklevel=2)
        self._known.copy_(self._peak, non_blocking=True)
        if self._copied is not None:
            self._copied.record(torch.cuda.current_stream(self._peak.device))
