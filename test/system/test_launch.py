# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""The launch files, under the real launch."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Not plain 'launch': the folder of that name beside the package passes for one.
pytest.importorskip('launch.actions')
pytest.importorskip('launch_ros.actions')

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription, LaunchService
from launch.actions import RegisterEventHandler, SetLaunchConfiguration
from launch.event_handlers import OnProcessStart
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from ros_graph import RosGraph
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Float32MultiArray

from tiny_bev_ros.messages.image import encode_image
from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.messages.tensor import TensorLabels, decode_tensor, encode_tensor
from tiny_bev_ros.resources import config_file, rviz_file

try:
    get_package_prefix('tiny_bev_ros')
except PackageNotFoundError:
    pytest.skip('tiny_bev_ros is not built or sourced', allow_module_level=True)

from tiny_bev_ros import launch_utils

LAUNCH_FILES = {
    name: str(Path(__file__).parents[2] / 'launch' / f'{name}.launch.py')
    for name in ('backbone', 'fusion', 'pipeline')
}
COMMON = [
    'params_file',
    'namespace',
    'device',
    'use_sim_time',
    'autostart',
    'respawn',
    'log_level',
    'rviz',
    'rviz_frame',
]
BAG = ['bag', 'rate', 'loop']
# Longest time in which a process ends, in seconds.
_END_S = 60
ARGUMENTS = {
    'backbone': [
        'input_format',
        'input_topic',
        'output_topic',
        'checkpoint',
        'weights',
        *COMMON,
        *BAG,
    ],
    'fusion': [
        'composed',
        'cameras',
        'input_topic',
        'image_topic',
        'info_topic',
        'output_topic',
        'pfn_checkpoint',
        'backbone_checkpoint',
        'camera_checkpoint',
        'fusion_checkpoint',
        'heads_checkpoint',
        'weights',
        'grid',
        *COMMON,
        *BAG,
    ],
    'pipeline': [
        'composed',
        'input_topic',
        'output_topic',
        'pfn_checkpoint',
        'backbone_checkpoint',
        'heads_checkpoint',
        'weights',
        'grid',
        *COMMON,
        *BAG,
    ],
}


def load(name: str) -> LaunchDescription:
    return get_launch_description_from_python_launch_file(LAUNCH_FILES[name])


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, list[str]]]:
    """Runs a launch file with `true` before each of its commands.

    Returns a function of launch file and arguments to the command lines, by executable.
    """
    monkeypatch.setattr(launch_utils, '_NODES_START_S', 0.1)

    def run(name: str, **arguments: str) -> dict[str, list[str]]:
        lines: dict[str, list[str]] = {}

        def on_start(event: Any, context: LaunchContext) -> None:
            _, *line = event.cmd
            lines[Path(line[0]).name] = line

        service = LaunchService(noninteractive=True)
        entities = [
            SetLaunchConfiguration('launch-prefix', 'true'),
            *(SetLaunchConfiguration(*argument) for argument in arguments.items()),
            RegisterEventHandler(OnProcessStart(on_start=on_start)),
            *load(name).entities,
        ]
        service.include_launch_description(LaunchDescription(entities))
        assert service.run() == 0
        return lines

    return run


def values_of(line: list[str], option: str) -> list[str]:
    return [line[i + 1] for i, word in enumerate(line) if word == option]


def overrides(line: list[str]) -> dict[str, Any]:
    """The parameters that the launch file itself sets, which come last."""
    text = Path(values_of(line, '--params-file')[-1]).read_text()
    # launch_ros tags a list as a tuple of Python, which rcl does not mind.
    (content,) = yaml.load(text, Loader=yaml.FullLoader).values()
    return content['ros__parameters']


@pytest.mark.parametrize('name', LAUNCH_FILES)
def test_each_argument_is_described(name: str):
    arguments = load(name).get_launch_arguments()
    assert [argument.name for argument in arguments] == ARGUMENTS[name]
    for argument in arguments:
        assert argument.description != 'no description given'
        assert argument.default_value is not None


def test_defaults_leave_everything_to_the_yaml_file(started):
    (line,) = started('backbone').values()
    assert values_of(line, '--params-file') == [config_file()]
    assert values_of(line, '--log-level') == ['info']
    assert values_of(line, '-r') == [
        '__node:=backbone_node',
        '__ns:=/',
        'bev_features:=bev_features',
    ]


def test_backbone_arguments_reach_the_node(started, tmp_path: Path):
    params_file = tmp_path / 'mine.yaml'
    params_file.touch()
    (line,) = started(
        'backbone',
        params_file=str(params_file),
        namespace='car',
        input_format='pillars',
        input_topic='/images',
        output_topic='map',
        device='cuda:1',
        checkpoint='/weights.pt',
        use_sim_time='true',
        log_level='warn',
    ).values()
    assert values_of(line, '--log-level') == ['warn']
    assert values_of(line, '-r') == [
        '__node:=backbone_node',
        '__ns:=/car',
        'pseudo_image:=/images',
        'pillars:=/images',
        'bev_features:=map',
    ]
    assert values_of(line, '--params-file')[0] == str(params_file)
    assert overrides(line) == {
        'device': 'cuda:1',
        'input_format': 'pillars',
        'backbone.checkpoint': '/weights.pt',
        'use_sim_time': True,
    }


PIPELINE = {
    'input_topic': '/lidar/points',
    'output_topic': 'map',
    'pfn_checkpoint': '/pfn.pt',
    'backbone_checkpoint': '/backbone.pt',
    'device': 'cpu',
    'use_sim_time': 'false',
    'grid': 'surround',
}


def test_pipeline_in_one_process(started):
    lines = started('pipeline', **PIPELINE)
    assert list(lines) == ['pipeline_node']
    line = lines['pipeline_node']
    assert values_of(line, '-r')[2:] == ['points:=/lidar/points', 'bev_features:=map']
    assert overrides(line) == {
        'device': 'cpu',
        'pfn.checkpoint': '/pfn.pt',
        'backbone.checkpoint': '/backbone.pt',
        'use_sim_time': False,
    }


def test_pipeline_in_three_processes(started):
    lines = started('pipeline', composed='false', **PIPELINE)
    assert sorted(lines) == ['backbone_node', 'heads_node', 'pfn_node']
    pfn, backbone = lines['pfn_node'], lines['backbone_node']
    assert values_of(lines['heads_node'], '-r')[2:] == ['bev_features:=map']
    assert values_of(pfn, '-r')[2:] == ['points:=/lidar/points']
    assert values_of(backbone, '-r')[2:] == ['bev_features:=map']
    # Each node gets all of them, and so takes shipped weights or not as the others do.
    common = {
        'pfn.checkpoint': '/pfn.pt',
        'backbone.checkpoint': '/backbone.pt',
        'device': 'cpu',
        'use_sim_time': False,
    }
    assert overrides(lines['heads_node']) == overrides(pfn) == common
    assert overrides(backbone) == {'input_format': 'pillars', **common}


FUSION = {
    **{name: value for name, value in PIPELINE.items() if name != 'grid'},
    'cameras': 'front, left',
    'image_topic': 'image_raw',
    'camera_checkpoint': '/camera.pt',
    'fusion_checkpoint': '/fusion.pt',
    'namespace': 'car',
}
COMMON_OF_FUSION = {
    'pfn.checkpoint': '/pfn.pt',
    'backbone.checkpoint': '/backbone.pt',
    'camera.checkpoint': '/camera.pt',
    'fusion.checkpoint': '/fusion.pt',
    'device': 'cpu',
    'use_sim_time': False,
}


def test_fusion_in_one_process(started):
    lines = started('fusion', **FUSION)
    assert list(lines) == ['pipeline_node']
    line = lines['pipeline_node']
    assert values_of(line, '-r') == [
        '__node:=pipeline_node',
        '__ns:=/car',
        'points:=/lidar/points',
        'fused_features:=map',
        'front/image:=front/image_raw',
        'left/image:=left/image_raw',
        'front/camera_info:=front/camera_info',
        'left/camera_info:=left/camera_info',
    ]
    assert overrides(line) == {'cameras': ('front', 'left'), **COMMON_OF_FUSION}


def test_fusion_in_several_processes(started):
    lines = started('fusion', composed='false', **FUSION)
    assert sorted(lines) == [
        'backbone_node', 'camera_node', 'fusion_node', 'heads_node', 'pfn_node'
    ]  # fmt: skip
    camera, fusion = lines['camera_node'], lines['fusion_node']
    # Two of them start, in any order.
    assert values_of(camera, '-r')[1] in ('__ns:=/car/front', '__ns:=/car/left')
    assert values_of(camera, '-r')[2:] == ['image:=image_raw', 'camera_info:=camera_info']
    assert overrides(camera) == COMMON_OF_FUSION
    assert values_of(fusion, '-r')[1:] == ['__ns:=/car', 'fused_features:=map']
    assert overrides(fusion) == {'cameras': ('front', 'left'), **COMMON_OF_FUSION}
    assert values_of(lines['backbone_node'], '-r')[2:] == []
    assert values_of(lines['heads_node'], '-r')[2:] == ['bev_features:=map']


@pytest.mark.parametrize('name', LAUNCH_FILES)
def test_shipped_weights_are_left_to_the_nodes_unless_they_are_named(started, name: str):
    """The nodes apply their own rule: test_shipped_weights_parameter.py."""
    for line in started(name).values():
        assert 'weights' not in str(line[1:])
    for line in started(name, weights='none').values():
        assert overrides(line)['weights'] == 'none'


@pytest.mark.parametrize('word', ['False', 'FALSE', 'no', 'off', '0'])
def test_truth_values_are_written_in_many_ways(started, word: str):
    lines = started('pipeline', composed=word, use_sim_time=word, autostart=word, respawn=word)
    assert sorted(lines) == ['backbone_node', 'heads_node', 'pfn_node']
    found = overrides(lines['pfn_node'])
    assert (found['use_sim_time'], found['autostart']) == (False, False)


def test_one_camera_may_have_an_absolute_topic(started):
    topics = {'image_topic': '/eye/image', 'info_topic': '/eye/camera_info', 'cameras': 'front'}
    lines = started('fusion', **topics)
    assert values_of(lines['pipeline_node'], '-r')[4:] == [
        'front/image:=/eye/image',
        'front/camera_info:=/eye/camera_info',
    ]
    lines = started('fusion', composed='false', **topics)
    assert values_of(lines['camera_node'], '-r')[2:] == [
        'image:=/eye/image',
        'camera_info:=/eye/camera_info',
    ]


def test_no_cameras(started):
    (line,) = started('fusion', cameras='').values()
    assert overrides(line) == {'cameras': ('',)}
    assert 'camera_node' not in started('fusion', composed='false', cameras='')


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        ({'composed': 'maybe'}, "composed is 'maybe'; expected true or false"),
        ({'input_topic': 'a//b'}, "input_topic is 'a//b'; expected a name of ROS: "),
        ({'image_topic': '/x'}, "image_topic is '/x'; expected a name relative to each of the 2"),
    ],
)
def test_a_wrong_argument_starts_nothing(caplog, arguments: dict[str, str], reason: str):
    service = LaunchService(noninteractive=True)
    given = {'cameras': 'a,b', **arguments}
    entities = [
        *(SetLaunchConfiguration(*argument) for argument in given.items()),
        *load('fusion').entities,
    ]
    service.include_launch_description(LaunchDescription(entities))
    assert service.run() == 1
    assert reason in caplog.text
    assert 'process started' not in caplog.text


def test_grid_preset_comes_after_the_params_file(started):
    (line,) = started('pipeline', grid='surround').values()
    assert values_of(line, '--params-file') == [config_file(), config_file('grids/surround.yaml')]


def test_home_is_expanded(started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'mine.yaml').touch()
    lines = started('backbone', params_file='~/mine.yaml', checkpoint='~/x.pt', bag='~/bag')
    line = lines['backbone_node']
    assert values_of(line, '--params-file')[0] == str(tmp_path / 'mine.yaml')
    assert overrides(line) == {'backbone.checkpoint': str(tmp_path / 'x.pt')}
    assert lines['ros2'][3] == str(tmp_path / 'bag')


@pytest.mark.parametrize('name', LAUNCH_FILES)
def test_a_bag_is_played(started, name: str):
    careful = '--delay 1 --wait-for-all-acked 5000'
    assert ' '.join(started(name, bag='/a/bag')['ros2']) == (
        f'ros2 bag play /a/bag --rate 1.0 {careful}'
    )
    lines = started(name, bag='/a/bag', rate='0.5', loop='true', use_sim_time='true')
    assert ' '.join(lines['ros2']) == f'ros2 bag play /a/bag --rate 0.5 {careful} --loop --clock'


@pytest.fixture
def _rviz2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts an rviz2 in place of the real one, which machines without a screen lack."""
    prefix = tmp_path / 'rviz2'
    executable = prefix / 'lib/rviz2/rviz2'
    marker = prefix / 'share/ament_index/resource_index/packages/rviz2'
    for path in (executable, marker):
        path.parent.mkdir(parents=True)
        path.touch()
    executable.chmod(0o755)
    prefixes = f'{prefix}{os.pathsep}{os.environ["AMENT_PREFIX_PATH"]}'
    monkeypatch.setenv('AMENT_PREFIX_PATH', prefixes)


@pytest.mark.usefixtures('_rviz2')
@pytest.mark.parametrize('name', LAUNCH_FILES)
def test_rviz_shows_the_topics_of_the_nodes(started, name: str):
    assert 'rviz2' not in started(name)
    own = {} if name == 'backbone' else {'input_topic': '/lidar/points'}
    line = started(
        name, rviz='true', rviz_frame='base', namespace='car', use_sim_time='true', **own
    )['rviz2']
    assert values_of(line, '-d') == [rviz_file()]
    assert values_of(line, '-f') == ['base']
    assert values_of(line, '-r') == [
        '__node:=rviz2',
        '__ns:=/car',
        *(f'points:={topic}' for topic in own.values()),
    ]
    assert overrides(line) == {'use_sim_time': True}


LAUNCHER = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

arguments = [word.split(':=') for word in sys.argv[2:]]
include = IncludeLaunchDescription(
    PythonLaunchDescriptionSource(sys.argv[1]), launch_arguments=arguments
)
service = LaunchService(noninteractive=True)
service.include_launch_description(LaunchDescription([include]))
sys.exit(service.run())
"""


class Launch:
    """A launch file in a process of its own, as `ros2 launch` runs it."""

    def __init__(self, graph: RosGraph, name: str, **arguments: str) -> None:
        self.log = graph.folder / f'{name}.log'
        # launch waits 5 s for the end of a process, which a busy machine exceeds.
        arguments['sigterm_timeout'] = str(_END_S)
        words = [f'{key}:={value}' for key, value in arguments.items()]
        with self.log.open('wb') as output:
            self._process = subprocess.Popen(
                [sys.executable, '-c', LAUNCHER, LAUNCH_FILES[name], *words],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        graph.processes[name] = self

    def check(self) -> None:
        assert self._process.poll() is None, self.log.read_text()

    def stop(self) -> int:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        # Longer than launch itself waits before it kills a node.
        return self._process.wait(2 * _END_S)


def small_params(folder: Path) -> str:
    grid = {
        'x_range': [0.0, 16.0],
        'y_range': [-8.0, 8.0],
        'z_range': [-3.0, 1.0],
        'resolution': 0.5,
    }
    path = folder / 'small.yaml'
    path.write_text(yaml.safe_dump({'/**': {'ros__parameters': {'grid': grid, 'seed': 3}}}))
    return str(path)


@pytest.mark.dds
@pytest.mark.parametrize(
    ('name', 'composition'),
    [('backbone', {}), ('pipeline', {'composed': 'true'}), ('pipeline', {'composed': 'false'})],
)
def test_launched_nodes_give_features_and_end_cleanly(
    graph: RosGraph, tmp_path: Path, name: str, composition: dict[str, str]
):
    launch = Launch(
        graph,
        name,
        namespace=graph.namespace,
        params_file=small_params(tmp_path),
        device='cpu',
        input_topic='lidar/input',
        output_topic='map',
        **composition,
    )
    features = graph.collect(Float32MultiArray, 'map')
    if name == 'backbone':
        publisher = graph.publisher(Float32MultiArray, 'lidar/input')
        pseudo_image = np.ones((1, 64, 32, 32), np.float32)
        message = encode_tensor(pseudo_image, TensorLabels((5, 6), 'lidar'))
    else:
        publisher = graph.publisher(PointCloud2, 'lidar/input')
        message = encode_cloud(np.ones((100, 4), np.float32), (5, 6), 'lidar')
    graph.spin_until(lambda: graph.node.count_publishers('map') == 1)
    graph.spin_until(
        lambda: (
            composition.get('composed') != 'false' or graph.node.count_subscribers('pillars') == 1
        )
    )
    graph.spin_for(0.5)
    publisher.publish(message)
    graph.spin_until(lambda: features)
    tensor = decode_tensor(features[0])
    assert tensor.array.shape == (1, 128, 16, 16)
    assert (tensor.labels.stamp, tensor.labels.frame_id) == ((5, 6), 'lidar')

    assert launch.stop() == 0
    log = launch.log.read_text()
    count = 3 if composition.get('composed') == 'false' else 1
    assert len(re.findall('process has finished cleanly', log)) == count, log
    assert 'seed 3' in log
    assert 'Traceback' not in log


@pytest.mark.dds
@pytest.mark.parametrize('composed', ['true', 'false'])
def test_launched_nodes_fuse(graph: RosGraph, tmp_path: Path, composed: str):
    pose = '{front: [0.3, 0.0, -0.1, -0.5, 0.5, -0.5, 0.5]}'
    params = Path(small_params(tmp_path))
    params.write_text(f'{params.read_text()}    extrinsics: {pose}\n')
    launch = Launch(
        graph,
        'fusion',
        namespace=graph.namespace,
        params_file=str(params),
        device='cpu',
        cameras='front',
        image_topic='picture',
        composed=composed,
    )
    fused = graph.collect(Float32MultiArray, 'fused_features')
    clouds = graph.publisher(PointCloud2, 'points')
    infos = graph.publisher(CameraInfo, 'front/camera_info')
    images = graph.publisher(Image, 'front/picture')
    graph.spin_until(lambda: graph.node.count_publishers('fused_features') == 1)
    graph.spin_for(2.0)
    k = [70.0, 0.0, 60.5, 0.0, 71.0, 17.25, 0.0, 0.0, 1.0]
    infos.publish(CameraInfo(width=120, height=40, k=k))
    graph.spin_for(0.5)
    images.publish(encode_image(np.zeros((40, 120, 3), np.uint8), (5, 6), 'cam'))
    graph.spin_for(0.5)
    clouds.publish(encode_cloud(np.ones((100, 4), np.float32), (5, 6), 'lidar'))
    graph.spin_until(lambda: fused)
    assert decode_tensor(fused[0]).array.shape == (1, 128, 16, 16)
    assert launch.stop() == 0
    log = launch.log.read_text()
    assert 'camera front: received 1, used 1, dropped 0; missing in 0 frames' in log
    count = 1 if composed == 'true' else 5
    assert len(re.findall('process has finished cleanly', log)) == count, log
    assert 'Traceback' not in log


@pytest.mark.dds
def test_a_node_with_a_wrong_parameter_says_so_and_stays_unconfigured(graph: RosGraph):
    launch = Launch(graph, 'backbone', namespace=graph.namespace, checkpoint='/nowhere/x.pt')
    wanted = r'\[ERROR\].*not inactive: .*checkpoint is /nowhere/x\.pt'
    graph.spin_until(lambda: re.search(wanted, launch.log.read_text()))
    assert graph.node.count_publishers('bev_features') == 0
    assert launch.stop() == 0
    assert 'Traceback' not in launch.log.read_text()


@pytest.mark.dds
def test_a_node_that_is_killed_is_started_again(graph: RosGraph):
    launch = Launch(graph, 'pipeline', namespace=graph.namespace, respawn='true', device='cpu')
    graph.spin_until(lambda: graph.node.count_publishers('bev_features') == 1)
    (pid,) = re.findall(r'process started with pid \[(\d+)\]', launch.log.read_text())
    os.kill(int(pid), signal.SIGKILL)
    graph.spin_until(lambda: launch.log.read_text().count('process started with pid') == 2)
    up = 'computing on cpu'
    graph.spin_until(lambda: launch.log.read_text().count(up) == 2)
    assert launch.stop() == 0


@pytest.mark.dds
def test_without_autostart_a_node_waits(graph: RosGraph):
    launch = Launch(graph, 'pipeline', namespace=graph.namespace, autostart='false')
    name = ('pipeline_node', graph.namespace)
    graph.spin_until(lambda: name in graph.node.get_node_names_and_namespaces())
    graph.spin_for(1.0)
    assert graph.node.count_publishers('bev_features') == 0
    assert launch.stop() == 0


@pytest.mark.dds
def test_a_params_file_that_is_absent_is_refused_in_one_line(graph: RosGraph):
    launch = Launch(graph, 'backbone', params_file='/nowhere/mine.yaml')
    assert launch.wait() == 1
    log = launch.log.read_text()
    assert 'params_file is /nowhere/mine.yaml; expected an existing file' in log
    assert 'Traceback' not in log
    assert 'process started' not in log
