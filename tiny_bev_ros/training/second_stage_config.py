# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Settings by which the second stage is trained."""

from __future__ import annotations

from dataclasses import dataclass

from tiny_bev_ros.errors import TinyBevError


@dataclass(frozen=True)
class SecondStageConfig:
    """Training of the second stage, which refines the boxes of trained networks.

    Attributes:
        frames: number of frames in which the trained networks detect objects.
        rotated: fraction of the frames that are rotated by any angle.
        scaling: lowest and highest change of size of a frame, as fractions.
        steps: number of updates of the weights.
        batch: detected boxes of each step.
        learning_rate: highest learning rate.
        weight_decay: weight decay of AdamW.
        workers: processes that make frames.
    """

    frames: int = 4000
    rotated: float = 0.6
    scaling: tuple[float, ...] = (-0.07, 0.1)
    steps: int = 16000
    batch: int = 256
    learning_rate: float = 1e-2
    weight_decay: float = 1e-3
    workers: int = 2

    def __post_init__(self) -> None:
        """Checks the values beyond their types.

        Raises:
            TinyBevError: a value is not allowed.
        """
        if len(self.scaling) != 2:
            raise TinyBevError(
                f'second_stage.scaling is {list(self.scaling)}; expected two numbers, [min, max]'
            )
        for name in ('frames', 'steps', 'batch', 'workers'):
            if getattr(self, name) < 1:
                raise TinyBevError(
                    f'second_stage.{name} is {getattr(self, name)}; expected 1 or more'
                )
