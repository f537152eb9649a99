# SPDX-License-Identifier: Apache-2.0
"""The life of a node, in this process: states, errors, shortage of memory, changes, leaks."""

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
import rclpy
import torch
from fusions import lively_fusion, save_fusion
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Float32MultiArray, Float64

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import Axis
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.fusion_runner import FusionRunner
from tiny_bev_ros.inference.memory import NotEnoughMemoryError
from tiny_bev_ros.messages.camera_features import camera_labels
from tiny_bev_ros.messages.detections import decode_detection_boxes
from tiny_bev_ros.messages.image import encode_image
from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.messages.tensor import TensorLabels, decode_tensor, encode_tensor
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

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
NODES = {
    PfnNode: ('points', 'pseudo_image'),
    BackboneNode: ('pseudo_image', 'bev_features'),
    CameraNode: ('image', 'camera_features'),
    FusionNode: ('bev_features', 'fused_features'),
    HeadsNode: ('bev_features', 'detection_boxes'),
    PipelineNode: ('points', 'bev_features'),
}
SMALL = {
    'grid.x_range': [0.0, 16.0],
    'grid.y_range': [-8.0, 8.0],
    'grid.z_range': [-3.0, 1.0],
    'grid.resolution': 0.5,
    'device': 'cpu',
}
K = [40.0, 0.0, 19.5, 0.0, 40.0, 11.5, 0.0, 0.0, 1.0]
ONE_CAMERA = {'cameras': ['front'], 'extrinsics.front': [0.0, 0.0, 0.0, -0.5, 0.5, -0.5, 0.5]}


class Bench:
    """A node that is spun, with a publisher and a subscriber of another participant."""

    def __init__(self, node_class: type[BevNode], number: int, **values: Any) -> None:
        topic, result = NODES[node_class]
        namespace = f'/bench_{os.getpid()}_{number}'
        overrides = [RosParameter(name, value=value) for name, value in values.items()]
        self.contexts = [rclpy.Context() for _ in range(2)]
        for context in self.contexts:
            context.init(domain_id=102)
        self.node = node_class(
            context=self.contexts[0], namespace=namespace, parameter_overrides=overrides
        )
        self.other = rclpy.create_node('other', context=self.contexts[1], namespace=namespace)
        self.results: list[Any] = []
        self.calls = 0
        self.reader = self.other.create_subscription(
            Float32MultiArray, result, self.results.append, 10
        )
        self.is_cloud, self.is_list = topic == 'points', result == 'detection_boxes'
        self.is_image = topic == 'image'
        self.channels = 128 if topic == 'bev_features' else 64
        types = {'points': PointCloud2, 'image': Image}
        self.publisher = self.other.create_publisher(types.get(topic, Float32MultiArray), topic, 1)
        self.info = self.other.create_publisher(CameraInfo, 'camera_info', 1)
        self.executors = [
            MultiThreadedExecutor(3, context=self.contexts[0]),
            SingleThreadedExecutor(context=self.contexts[1]),
        ]
        for executor, node in zip(self.executors, (self.node, self.other), strict=True):
            executor.add_node(node)
            threading.Thread(target=spin, args=(executor,), daemon=True).start()

    def message(self, seconds: int = 1, seed: int | None = None, call: int = 0) -> Any:
        stamp = seconds, call
        generator = np.random.default_rng(seconds if seed is None else seed)
        if self.is_cloud:
            points = generator.uniform([0, -8, -3, 0], [16, 8, 1, 1], (500, 4))
            return encode_cloud(points.astype(np.float32), stamp, 'lidar')
        if self.is_image:
            pixels = generator.integers(0, 256, (24, 40, 3)).astype(np.uint8)
            return encode_image(pixels, stamp, 'cam')
        axis = Axis(0.0, 0.5)
        image = generator.random((1, self.channels, 6, 8), dtype=np.float32)
        return encode_tensor(image, TensorLabels(stamp, 'lidar', axis, axis))

    def send(self, seconds: int = 1, seed: int | None = None, call: int = 0) -> None:
        """Publishes once, if the node subscribes."""
        if self.publisher.get_subscription_count():
            if self.is_image:
                self.info.publish(CameraInfo(width=40, height=24, k=K))
            self.publisher.publish(self.message(seconds, seed, call))

    def frame(self, seconds: int = 1, seed: int | None = None) -> np.ndarray:
        """Publishes until there is a result: of this call, not of one before."""
        self.calls += 1
        end = time.monotonic() + 120
        while time.monotonic() < end:
            self.send(seconds, seed, self.calls)
            time.sleep(0.05)
            for result in list(self.results):
                if self.is_list:
                    found = decode_detection_boxes(result)
                    if found.labels.stamp == (seconds, self.calls):
                        return found.boxes
                    continue
                tensor = decode_tensor(result)
                if tensor.labels.stamp == (seconds, self.calls):
                    return tensor.array
        pytest.fail(f'no result; {self.node.state}, {self.node.fault}, {self.node.stats}')

    def change(self, **values: Any) -> str:
        """Sets parameters, `a__b` for a.b; '' or why not."""
        changes = [RosParameter(name.replace('__', '.'), value=x) for name, x in values.items()]
        return self.node.set_parameters_atomically(changes).reason

    def close(self) -> None:
        for executor in self.executors:
            executor.shutdown(timeout_sec=1)
        self.node.destroy_node()
        self.other.destroy_node()
        for context in self.contexts:
            context.try_shutdown()


def spin(executor: Executor) -> None:
    """Spins until the executor is shut down, as the executables do."""
    while True:
        try:
            return executor.spin()
        except InvalidHandle:  # of what was let go of while it was looked for what is due
            continue


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(node_class: type[BevNode], **values: Any) -> Bench:
        known = SMALL if node_class in (PfnNode, PipelineNode) else {'device': 'cpu'}
        if node_class is FusionNode:
            known |= ONE_CAMERA
        if node_class is HeadsNode:
            # Of untrained heads, so that there is something to compare.
            known |= {f'detection.min_score.{name}': 0.0 for name in CLASSES}
        made.append(Bench(node_class, len(made), **known, **values))
        return made[-1]

    yield make
    for each in made:
        each.close()


def until(done: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


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
        assert node.ladder is None
    assert node.trigger_shutdown() == SUCCESS
    assert node.state == 'finalized'


def test_the_states_are_those_that_a_lifecycle_manager_sees(bench):
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


def test_outputs_that_end_are_not_wanted(bench):
    # Diagnostics, in a thread of their own, may ask at that moment.
    node = bench(HeadsNode).node
    assert node.trigger_configure() == SUCCESS
    for output in node._outputs:
        output.destroy()
    node.telemetry._times.destroy()
    assert not node.wanted
    node.telemetry.status()


def test_a_weight_file_that_is_wrong_can_be_put_right(bench, tmp_path):
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


def test_a_bug_in_a_frame_is_counted_and_the_next_one_is_worked_on(bench, monkeypatch):
    made = bench(PipelineNode)
    made.node.start()
    made.frame(1)
    with monkeypatch.context() as patch:
        patch.setattr(BackboneRunner, 'from_checked', lambda *_: 1 / 0)
        made.publisher.publish(made.message(2))
        until(lambda: made.node.stats.dropped['failed'] == 1)
    made.frame(3)
    assert made.node.state == 'active'
    level = made.node.telemetry.status().level
    assert level == b'\x02'


def out_of_memory(*_: Any) -> None:
    raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 1 GiB')


def out_of_memory_for_fusion(*_: Any) -> None:
    raise NotEnoughMemoryError('fusion.mode is global, which takes too much')


def values_of(node: BevNode) -> dict[str, str]:
    return {pair.key: pair.value for pair in node.telemetry.status().values}


def test_a_shortage_of_memory_makes_frames_sparse_and_is_shown(bench, monkeypatch):
    made = bench(BackboneNode)
    made.node.start()
    whole = made.frame(1)
    monkeypatch.setattr('tiny_bev_ros.inference.dense.DensePath.__call__', out_of_memory)
    # A frame that is full enough takes the dense way, for which there is no memory now.
    monkeypatch.setattr(
        'tiny_bev_ros.inference.backbone_paths.sparse_is_cheaper', lambda *_: False
    )
    again = made.frame(1)
    assert np.abs(again - whole).max() < 1e-4
    assert values_of(made.node)['when memory was short'] == 'with caches freed, sparse only'
    assert made.node.telemetry.status().level == b'\x01'


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
    status = node.telemetry.status()
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
    assert values_of(made.node)['when memory was short'] == 'nothing'


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
    assert made.node.telemetry.status().level == b'\x01'
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
    digest = node.weights.digests['backbone']

    path.write_bytes(path.read_bytes()[:5000])
    assert 'cannot be read' in made.change(backbone__checkpoint=str(path))
    assert node.weights.digests['backbone'] == digest
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
    assert node.weights.digests['backbone'] != digest


def test_precision_encoding_and_region_change_between_frames(bench, monkeypatch):
    # How long products take here and now does not matter.
    for module in ('backbone_runner', 'precision'):
        monkeypatch.setattr(f'tiny_bev_ros.inference.{module}.reason_for_float32', lambda _: '')
    made = bench(PipelineNode)
    node = made.node
    node.start()
    whole = made.frame(1)
    assert made.change(backbone__precision='bfloat16', backbone__sparsity='never') == ''
    rounded = made.frame(2, seed=1)
    assert node.ladder.config.precision == 'bfloat16'
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


def test_without_a_clock_there_is_no_age_and_it_is_told_why(bench):
    made = bench(PfnNode, use_sim_time=True, **{'diagnostics.input_timeout_s': 0.0})
    assert made.node.start()
    made.frame(1_800_000_000)
    status = made.node.telemetry.status()
    values = {pair.key: pair.value for pair in status.values}
    assert values['age of output 95 %, ms'] == f'unknown: {NO_CLOCK}'
    assert status.level == b'\x01'
    assert NO_CLOCK in status.message
    assert float(values['latency 95 %, ms']) >= 0


STAGES = {
    PfnNode: {'pillars'},
    BackboneNode: {'backbone'},
    CameraNode: {'encoder'},
    FusionNode: {'cameras', 'fusion'},
    HeadsNode: {'heads'},
    PipelineNode: {'pillars', 'backbone', 'heads'},
}


def debug_topics(node: Any) -> set[str]:
    names = {name for name, _ in node.get_topic_names_and_types()}
    prefix = f'{node.get_fully_qualified_name()}/debug/'
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}


@pytest.mark.parametrize('node_class', NODES)
def test_times_are_published_for_who_listens_be_it_to_nothing_else(bench, node_class):
    made = bench(node_class)
    node = made.node
    assert debug_topics(node) == set()
    assert node.trigger_configure() == SUCCESS
    own = {f'processing_time/{stage}_ms' for stage in {'decode', 'publish'} | STAGES[node_class]}
    names = {'processing_time_ms', 'pipeline_latency_ms'} | own
    assert debug_topics(node) == names
    made.other.destroy_subscription(made.reader)
    until(lambda: not node.wanted)
    got: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        made.other.create_subscription(
            Float64,
            f'{node.get_name()}/debug/{name}',
            lambda message, name=name: got[name].append(message.data),
            10,
        )
    until(lambda: node.wanted)
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


def test_times_cost_nothing_that_nobody_reads(bench):
    """A reader of times beside a reader of features has no heads computed."""
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


def test_each_transition_is_told_in_a_line(bench, capfd):
    made = bench(PipelineNode)
    node = made.node
    assert node.start()
    made.frame(1)
    node.trigger_deactivate()
    node.trigger_cleanup()
    node.trigger_shutdown()
    said = [line.partition(']: ')[2] for line in capfd.readouterr().err.splitlines()]
    topic = f'{node.get_namespace()}/points'
    wanted = [
        'configured: on cpu, grid of 32 x 32 cells, float32, sparsity auto',
        f'active, waiting for {topic} (sensor_msgs/msg/PointCloud2)',
        f'{topic}: first message received',
        'deactivated',
        'cleaned up',
        'shut down',
    ]
    assert [line for line in said if line in wanted] == wanted


@pytest.mark.parametrize(
    ('node_class', 'topics'),
    [
        (CameraNode, {'image', 'camera_info'}),
        (FusionNode, {'bev_features', 'front/camera_features'}),
    ],
)
def test_an_active_node_says_all_that_it_waits_for(bench, node_class, topics):
    node = bench(node_class).node
    assert node.start()
    sources = {source.partition(' ')[0] for source in node._sources}
    assert sources == {f'{node.get_namespace()}/{topic}' for topic in topics}


@pytest.mark.parametrize('package', ['autoware_internal_debug_msgs', 'tier4_debug_msgs'])
def test_autowares_numbers_are_taken_where_they_are_installed(monkeypatch, package):
    module = types.ModuleType(f'{package}.msg')
    module.Float64Stamped = type('Float64Stamped', (), {})
    monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    monkeypatch.setitem(sys.modules, f'{package}.msg', module)
    assert debug_type() is module.Float64Stamped


def test_a_silent_input_is_an_error(bench):
    made = bench(PfnNode, **{'diagnostics.input_timeout_s': 0.2})
    made.node.start()
    made.frame(1)
    assert made.node.telemetry.status().level == b'\x00'
    time.sleep(0.3)
    status = made.node.telemetry.status()
    assert status.level == b'\x02'
    assert status.message.startswith('no input for 0.')


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
def test_many_lives_leak_nothing(bench, node_class):
    made = bench(node_class)
    node = made.node
    before = (0.0, 0, 0, 0)
    for life in range(40):
        assert node.trigger_configure() == SUCCESS
        assert node.trigger_activate() == SUCCESS
        if life % 10 == 0:
            made.frame()
        assert node.trigger_deactivate() == SUCCESS
        assert node.trigger_cleanup() == SUCCESS
        if life == 20:  # by then caches of PyTorch, numba and the middleware are filled
            before = resident_mb(), threading.active_count(), open_files(), tensors_and_networks()
    memory, threads, files = resident_mb(), threading.active_count(), open_files()
    assert threads < before[1] + 3  # an executor starts up to three when it needs them
    assert files <= before[2] + 1
    # To the last one, while memory grows and shrinks by itself.
    assert tensors_and_networks() == before[3]
    assert memory < before[0] * 1.02 + 2, (before[0], memory)


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
