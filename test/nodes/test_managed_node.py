# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Faults of a node: it reports them, is unconfigured, and ends where the device is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
import torch
from node_bench import SMALL, status_of
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter

from tiny_bev_ros.inference import device_errors
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.device_errors import device_is_lost, is_device_error
from tiny_bev_ros.inference.head_runner import HeadRunner
from tiny_bev_ros.inference.model_builder import ModelBuilder
from tiny_bev_ros.inference.pillar_runner import PillarRunner
from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.diagnostics import NodeReport
from tiny_bev_ros.nodes.output_publisher import Subscribers
from tiny_bev_ros.nodes.pipeline_node import PipelineNode

ASSERT = (
    'CUDA error: device-side assert triggered\n'
    'CUDA kernel errors might be asynchronously reported at some other API call'
)
NO_IMAGE = 'CUDA error: no kernel image is available for execution on the device'
# Error type of PyTorch: its own, or RuntimeError in releases before that.
ACCELERATOR = getattr(torch, 'AcceleratorError', RuntimeError)
VALUES = SMALL | {'backbone.sparsity': 'never'}
# Topics that are taken to have subscribers.
TOPICS = frozenset({'bev_features', 'bev_image', 'detection_boxes'})


class Made:
    """Pipeline node in this process, whose clouds are handed to it without middleware."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        self.context.init()
        overrides = [RosParameter(name, value=value) for name, value in VALUES.items()]
        self.node = PipelineNode(
            context=self.context,
            namespace=f'/breakdown_{os.getpid()}',
            parameter_overrides=overrides,
        )
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.reported: list[tuple[bytes, str]] = []
        publish = self.node.diagnostics.publish

        def record(report: NodeReport) -> None:
            status = self.node.diagnostics.status(report)
            self.reported.append((status.level, status.message))
            publish(report)

        self.node.diagnostics.publish = record

    def cloud(self) -> None:
        """Lets the node process one cloud to its end."""
        stats = self.node.stats
        clouds = self.node._inputs[-1]
        clouds._receive(cloud_message())
        self.until(lambda: stats.pending == 0)

    def until(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + 30
        while not done():
            assert time.monotonic() < end
            self.executor.spin_once(timeout_sec=0.02)

    def close(self) -> None:
        self.executor.shutdown(timeout_sec=1)
        self.node.destroy_node()
        self.context.try_shutdown()


def cloud_message() -> Any:
    points = np.random.default_rng(0).uniform([0, -8, -3, 0], [16, 8, 1, 1], (50, 4))
    return encode_cloud(points.astype(np.float32), (1, 0), 'lidar')


@pytest.fixture
def made(monkeypatch) -> Iterator[Made]:
    monkeypatch.setattr(Subscribers, 'of', lambda _: Subscribers(TOPICS))
    made = Made()
    yield made
    made.close()


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ('where', 'name'),
    [
        (PillarRunner, 'pillars'),
        (BackboneRunner, 'from_checked'),
        (HeadRunner, '__call__'),
        (PipelineNode, '_positions'),  # outside of all stages
    ],
)
@pytest.mark.parametrize('kind', [ACCELERATOR, RuntimeError])
def test_an_error_of_the_device_leads_through_error_processing_at_once(
    made: Made, monkeypatch, where: type, name: str, kind: type[Exception]
):
    node = made.node
    assert node.start()
    made.cloud()
    assert node.stats.published == 1
    with monkeypatch.context() as patch:
        patch.setattr(where, name, failing(kind(NO_IMAGE)))
        made.cloud()
        made.until(lambda: node.state == 'unconfigured')
    assert node.stats.dropped['failed'] == 1
    assert NO_IMAGE in node.fault
    status = status_of(node)
    assert status.level == b'\x02'
    assert status.message == f'unconfigured: {kind.__name__}: {NO_IMAGE}'
    assert not node.device_lost
    assert node.start()
    made.cloud()
    assert node.stats.published == 2


def test_a_device_that_is_lost_ends_the_process_after_a_report(made: Made, monkeypatch):
    node = made.node
    assert node.start()
    monkeypatch.setattr(BackboneRunner, 'from_checked', failing(ACCELERATOR(ASSERT)))
    made.cloud()
    made.until(lambda: node.device_lost)
    assert node.state == 'unconfigured'
    assert made.reported[-1] == (
        b'\x02',
        f'unconfigured: {ACCELERATOR.__name__}: CUDA error: device-side assert triggered '
        '(the device is lost to this process)',
    )


def test_a_release_that_fails_as_well_ends_in_finalized(made: Made, monkeypatch, capfd):
    node = made.node
    assert node.start()
    with monkeypatch.context() as patch:
        patch.setattr(BackboneRunner, 'from_checked', failing(ACCELERATOR(ASSERT)))
        patch.setattr(
            'tiny_bev_ros.inference.memory_fallback.free_caches',
            failing(RuntimeError('of another kind')),
        )
        made.cloud()
        made.until(lambda: node.device_lost)
    assert node.state == 'finalized'
    assert 'device-side assert' in node.fault
    log = capfd.readouterr().err
    assert 'finalized after an error: ' in log
    assert 'unconfigured after an error: ' not in log


@pytest.mark.parametrize('name', ['_configure', '_activate'])
def test_a_device_that_is_lost_in_a_transition(made: Made, monkeypatch, name: str):
    node = made.node
    with monkeypatch.context() as patch:
        patch.setattr(BevNode, name, failing(ACCELERATOR(ASSERT)))
        assert not node.start()
    made.until(lambda: node.device_lost)
    assert made.reported[-1][0] == b'\x02'
    assert 'device-side assert' in node.fault


def test_a_device_that_is_lost_while_networks_are_made_anew(made: Made, monkeypatch):
    node = made.node
    assert node.start()
    with monkeypatch.context() as patch:
        patch.setattr(ModelBuilder, '__call__', failing(ACCELERATOR(ASSERT)))
        change = RosParameter('backbone.precision', value='bfloat16')
        answer = node.set_parameters_atomically([change])
    assert not answer.successful
    assert answer.reason.startswith('the change failed: ')
    assert '\n' not in answer.reason
    made.until(lambda: node.device_lost)
    assert node.state == 'unconfigured'


def test_a_device_that_is_lost_while_an_image_is_encoded(made: Made):
    """An error of a camera stops no map, but a lost device is a fault."""
    node = made.node
    assert node.start()
    with pytest.raises(RuntimeError, match='device-side'):
        node.run('encoder', failing(RuntimeError(ASSERT)))
    made.until(lambda: node.device_lost)


def test_a_stage_that_fails_over_every_input_is_a_fault_of_the_node(made: Made, monkeypatch):
    """A single failure may belong to its input; ten in a row do not, as of a missing package."""
    node = made.node
    assert node.start()
    with monkeypatch.context() as patch:
        patch.setattr(BackboneRunner, 'from_checked', failing(ImportError('needs another NumPy')))
        for _ in range(9):
            made.cloud()
    made.cloud()  # a success ends the row of failures
    with monkeypatch.context() as patch:
        patch.setattr(BackboneRunner, 'from_checked', failing(ImportError('needs another NumPy')))
        for _ in range(9):
            made.cloud()
        assert node.state == 'active'
        made.cloud()
        made.until(lambda: node.state == 'unconfigured')
    wanted = 'backbone failed 10 times in a row: ImportError: needs another NumPy'
    assert node.fault == wanted
    assert not node.device_lost
    assert node.start()


@pytest.mark.parametrize(
    'text',
    [
        ASSERT,
        'CUDA error: an illegal memory access was encountered',
        'CUDA error: unspecified launch failure',
        'CUDA error: misaligned address',
        'CUDA error: uncorrectable ECC error encountered',
        'CUDA error: the launch timed out and was terminated',
        'CUDA driver error: device-side assert triggered',
    ],
)
def test_errors_after_which_nothing_works(text: str):
    for kind in (ACCELERATOR, RuntimeError):
        assert is_device_error(kind(text))
        assert device_is_lost(kind(text), None)


def test_a_device_is_probed_where_the_error_leaves_it_open(monkeypatch):
    error = RuntimeError(NO_IMAGE)
    cuda = torch.device('cuda', 0)
    made = []
    monkeypatch.setattr(
        device_errors.torch, 'zeros', lambda *_, device: made.append(device) or torch.ones(1)
    )
    assert not device_is_lost(error, None)
    assert not device_is_lost(error, torch.device('cpu'))
    assert not device_is_lost(error, cuda)
    assert made == [cuda]
    monkeypatch.setattr(device_errors.torch, 'zeros', failing(ACCELERATOR(NO_IMAGE)))
    assert device_is_lost(error, cuda)
    short = torch.cuda.OutOfMemoryError('CUDA out of memory')
    monkeypatch.setattr(device_errors.torch, 'zeros', failing(short))
    assert not device_is_lost(error, cuda)


def test_other_errors_are_not_errors_of_the_device():
    for error in (RuntimeError('mat1 and mat2'), ValueError(ASSERT), TypeError('CUDA error: no')):
        assert not is_device_error(error)
    try:
        try:
            raise RuntimeError(ASSERT)
        except RuntimeError:
            raise KeyError('in the clearing up') from None
    except KeyError as error:
        assert is_device_error(error)


PROGRAM = """
import sys
from tiny_bev_ros.inference.pillar_runner import PillarRunner
from tiny_bev_ros.nodes import main

def fail(*_):
    raise RuntimeError({text!r})

PillarRunner.warm_up = fail
sys.exit(main.run('pfn_node', 'PfnNode'))
"""


@pytest.mark.dds
@pytest.mark.timeout(120)
def test_the_executable_ends_with_an_exit_code_that_is_not_0(tmp_path: Path):
    """A supervisor, such as launch with `respawn`, then starts another process."""
    program = tmp_path / 'program.py'
    program.write_text(PROGRAM.format(text=ASSERT))
    done = subprocess.run(
        [sys.executable, str(program), '--ros-args', '-r', f'__ns:=/broken_{os.getpid()}'],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert 'ending, as only another process can use the device' in done.stderr
    assert 'device-side assert triggered' in done.stderr


def test_another_error_in_configuring_does_not_end_the_process(made: Made, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(BevNode, '_configure', failing(ZeroDivisionError('a bug')))
        assert made.node.trigger_configure() == TransitionCallbackReturn.ERROR
    for _ in range(5):
        made.executor.spin_once(timeout_sec=0.01)
    assert not made.node.device_lost
    assert made.node.start()
