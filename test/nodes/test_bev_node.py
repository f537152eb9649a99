# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Lifecycle of a node in this process: states, errors, shortage of memory, changes, leaks."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest
import torch
from fusions import lively_fusion, save_fusion
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from node_bench import (
    FAILURE,
    NODES,
    ONE_CAMERA,
    SMALL,
    SUCCESS,
    Bench,
    status_of,
    until,
    values_of,
)
from std_msgs.msg import Float32MultiArray, Float64

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.fusion_runner import FusionRunner
from tiny_bev_ros.inference.memory import NotEnoughMemoryError
from tiny_bev_ros.messages.camera_features import camera_labels
from tiny_bev_ros.messages.tensor import decode_tensor, encode_tensor
from tiny_bev_ros.models import build_backbone, seeded
from tiny_bev_ros.models.camera.extrinsics import IDENTITY_EXTRINSICS
from tiny_bev_ros.models.camera.geometry import make_camera
from tiny_bev_ros.models.heads.detection import CLASSES
from tiny_bev_ros.nodes import model_factory
from tiny_bev_ros.nodes.backbone_node import BackboneNode
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.camera_node import CameraNode
from tiny_bev_ros.nodes.debug_publisher import debug_type
from tiny_bev_ros.nodes.fusion_node import FusionNode
from tiny_bev_ros.nodes.heads_node import HeadsNode
from tiny_bev_ros.nodes.pfn_node import PfnNode
from tiny_bev_ros.nodes.pipeline_node import PipelineNode
from tiny_bev_ros.runtime.process import trim_malloc
from tiny_bev_ros.runtime.staleness import NO_CLOCK


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(node_class: type[BevNode], **values: Any) -> Bench:
        known = SMALL if node_class in (PfnNode, PipelineNode) else {'device': 'cpu'}
        if node_class is FusionNode:
            known |= ONE_CAMERA
        if node_class is HeadsNode:
            # Untrained heads have low scores: all detections are kept to have some to compare.
            known |= {f'detection.min_score.{name}': 0.0 for name in CLASSES}
        made.append(Bench(node_class, len(made), **known, **values))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize('node_class', NODES)
def test_every_node_goes_through_its_states(bench, node_class):
    made = bench(node_class)
    node = made.node
    assert node.state == 'unconfigured'
    for _ in range(2):
        assert node.trigger_configure() == SUCCESS
        assert node.state == 'inactive'
        assert made.publisher.get_subscription_count() == 0
        for _ in range(2):
            assert node.trigger_activate() == SUCCESS
            assert node.state == 'active'
            assert np.abs(made.frame()).max() > 0
            assert node.trigger_deactivate() == SUCCESS
            assert node.state == 'inactive'
        assert node.trigger_cleanup() == SUCCESS
        assert node.state == 'unconfigured'
        assert node.models.fallback is None
    assert node.trigger_shutdown() == SUCCESS
    assert node.state == 'finalized'


def test_a_lifecycle_manager_gets_the_same_states(bench):
    made = bench(PfnNode)
    changer = made.other.create_client(ChangeState, 'pfn_node/change_state')
    reader = made.other.create_client(GetState, 'pfn_node/get_state')
    assert changer.wait_for_service(10)
    assert reader.wait_for_service(10)

    def ask(client: Any, request: Any) -> Any:
        future = client.call_async(request)
        until(future.done)
        return future.result()

    def change(number: int) -> bool:
        return ask(changer, ChangeState.Request(transition=Transition(id=number))).success

    def state() -> str:
        label = ask(reader, GetState.Request()).current_state.label
        assert label == made.node.state
        return label

    assert change(Transition.TRANSITION_CONFIGURE)
    assert state() == 'inactive'
    for impossible in (Transition.TRANSITION_CONFIGURE, 250):
        assert not change(impossible)
        assert state() == 'inactive'
    assert change(Transition.TRANSITION_ACTIVATE)
    assert state() == 'active'
    assert made.frame().shape == (1, 64, 32, 32)
    assert change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert state() == 'finalized'


def test_outputs_that_end_have_no_subscribers(bench):
    # Diagnostics, in another thread, may query subscribers at this moment.
    node = bench(HeadsNode).node
    assert node.trigger_configure() == SUCCESS
    for output in node._outputs:
        output.destroy()
    assert not node.has_subscribers
    status_of(node)


def test_a_wrong_weight_file_can_be_replaced(bench, tmp_path):
    path = tmp_path / 'weights.pt'
    made = bench(BackboneNode, **{'backbone.checkpoint': str(path)})
    node = made.node
    assert not node.start()
    assert 'which is no file' in node.fault
    path.write_bytes(b'nonsense')
    assert node.trigger_configure() == FAILURE
    assert 'cannot be read' in node.fault
    assert node.state == 'unconfigured'
    torch.save(build_backbone('tiny').state_dict(), path)
    assert node.start()
    assert node.fault == ''
    assert made.frame().shape == (1, 128, 3, 4)


def test_a_bug_in_configuring_leads_back_to_unconfigured(bench, monkeypatch):
    made = bench(PipelineNode)
    with monkeypatch.context() as patch:
        patch.setattr(PipelineNode, 'make_outputs', lambda *_: 1 / 0)
        assert not made.node.start()
    assert made.node.state == 'unconfigured'
    assert made.node.fault == 'ZeroDivisionError: division by zero'
    assert made.node.start()
    made.frame()


def test_a_bug_in_a_frame_is_counted_and_the_next_one_is_processed(bench, monkeypatch):
    made = bench(PipelineNode)
    made.node.start()
    made.frame(1)
    with monkeypatch.context() as patch:
        patch.setattr(BackboneRunner, 'from_checked', lambda *_: 1 / 0)
        made.publisher.publish(made.message(2))
        until(lambda: made.node.stats.dropped['failed'] == 1)
    made.frame(3)
    assert made.node.state == 'active'
    level = status_of(made.node).level
    assert level == b'\x02'


def out_of_memory(*_: Any) -> None:
    raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 1 GiB')


def out_of_memory_for_fusion(*_: Any) -> None:
    raise NotEnoughMemoryError('fusion.mode is global, which takes too much')


def test_a_shortage_of_memory_makes_frames_sparse_and_is_reported(bench, monkeypatch):
    made = bench(BackboneNode)
    made.node.start()
    whole = made.frame(1)
    monkeypatch.setattr('tiny_bev_ros.inference.dense_path.DensePath.__call__', out_of_memory)
    # A frame that is full enough takes the dense path, for which there is no memory now.
    monkeypatch.setattr(
        'tiny_bev_ros.inference.backbone_paths.sparse_is_cheaper', lambda *_: False
    )
    again = made.frame(1)
    assert np.abs(again - whole).max() < 1e-4
    assert values_of(made.node)['memory_fallback'] == 'with caches freed, sparse only'
    assert status_of(made.node).level == b'\x01'


def test_when_memory_stays_short_the_node_is_unconfigured_and_can_be_configured(
    bench, monkeypatch
):
    made = bench(BackboneNode)
    node = made.node
    node.start()
    made.frame(1)
    with monkeypatch.context() as patch:
        patch.setattr(BackboneRunner, '__call__', out_of_memory)
        until_gone = time.monotonic() + 120
        while node.state == 'active' and time.monotonic() < until_gone:
            made.publisher.publish(made.message(2))
            time.sleep(0.05)
        until(lambda: node.state == 'unconfigured')
    assert 'CUDA out of memory' in node.fault
    status = status_of(node)
    assert status.level == b'\x02'
    assert 'unconfigured: ' in status.message
    assert node.start()
    made.frame(3)


def test_one_input_that_is_too_large_is_refused_and_changes_nothing(bench, monkeypatch):
    made = bench(PipelineNode)
    made.node.start()
    made.frame(1)
    with monkeypatch.context() as patch:
        patch.setattr(BackboneRunner, 'from_checked', out_of_memory)
        made.publisher.publish(made.message(2))
        until(lambda: made.node.stats.dropped['rejected'] == 1)
    made.frame(3)
    assert made.node.state == 'active'
    assert values_of(made.node)['memory_fallback'] == 'none'


def test_a_fusion_for_which_memory_is_short_lets_the_map_pass(bench, monkeypatch, tmp_path):
    weights = save_fusion(lively_fusion(128, 64), tmp_path / 'fusion.pt')
    made = bench(FusionNode, **{'fusion.checkpoint': weights})
    made.node.start()
    camera = made.other.create_publisher(Float32MultiArray, 'front/camera_features', 1)
    until(lambda: camera.get_subscription_count() == 1)
    seen = np.random.default_rng(0).random((1, 64, 3, 5), np.float32)
    small = make_camera([5.0, 0.0, 2.0, 0.0, 5.0, 1.0, 0.0, 0.0, 1.0], IDENTITY_EXTRINSICS, (5, 3))

    def fused(seconds: int) -> np.ndarray:
        camera.publish(encode_tensor(seen, camera_labels(small, (seconds, 0), 'cam')))
        time.sleep(0.2)
        return made.frame(seconds)

    whole = decode_tensor(made.message(1)).array
    assert np.abs(fused(1) - whole).max() > 1e-3
    with monkeypatch.context() as patch:
        patch.setattr(FusionRunner, '__call__', out_of_memory_for_fusion)
        for seconds in range(2, 7):
            assert (fused(seconds) == decode_tensor(made.message(seconds)).array).all()
    assert made.node.state == 'active'
    assert made.node.cameras['front'].missing >= 5
    assert status_of(made.node).level == b'\x01'
    assert np.abs(fused(7) - decode_tensor(made.message(7)).array).max() > 1e-3


def test_a_bug_in_reading_a_camera_lets_the_map_pass(bench, monkeypatch):
    made = bench(FusionNode)
    monkeypatch.setattr(
        'tiny_bev_ros.nodes.fusion_node.decode_camera_features', lambda *_, **__: 1 / 0
    )
    made.node.start()
    camera = made.other.create_publisher(Float32MultiArray, 'front/camera_features', 1)
    until(lambda: camera.get_subscription_count() == 1)
    made.frame(1)
    camera.publish(Float32MultiArray())
    until(lambda: made.node.cameras['front'].dropped['failed'] == 1)
    assert (made.frame(2) == decode_tensor(made.message(2)).array).all()
    assert made.node.cameras['front'].pending == 0


def test_weights_are_reloaded_without_a_gap(bench, tmp_path, monkeypatch):
    path = tmp_path / 'weights.pt'
    states = []
    for seed in range(2):
        with seeded(seed):
            backbone = build_backbone('tiny')
        states.append(backbone.state_dict())
    torch.save(states[0], path)
    made = bench(BackboneNode, **{'backbone.checkpoint': str(path)})
    node = made.node
    node.start()
    first = made.frame(1)
    digest = node.models.digests['backbone']

    path.write_bytes(path.read_bytes()[:5000])
    assert 'cannot be read' in made.change(backbone__checkpoint=str(path))
    assert node.models.digests['backbone'] == digest
    assert (made.frame(1) == first).all()

    torch.save(states[1], path)
    slow = threading.Event()
    load = model_factory.load_models

    def slowly(*arguments: Any, **parts: bool) -> Any:
        slow.set()
        time.sleep(1.0)
        return load(*arguments, **parts)

    monkeypatch.setattr(model_factory, 'load_models', slowly)
    thread = threading.Thread(target=lambda: made.change(backbone__checkpoint=str(path)))
    thread.start()
    assert slow.wait(5)
    made.results.clear()
    during = 0
    while thread.is_alive():
        made.publisher.publish(made.message(1))
        time.sleep(0.05)
        during = len(made.results)
    assert during > 5  # of some 20 in this second
    other = made.frame(1)
    with torch.no_grad():
        with seeded(1):
            backbone = build_backbone('tiny').eval()
        wanted = backbone(torch.from_numpy(decode_tensor(made.message(1)).array.copy()))
    assert np.abs(other - wanted.numpy()).max() < 1e-4
    assert np.abs(other - first).max() > 1e-3
    assert node.models.digests['backbone'] != digest


def test_precision_encoding_and_region_change_between_frames(bench, monkeypatch):
    # The measured speed of bfloat16 on this machine must not matter.
    monkeypatch.setattr('tiny_bev_ros.inference.precision.reason_for_float32', lambda _: '')
    made = bench(PipelineNode)
    node = made.node
    node.start()
    whole = made.frame(1)
    assert made.change(backbone__precision='bfloat16', backbone__sparsity='never') == ''
    rounded = made.frame(2, seed=1)
    assert node.models.fallback.config.precision == 'bfloat16'
    assert 0 < np.abs(rounded - whole).max() < 0.1
    assert made.change(backbone__precision='float32', output_roi__x_range=[4.0, 8.0]) == ''
    part = made.frame(3, seed=1)
    assert np.abs(part - whole[..., 4:8]).max() < 1e-4
    assert 'expected an overlap with the grid' in made.change(
        output_roi__x_range=[100.0, 200.0], output_encoding='float16'
    )
    assert node.values['output_encoding'] == 'float32'
    assert made.frame(4, seed=1).shape == part.shape


def test_input_of_another_time_is_dropped_and_counted(bench):
    made = bench(PfnNode, max_age_ms=5000.0)
    made.node.start()
    until(lambda: made.publisher.get_subscription_count() > 0)
    now = time.time()
    for stamp in (now - 20, now + 20, now):
        message = made.message()
        message.header.stamp.sec, message.header.stamp.nanosec = int(stamp), 0
        made.publisher.publish(message)
        time.sleep(0.2)
    stats = made.node.stats
    until(lambda: stats.pending == 0)
    assert (stats.dropped['stale'], stats.dropped['future'], stats.published) == (1, 1, 1)
    assert stats.time_jumps == 1


def test_without_a_clock_there_is_no_age_and_the_reason_is_reported(bench):
    made = bench(PfnNode, use_sim_time=True, **{'diagnostics.input_timeout_s': 0.0})
    assert made.node.start()
    made.frame(1_800_000_000)
    status = status_of(made.node)
    values = {pair.key: pair.value for pair in status.values}
    assert values['output_age_p95_ms'] == f'unknown: {NO_CLOCK}'
    assert status.level == b'\x01'
    assert NO_CLOCK in status.message
    assert float(values['latency_p95_ms']) >= 0


STAGES = {
    PfnNode: {'pillars'},
    BackboneNode: {'backbone'},
    CameraNode: {'encoder'},
    FusionNode: {'cameras', 'fusion'},
    HeadsNode: {'heads'},
    PipelineNode: {'levelling', 'pillars', 'backbone', 'heads'},
}


def debug_topics(node: Any) -> set[str]:
    names = {name for name, _ in node.get_topic_names_and_types()}
    prefix = f'{node.get_fully_qualified_name()}/debug/'
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}


@pytest.mark.parametrize('node_class', NODES)
def test_times_are_published_to_subscribers_of_nothing_else(bench, node_class):
    made = bench(node_class)
    node = made.node
    assert debug_topics(node) == set()
    assert node.trigger_configure() == SUCCESS
    own = {f'processing_time/{stage}_ms' for stage in {'decode', 'publish'} | STAGES[node_class]}
    names = {'processing_time_ms', 'pipeline_latency_ms'} | own
    assert debug_topics(node) == names
    made.other.destroy_subscription(made.reader)
    until(lambda: not node.has_subscribers)
    got: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        made.other.create_subscription(
            Float64,
            f'{node.get_name()}/debug/{name}',
            lambda message, name=name: got[name].append(message.data),
            10,
        )
    until(lambda: node.has_subscribers)
    assert node.trigger_activate() == SUCCESS
    end = time.monotonic() + 120
    while not all(got.values()) and time.monotonic() < end:
        made.send(1)
        time.sleep(0.05)
    assert all(got.values()), got
    assert not made.results
    assert all(got[name][-1] >= 0 for name in own)
    assert got['processing_time_ms'][-1] > 0
    # The stamp is of 1970.
    assert got['pipeline_latency_ms'][-1] > 1e12
    assert node.trigger_deactivate() == SUCCESS
    assert node.trigger_cleanup() == SUCCESS
    prefix = f'{node.get_name()}/debug'
    until(lambda: not any(made.other.count_publishers(f'{prefix}/{name}') for name in names))


def test_times_compute_nothing_else_where_results_have_subscribers(bench):
    """Heads are not computed for subscribers to times and features."""
    made = bench(PipelineNode)
    got: list[float] = []
    for name in ('processing_time_ms', 'processing_time/heads_ms'):
        made.other.create_subscription(
            Float64, f'pipeline_node/debug/{name}', lambda message: got.append(message.data), 10
        )
    made.node.start()
    ran: list[str] = []
    run = made.node.run
    made.node.run = lambda stage, *work: (ran.append(stage), run(stage, *work))[1]
    made.frame(1)
    until(lambda: got)
    assert set(ran) == {'pillars', 'backbone'}


def test_each_transition_is_logged_in_a_line(bench, capfd):
    made = bench(PipelineNode)
    node = made.node
    assert node.start()
    made.frame(1)
    node.trigger_deactivate()
    node.trigger_cleanup()
    node.trigger_shutdown()
    lines = [line.partition(']: ')[2] for line in capfd.readouterr().err.splitlines()]
    topic = f'{node.get_namespace()}/points'
    expected = [
        'configured: on cpu, grid of 32 x 32 cells, float32, sparsity auto',
        f'active, waiting for {topic} (sensor_msgs/msg/PointCloud2)',
        f'{topic}: first message received',
        'deactivated',
        'cleaned up',
        'shut down',
    ]
    assert [line for line in lines if line in expected] == expected


@pytest.mark.parametrize(
    ('node_class', 'topics'),
    [
        (CameraNode, {'image', 'camera_info'}),
        (FusionNode, {'bev_features', 'front/camera_features'}),
    ],
)
def test_an_active_node_names_all_topics_that_it_waits_for(bench, node_class, topics):
    node = bench(node_class).node
    assert node.start()
    sources = {source.partition(' ')[0] for source in node._sources}
    assert sources == {f'{node.get_namespace()}/{topic}' for topic in topics}


@pytest.mark.parametrize('package', ['autoware_internal_debug_msgs', 'tier4_debug_msgs'])
def test_autowares_numbers_are_used_where_installed(monkeypatch, package):
    module = types.ModuleType(f'{package}.msg')
    module.Float64Stamped = type('Float64Stamped', (), {})
    monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    monkeypatch.setitem(sys.modules, f'{package}.msg', module)
    assert debug_type() is module.Float64Stamped


def test_a_silent_input_is_an_error(bench):
    made = bench(PfnNode, **{'diagnostics.input_timeout_s': 0.2})
    made.node.start()
    made.frame(1)
    assert status_of(made.node).level == b'\x00'
    time.sleep(0.3)
    status = status_of(made.node)
    assert status.level == b'\x02'
    assert status.message.startswith('no input for 0.')


def test_all_inputs_end_in_order_even_where_one_fails():
    ended: list[str] = []

    def end(name: str) -> None:
        ended.append(name)
        if name == 'b':
            raise TinyBevError('b hangs')

    node = MagicMock()
    node._inputs = [Mock(destroy=partial(end, name)) for name in 'abc']
    node._outputs = [Mock(withdraw=partial(end, 'output'))]
    with pytest.raises(TinyBevError, match='b hangs'):
        BevNode._deactivate(node)
    assert ended == [*'abc', 'output']
    assert node._inputs == []


def open_files() -> int:
    return len(list(Path('/proc/self/fd').iterdir()))


def tensors_and_networks() -> int:
    gc.collect()
    kinds = (torch.Tensor, torch.nn.Module)
    return sum(issubclass(type(each), kinds) for each in gc.get_objects())


def resident_mb() -> float:
    gc.collect()
    trim_malloc()
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


@pytest.mark.skipif(not Path('/proc/self/fd').is_dir(), reason='Linux counts these things')
@pytest.mark.parametrize('node_class', NODES)
def test_many_lifecycles_leak_nothing(bench, node_class):
    made = bench(node_class)
    node = made.node
    before = (0.0, 0, 0, 0)
    for cycle in range(40):
        assert node.trigger_configure() == SUCCESS
        assert node.trigger_activate() == SUCCESS
        if cycle % 10 == 0:
            made.frame()
        assert node.trigger_deactivate() == SUCCESS
        assert node.trigger_cleanup() == SUCCESS
        if cycle == 20:  # by then caches of PyTorch, numba and the middleware are filled
            before = resident_mb(), threading.active_count(), open_files(), tensors_and_networks()
    memory, threads, files = resident_mb(), threading.active_count(), open_files()
    assert threads < before[1] + 3  # an executor starts up to three when it needs them
    assert files <= before[2] + 1
    # Tensors are counted exactly, while memory grows and shrinks by itself.
    assert tensors_and_networks() == before[3]
    assert memory < before[0] * 1.02 + 2, (before[0], memory)
