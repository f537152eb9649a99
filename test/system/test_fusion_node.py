# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tests of fusion_node as a process: with complete, late, faulty and missing camera features."""

from __future__ import annotations

import re

import numpy as np
import pytest
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray
from fusions import lively_fusion, save_fusion
from rclpy.parameter import Parameter as RosParameter
from ros_graph import RosGraph
from std_msgs.msg import Float32MultiArray, UInt8MultiArray

from tiny_bev_ros.grid import Axis
from tiny_bev_ros.inference.fusion_runner import FusionRunner
from tiny_bev_ros.messages.camera_features import camera_labels
from tiny_bev_ros.messages.tensor import decode_tensor, encode_tensor
from tiny_bev_ros.messages.tensor_labels import TensorLabels, grid_from_labels
from tiny_bev_ros.models.camera.extrinsics import IDENTITY_EXTRINSICS, extrinsics_from_pose
from tiny_bev_ros.models.camera.geometry import make_camera
from tiny_bev_ros.nodes.fusion_node import FusionNode

pytestmark = pytest.mark.dds

AHEAD = [0.3, 0.0, -0.1, -0.5, 0.5, -0.5, 0.5]
LEFT = [0.0, 0.4, -0.1, -0.7071068, 0.0, 0.0, 0.7071068]
K = [11.0, 0.0, 7.0, 0.0, 11.0, 2.5, 0.0, 0.0, 1.0]
D = [-0.1, 0.02, 0.001, 0.0, 0.0]
ROWS, COLS = 6, 15
CAMERA = make_camera(K, IDENTITY_EXTRINSICS, (COLS, ROWS), D)
Y_AXIS, X_AXIS = Axis(-4.0, 1.0), Axis(0.0, 1.0)


def stamp_of(ms: int) -> tuple[int, int]:
    return ms // 1000, ms % 1000 * 10**6


def map_of(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((1, 128, 8, 10), np.float32)


def map_message(ms: int, seed: int = 0):
    return encode_tensor(map_of(seed), TensorLabels(stamp_of(ms), 'lidar', Y_AXIS, X_AXIS))


def camera_features(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((1, 64, ROWS, COLS), np.float32)


def camera_message(ms: int, seed: int):
    return encode_tensor(camera_features(seed), camera_labels(CAMERA, stamp_of(ms), 'cam'))


def expected(bev: np.ndarray, cameras: list[tuple[list[float], int]], mode: str = 'projected'):
    """Returns PyTorch's fusion of a map with cameras, each a pose and a seed."""
    return of_views(bev, [(camera_features(seed), pose) for pose, seed in cameras], mode)


def of_views(bev: np.ndarray, given: list, mode: str = 'projected'):
    """Returns PyTorch's fusion of a map with features, each with a pose."""
    views = [
        (
            torch.from_numpy(features),
            make_camera(K, extrinsics_from_pose(pose).tolist(), features.shape[:1:-1], D),
        )
        for features, pose in given
    ]
    grid = grid_from_labels(TensorLabels(y_axis=Y_AXIS, x_axis=X_AXIS), (8, 10))
    stage = FusionRunner(lively_fusion(128, 64, mode), torch.device('cpu'))
    return stage(torch.from_numpy(bev), grid, views).numpy()


class Rig:
    """fusion_node with publishers of a LiDAR and of cameras; stamps are in ms."""

    def __init__(self, graph: RosGraph, *names: str, **parameters) -> None:
        poses = {'front': AHEAD, 'left': LEFT}
        fusion = lively_fusion(128, 64, parameters.get('fusion__mode', 'projected'))
        given = {'fusion__checkpoint': save_fusion(fusion, graph.folder / 'fusion.pt')}
        given |= {f'extrinsics__{name}': poses[name] for name in names} | parameters
        self.graph = graph
        self.process = graph.start(
            'fusion_node', cameras=f'[{", ".join(names)}]', sync__timeout_ms=300.0, **given
        )
        self._messages = graph.collect(Float32MultiArray, 'fused_features')
        self._maps = graph.publisher(Float32MultiArray, 'bev_features')
        self._cameras = {
            name: graph.publisher(Float32MultiArray, f'{name}/camera_features') for name in names
        }

    def send_features(self, name: str, ms: int, seed: int = 1) -> None:
        self.send(name, camera_message(ms, seed))

    def send(self, name: str, message) -> None:
        self._cameras[name].publish(message)
        self.graph.spin_for(0.2)

    def fuse(self, ms: int, seed: int = 0) -> np.ndarray:
        """Sends a map and waits for the fused one."""
        self._maps.publish(map_message(ms, seed))
        return self.result(ms)

    def result(self, ms: int) -> np.ndarray:
        def found():
            return [
                decoded.array
                for decoded in map(decode_tensor, self._messages)
                if decoded.labels == TensorLabels(stamp_of(ms), 'lidar', Y_AXIS, X_AXIS)
            ]

        self.graph.spin_until(found)
        return found()[-1]

    def log(self) -> str:
        return self.process.log.read_text()

    def unplug(self, name: str) -> None:
        self.graph.node.destroy_publisher(self._cameras.pop(name))

    def end(self) -> str:
        """Ends the node, which must exit with 0, and returns its log."""
        assert self.process.stop() == 0
        assert 'Traceback' not in self.log()
        return self.log()


def close(array: np.ndarray, target: np.ndarray) -> bool:
    return bool(np.abs(array - target).max() < 1e-4)


@pytest.mark.parametrize('mode', ['projected', 'global'])
def test_one_camera_gives_what_pytorch_gives(graph: RosGraph, mode: str):
    rig = Rig(graph, 'front', fusion__mode=mode)
    rig.send_features('front', 1020)
    fused = rig.fuse(1000)
    target = expected(map_of(), [(AHEAD, 1)], mode)
    assert np.abs(target - map_of()).max() > 0.01
    assert close(fused, target)
    log = rig.end()
    assert 'camera front: received 1, used 1, dropped 0; missing in 0 frames' in log
    assert 'received 1, published 1, dropped 0;' in log


def test_without_weights_a_camera_changes_nothing_and_that_is_logged(graph: RosGraph):
    rig = Rig(graph, 'front', fusion__checkpoint='""')
    rig.send_features('front', 1000)
    assert (rig.fuse(1000) == map_of()).all()
    log = rig.end()
    assert 'fusion.checkpoint is empty: UNTRAINED, so cameras add nothing to BEV features' in log
    assert 'camera front: received 1, used 1' in log


def test_float16_of_either_is_read(graph: RosGraph):
    graph.start(
        'fusion_node',
        cameras='[front]',
        extrinsics__front=AHEAD,
        sync__timeout_ms=1000.0,
        fusion__checkpoint=save_fusion(lively_fusion(128, 64), graph.folder / 'fusion.pt'),
    )
    fused = graph.collect(Float32MultiArray, 'fused_features')
    for topic, array, labels in (
        ('front/camera_features', camera_features(1), camera_labels(CAMERA, (1, 0), 'cam')),
        ('bev_features', map_of(), TensorLabels((1, 0), 'lidar', Y_AXIS, X_AXIS)),
    ):
        publisher = graph.node.create_publisher(UInt8MultiArray, topic, 10)
        graph.spin_until(lambda publisher=publisher: publisher.get_subscription_count() > 0)
        graph.spin_for(1.0)
        publisher.publish(encode_tensor(array, labels, 'float16'))
    graph.spin_until(lambda: fused)
    target = expected(map_of(), [(AHEAD, 1)])
    assert np.abs(decode_tensor(fused[0]).array - target).max() < 1e-2
    assert np.abs(decode_tensor(fused[0]).array - map_of()).max() > 0.1


def test_two_cameras_of_which_one_is_unplugged_and_comes_back(graph: RosGraph):
    rig = Rig(graph, 'front', 'left')
    for seed, ms in enumerate((1000, 1100), 1):
        rig.send_features('front', ms - 10, seed)
        rig.send_features('left', ms + 10, seed + 10)
        target = expected(map_of(seed), [(AHEAD, seed), (LEFT, seed + 10)])
        assert close(rig.fuse(ms, seed), target)
    rig.unplug('left')
    for ms in (1200, 1300):
        rig.send_features('front', ms, 3)
        assert close(rig.fuse(ms), expected(map_of(), [(AHEAD, 3)]))
    rig.unplug('front')
    assert close(rig.fuse(1400), map_of())

    diagnostics = graph.collect(DiagnosticArray, '/diagnostics')
    graph.spin_until(lambda: diagnostics)
    pairs = {pair.key: pair.value for pair in diagnostics[-1].status[0].values}
    assert pairs['camera_left'] == 'received 2, used 2, dropped 0; missing in 3 frames'

    rig._cameras['left'] = graph.publisher(Float32MultiArray, 'left/camera_features')
    rig.send_features('left', 1500, 4)
    assert close(rig.fuse(1500), expected(map_of(), [(LEFT, 4)]))
    log = rig.end()
    assert 'camera front: received 4, used 4, dropped 0; missing in 2 frames' in log
    assert 'camera left: received 3, used 3, dropped 0; missing in 3 frames' in log
    assert 'left missing (1 so far): nearest stamp is -90.0 ms from that of the frame' in log


def test_a_map_waits_for_a_camera_that_is_behind_but_not_for_ever(graph: RosGraph):
    rig = Rig(graph, 'front', sync__slop_ms=20.0)
    rig.send_features('front', 900)
    rig._maps.publish(map_message(1000))
    graph.spin_for(0.1)
    rig.send_features('front', 1000)
    assert close(rig.result(1000), expected(map_of(), [(AHEAD, 1)]))
    # Later than sync.timeout_ms.
    assert close(rig.fuse(1100), map_of())
    rig.send_features('front', 1100)
    # Further than sync.slop_ms, and newer: nothing to wait for.
    rig.send_features('front', 1230)
    assert close(rig.fuse(1200), map_of())
    log = rig.end()
    assert re.search(r'camera front: received 4, used 1, dropped 3 \(.*1 late', log), log
    assert 'missing in 2 frames' in log
    assert 'nearest stamp is +30.0 ms from that of the frame; expected at most 20 ms' in log


def test_wrong_messages_are_logged_and_stop_nothing(graph: RosGraph):
    rig = Rig(graph, 'front', 'left')
    no_camera = encode_tensor(camera_features(1), TensorLabels(stamp_of(1000), 'cam'))
    narrow = encode_tensor(
        camera_features(1)[:, :32], camera_labels(CAMERA, stamp_of(1000), 'cam')
    )
    for message, reason in (
        (no_camera, 'left/camera_features rejected (1 so far): label of batch has no k'),
        (narrow, 'left/camera_features rejected (2 so far): layout.dim[1].size is 32 channels'),
    ):
        rig.send('left', message)
        graph.spin_until(lambda reason=reason: reason in rig.log())
    rig.send_features('front', 1000)
    assert close(rig.fuse(1000), expected(map_of(), [(AHEAD, 1)]))

    rig.send_features('front', 1100)
    rig.send_features('left', 1100, 2)
    assert close(rig.fuse(1100), expected(map_of(), [(AHEAD, 1), (LEFT, 2)]))
    log = rig.end()
    assert 'received 2, published 2, dropped 0;' in log
    assert re.search(r'camera left: received 3, used 1, dropped 2 \(2 rejected\)', log), log


def test_a_camera_of_another_size_is_used_as_well(graph: RosGraph):
    rig = Rig(graph, 'front', 'left')
    rig.send_features('front', 1000)
    # These features are twice as high: those of the other camera, with more below.
    high = np.concatenate([camera_features(2), camera_features(3)], axis=2)
    rig.send('left', encode_tensor(high, camera_labels(CAMERA, stamp_of(1000), 'cam')))
    views = [(camera_features(1), AHEAD), (high, LEFT)]
    fused = rig.fuse(1000)
    assert close(fused, of_views(map_of(), views))
    assert not close(fused, expected(map_of(), [(AHEAD, 1)]))
    assert 'camera left: received 1, used 1' in rig.end()


def test_wrong_maps_are_refused(graph: RosGraph):
    rig = Rig(graph, 'front')
    for array, labels, reason in (
        (map_of()[:, :64], TensorLabels((1, 0), 'lidar', Y_AXIS, X_AXIS), 'is 64 channels'),
        (map_of(), TensorLabels((1, 0), 'lidar'), 'axes are None and None'),
        (map_of().repeat(2, 0), TensorLabels((1, 0), 'f', Y_AXIS, X_AXIS), 'batch size is 2'),
    ):
        rig._maps.publish(encode_tensor(array, labels))
        graph.spin_until(lambda reason=reason: reason in rig.log())
    rig.send_features('front', 2000)
    assert close(rig.fuse(2000), expected(map_of(), [(AHEAD, 1)]))


def test_without_extrinsics_a_camera_is_left_out_and_logged(graph: RosGraph):
    rig = Rig(graph, 'front', 'left', extrinsics__left='[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]')
    rig.send_features('front', 1000)
    rig.send_features('left', 1000)
    assert close(rig.fuse(1000), expected(map_of(), [(AHEAD, 1)]))
    log = rig.end()
    assert re.search(r'left missing \(1 so far\): .*or the parameter extrinsics\.left', log), log


def test_a_pose_of_no_camera_is_logged_where_cameras_are_known(graph: RosGraph):
    """Other nodes read the same file."""
    fusion = graph.start('fusion_node', cameras='[front]', extrinsics__frnt=AHEAD)
    camera = graph.start('camera_node', extrinsics__frnt=AHEAD)
    graph.spin_until(lambda: graph.node.count_publishers('fused_features') == 1)
    graph.spin_until(lambda: graph.node.count_publishers('camera_features') == 1)
    assert 'extrinsics.frnt is not known and has no effect; did you mean extrinsics.front?' in (
        fusion.log.read_text()
    )
    assert 'extrinsics' not in camera.log.read_text()


def test_a_camera_without_a_view_of_the_map_changes_nothing(graph: RosGraph):
    behind = [0.0, 0.0, 0.0, -0.5, -0.5, 0.5, 0.5]
    rig = Rig(graph, 'front', extrinsics__front=behind)
    rig.send_features('front', 1000)
    assert close(rig.fuse(1000), map_of())
    assert 'camera front: received 1, used 0, dropped 1 (1 not_visible)' in rig.end()


def test_stamps_that_begin_again_are_paired_as_before(graph: RosGraph):
    rig = Rig(graph, 'front')
    for ms in (5000, 5100, 1000, 1100):
        rig.send_features('front', ms)
        assert close(rig.fuse(ms), expected(map_of(), [(AHEAD, 1)]))
    assert 'camera front: received 4, used 4, dropped 0; missing in 0' in rig.end()


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({}, "parameter cameras is ['']; expected at least one name"),
        ({'cameras': ['a', 'a']}, "parameter cameras is ['a', 'a']; expected names such as"),
        ({'cameras': ['a b']}, "parameter cameras is ['a b']; expected names such as"),
        ({'cameras': ['a', '']}, "parameter cameras is ['a', '']; expected names such as"),
        (
            {'cameras': ['a'], 'extrinsics.a': [0.0, 0.0, 1.0]},
            'parameter extrinsics.a: pose is [0.0, 0.0, 1.0]; expected 7 finite numbers',
        ),
        (
            {'cameras': ['a'], 'extrinsics.a': [0, 0, 1, 0, 0, 0, 1]},
            'extrinsics.a is [0, 0, 1, 0, 0, 0, 1] (INTEGER_ARRAY); expected DOUBLE_ARRAY',
        ),
        ({'cameras': ['a'], 'fusion.num_heads': 5}, 'parameter fusion.num_heads: channels is 128'),
        ({'cameras': ['a'], 'fusion.mode': 'both'}, 'expected one of projected, global'),
    ],
)
def test_a_wrong_parameter_is_one_clear_error(changes: dict, reason: str):
    context = rclpy.Context()
    context.init()
    overrides = [RosParameter(name, value=value) for name, value in changes.items()]
    node = FusionNode(context=context, parameter_overrides=overrides)
    assert not node.start()
    assert reason in node.fault
    node.destroy_node()
    context.try_shutdown()


def test_a_camera_may_be_added_while_the_node_is_unconfigured():
    context = rclpy.Context()
    context.init()
    overrides = [
        RosParameter('cameras', value=['a']),
        RosParameter('extrinsics.a', value=AHEAD),
        RosParameter('extrinsics.b', value=LEFT),
    ]
    node = FusionNode(context=context, parameter_overrides=overrides)
    assert node.start()
    assert node.values['extrinsics.a'] == AHEAD
    node.trigger_deactivate()
    node.trigger_cleanup()
    (result,) = node.set_parameters([RosParameter('cameras', value=['a', 'b'])])
    assert result.successful
    assert node.start()
    assert node.values['extrinsics.b'] == LEFT
    assert set(node.cameras) == {'a', 'b'}
    node.destroy_node()
    context.try_shutdown()
