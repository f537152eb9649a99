# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Sections of the GPU check, each run in a process of its own.

A section that raises, ends its process, loses the device or hangs costs one line; the next one
begins with a device that works.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.device_errors import device_is_lost
from tiny_bev_ros.models import list_backbones
from tiny_bev_ros.optional_imports import one_line


@dataclass(frozen=True)
class CheckSettings:
    """Sizes of the check.

    Attributes:
        device: CUDA device, with its index.
        clouds: at least two clouds (N,4) float32.
        grid: grid of the pillars, with cells and heights of the shipped weights.
        folder: folder for logs and exported networks.
        frames: number of timed frames.
        backbones: names of the backbones whose parity is checked.
        widths: keyword arguments of `build_backbone`; empty for the default widths.
        max_waits: largest number of waits of the host in each stage of a frame, other than waits
            for events: those are the declared ones.
        torch_chain_waits: waits in addition where PyTorch's operations compute the sparse path.
        node_device: parameter ``device`` of the node.
    """

    device: torch.device
    clouds: tuple[np.ndarray, ...]
    grid: BevGrid
    folder: Path
    frames: int = 50
    backbones: tuple[str, ...] = field(default_factory=lambda: tuple(list_backbones()))
    widths: dict[str, int] = field(default_factory=dict)
    max_waits: dict[str, int] = field(
        default_factory=lambda: {'pillars': 0, 'backbone': 0, 'heads': 0}
    )
    torch_chain_waits: int = 1
    node_device: str = 'cuda'


@dataclass
class SectionResult:
    """Result of one section.

    Attributes:
        text: Markdown text of the report.
        failures: one line for each requirement that is not met.
        skipped: reason for which nothing was checked; '' otherwise.
        figures: cells of the summary row, by column.
        seconds: duration.
    """

    text: str = ''
    failures: list[str] = field(default_factory=list)
    skipped: str = ''
    figures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def outcome(self) -> str:
        """One word: passed, FAILED or skipped."""
        if self.failures:
            return 'FAILED'
        return 'skipped' if self.skipped else 'passed'


Section = Callable[[CheckSettings], SectionResult]
Execute = Callable[[Section, CheckSettings, float], SectionResult]


def add_failure(
    result: SectionResult, subject: str, error: Exception, device: torch.device
) -> None:
    """Adds the failure of one combination, which must not end the others.

    Raises:
        Exception: the error itself, where the device is lost.
    """
    if device_is_lost(error, device):
        raise error
    result.failures.append(f'{subject}: {one_line(error)}')


def run_here(section: Section, settings: CheckSettings, limit_s: float) -> SectionResult:
    """Runs a section in this process, without its limit of time; an error becomes a failure."""
    begin = time.monotonic()
    try:
        result = section(settings)
    except Exception as error:  # A section must not end the check.
        result = SectionResult(failures=[one_line(error)])
    result.seconds = time.monotonic() - begin
    return result


def run_in_child(section: Section, settings: CheckSettings, limit_s: float) -> SectionResult:
    """Runs a section, a function of a module, in a new process.

    Args:
        section: section to run.
        settings: sizes of the check.
        limit_s: seconds after which the process is killed.
    """
    begin = time.monotonic()
    context = multiprocessing.get_context('spawn')  # A fork would not have a working CUDA.
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sender, section, settings))
    child.start()
    sender.close()
    failure = f'did not end within {limit_s:g} s'
    try:
        if receiver.poll(limit_s):
            result: SectionResult = receiver.recv()
            return result
    except EOFError:
        child.join()
        failure = f'process ended with exit code {child.exitcode}'
    finally:
        receiver.close()
        child.join(5)
        child.kill()
    return SectionResult(failures=[failure], seconds=time.monotonic() - begin)


def _child(sender: Connection, section: Section, settings: CheckSettings) -> None:
    sender.send(run_here(section, settings, 0.0))
    sender.close()
