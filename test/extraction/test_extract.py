# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""The program extract: results of the node, bags that fail, manifests, kills, messages."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('pyarrow', 'rosbags', 'rclpy')

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from node_bench import process
from rclpy.serialization import deserialize_message, serialize_message
from recording_node import RecordingNode
from safetensors.numpy import load_file
from sensor_msgs.msg import PointCloud2

from tiny_bev_ros.bag.reader import CLOUD_TYPE, Bag, BagMessage, write_bag
from tiny_bev_ros.bag.storage_files import METADATA, zstd
from tiny_bev_ros.messages.occupancy_values import occupancy_values
from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.models.heads.detection import CLASSES
from tiny_bev_ros.sim import LIDARS, Mounting, ego_pose, scan, street, street_plan

# Parameters of the robot: a low sensor, so that clouds are levelled.
VALUES = {
    'weights': 'street',
    'device': 'cpu',
    'num_threads': 1,
    'grid.x_range': [-12.8, 25.6],
    'grid.y_range': [-12.8, 12.8],
    'cloud.self_box': [-1.0, 1.0, -0.5, 0.5, -0.6, 0.2],
}
START_NS = 1_700_000_000 * 10**9
CLOUDS, BROKEN, OTHER_SENSOR = 6, 3, 5


def messages() -> Iterator[BagMessage]:
    """Yields clouds of a drive; one has no x, and the last is of another sensor."""
    plan = street_plan(1)
    for index in range(CLOUDS):
        seconds = 3.0 + 0.2 * index
        points = scan(street(1), LIDARS['vlp16'], ego_pose(plan, seconds), 1, Mounting(0.6)).points
        time_ns = START_NS + index * 200_000_000
        frame_id = 'lidar' if index < OTHER_SENSOR else 'roof'
        cloud = encode_cloud(points, divmod(time_ns, 10**9), frame_id)
        if index == BROKEN:
            cloud.fields[0].name = 'range'
        yield BagMessage('/points', time_ns + 5_000_000, bytes(serialize_message(cloud)))


@pytest.fixture(scope='module')
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with two equal bags, a truncated one, one without clouds, and a parameter file."""
    folder = tmp_path_factory.mktemp('drives')
    for name in ('first', 'second'):
        write_bag(folder / name, {'/points': CLOUD_TYPE}, list(messages()))
    (folder / 'cut.mcap').write_bytes((folder / 'first/first.mcap').read_bytes()[:100_000])
    compress(folder / 'second')
    write_bag(folder / 'none', {'/points': CLOUD_TYPE}, [])
    content = {'/**': {'ros__parameters': VALUES}}
    (folder / 'robot.yaml').write_text(yaml.safe_dump(content))
    return folder


def compress(bag: Path) -> None:
    """Compresses a bag as `ros2 bag record --compression-mode file` does."""
    (file,) = bag.glob('*.mcap')
    packed = file.with_name(f'{file.name}.zstd')
    with zstd.open(packed, 'wb') as stream:
        stream.write(file.read_bytes())
    file.unlink()
    metadata = yaml.safe_load((bag / METADATA).read_text())
    metadata['rosbag2_bagfile_information'] |= {
        'compression_mode': 'file',
        'compression_format': 'zstd',
        'relative_file_paths': [packed.name],
    }
    (bag / METADATA).write_text(yaml.safe_dump(metadata))


def command(drives: Path, output: Path, *options: str, bags: tuple[str, ...] = ('first',)) -> Any:
    paths = [str(drives / name) for name in bags]
    program = [sys.executable, '-m', 'tiny_bev_ros.extraction.extract', *paths]
    parameters = ['--params-file', str(drives / 'robot.yaml'), '--output', str(output)]
    return [*program, *parameters, *options]


def extract(drives: Path, output: Path, *options: str, **more: Any) -> Any:
    """Runs the program; no unpacked bag may be left in the temporary folder."""
    arguments = command(drives, output, *options, **more)
    with TemporaryDirectory() as folder:
        environment = {**os.environ, 'TMPDIR': folder}
        done = subprocess.run(
            arguments, capture_output=True, text=True, check=False, env=environment
        )
        assert not list(Path(folder).glob('bag_*'))
    return done


@pytest.fixture(scope='module')
def extracted(drives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of both bags by one worker."""
    output = tmp_path_factory.mktemp('extracted') / 'out'
    options = ('--what', 'detections,drivable,features', '--workers', '1')
    done = extract(drives, output, *options, bags=('first', 'second'))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[3].split() == ['skipped', 'clouds', '2']
    return output


def contents(output: Path) -> dict[str, bytes]:
    files = [path for path in output.rglob('*') if path.is_file()]
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in files
        if path.name not in ('manifest.json', 'failed.jsonl')
    }


def test_results_are_those_of_the_node(drives: Path, extracted: Path):
    threads = torch.get_num_threads()
    station = RecordingNode(drives / 'robot.yaml')
    try:
        with Bag(drives / 'first') as bag:
            for number, message in enumerate(bag.messages()):
                if number != BROKEN:
                    process(station.node, deserialize_message(message.data, PointCloud2))
        check_results(extracted, station)
    finally:
        station.close()
        torch.set_num_threads(threads)


def check_results(extracted: Path, station: RecordingNode) -> None:
    indices = [index for index in range(CLOUDS) if index != BROKEN]
    boxes = pq.read_table(extracted / 'detections/first').to_pylist()
    maps = pq.read_table(extracted / 'drivable/first').to_pylist()
    features = load_file(extracted / 'features/first/part-00000-000.safetensors')
    assert [row['frame'] for row in maps] == features['frame'].tolist() == indices
    total = 0
    for number, index in enumerate(indices):
        frame, rows = station.frames[number], [row for row in boxes if row['frame'] == index]
        found = frame.outputs.detections
        assert found is not None
        values = [
            [row[name] for name in ('x', 'y', 'z', 'length', 'width', 'height', 'yaw')]
            for row in rows
        ]
        assert np.reshape(values, (-1, 7)) == pytest.approx(found.boxes.numpy(), abs=1e-4)
        assert [row['score'] for row in rows] == pytest.approx(found.scores.tolist(), abs=1e-4)
        assert [row['class'] for row in rows] == [CLASSES[label] for label in found.labels]
        assert {row['stamp_ns'] for row in rows} <= {START_NS + index * 200_000_000}
        assert {row['time_ns'] - row['stamp_ns'] for row in rows} <= {5_000_000}
        total += len(rows)
        wanted = occupancy_values(frame.outputs['drivable'].numpy(), frame.known).view(np.uint8)
        packed, shape = maps[number]['map'], (maps[number]['rows'], maps[number]['cols'])
        assert pyarrow.decompress(packed, wanted.size, 'zstd', asbytes=True) == wanted.tobytes()
        assert shape == wanted.shape
        published = station.features[number].numpy().astype(np.float16)
        assert np.array_equal(features['features'][number], published[0])
    assert total > 3


def test_two_workers_give_the_same_bytes(drives: Path, extracted: Path, tmp_path: Path):
    options = ('--what', 'features,drivable,detections', '--workers', '2')
    done = extract(drives, tmp_path / 'out', *options, bags=('second', 'first'))
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / 'out') == contents(extracted)


def test_bags_that_fail_are_a_line_each(drives: Path, extracted: Path, tmp_path: Path):
    bags = ('cut.mcap', 'first', 'none', 'absent')
    done = extract(drives, tmp_path / 'out', '--workers', '1', bags=bags)
    assert done.returncode == 2
    assert 'Traceback' not in done.stderr
    lines = (tmp_path / 'out/failed.jsonl').read_text().splitlines()
    reasons = {json.loads(line)['unit']: json.loads(line)['reason'] for line in lines}
    assert set(reasons) == {'cut.mcap/survey', 'none/survey', 'absent/survey'}
    assert reasons['none/survey'].endswith('has 0 clouds; expected at least one')
    for unit in reasons:
        assert sum(line.startswith(f'{unit}:') for line in done.stderr.splitlines()) == 1
    same = 'detections/first/part-00000.parquet'
    assert contents(tmp_path / 'out')[same] == contents(extracted)[same]


def test_another_configuration_is_refused_and_more_bags_are_added(drives: Path, tmp_path: Path):
    output = tmp_path / 'out'
    assert extract(drives, output, '--every', '3').returncode == 0
    before = contents(output)
    done = extract(drives, output, '--every', '2')
    assert done.returncode == 1
    assert 'manifest.json: every is 3; expected 2: name another folder' in done.stderr
    assert contents(output) == before
    assert extract(drives, output, '--every', '3', bags=('second',)).returncode == 0
    assert contents(output).items() > before.items()
    assert extract(drives, output, '--every', '2', '--overwrite').returncode == 0
    marker = json.loads((output / 'runs/first/part-00000.json').read_text())
    # Clouds 0, 2 and 4: the broken one is not among them.
    assert (marker['frames'], marker['skipped']) == (3, [])


def test_a_killed_extraction_is_completed(drives: Path, extracted: Path, tmp_path: Path):
    options = ('--what', 'detections,drivable,features', '--workers', '1')
    bags = ('first', 'second')
    output = tmp_path / 'out'
    with subprocess.Popen(
        command(drives, output, *options, bags=bags), start_new_session=True
    ) as driver:
        marker = output / 'runs/first/part-00000.json'
        wait_until(lambda: marker.exists() or driver.poll() is not None)
        os.killpg(driver.pid, signal.SIGKILL)
    done = extract(drives, output, *options, bags=bags)
    assert done.returncode == 0, done.stderr
    assert contents(output) == contents(extracted)
    (output / 'drivable/first/part-00000.parquet').write_bytes(b'other')
    done = extract(drives, output, *options, '--verify', bags=bags)
    assert 'drivable/first/part-00000.parquet has 5 bytes' in done.stderr
    assert contents(output) == contents(extracted)


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it did not happen'
        time.sleep(0.05)


def test_messages_are_those_of_the_nodes(drives: Path, tmp_path: Path):
    done = extract(drives, tmp_path / 'out', '--format', 'mcap', '--what', 'detections,drivable')
    assert done.returncode == 0, done.stderr
    with Bag(tmp_path / 'out/messages/first/part-00000.mcap') as bag:
        assert {'/detection_boxes', '/detection_markers', '/drivable_area'} <= set(bag.topics)
        times = bag.times('/detection_boxes')
    wanted = [
        START_NS + index * 200_000_000 + 5_000_000 for index in range(CLOUDS) if index != BROKEN
    ]
    assert times.tolist() == wanted


@pytest.mark.parametrize(
    ('options', 'error'),
    [
        (('--what', 'boxes'), 'what is boxes; expected some of detections, drivable, features'),
        (('--region', '5', '1', '0', '1'), 'parameter output_roi.x_range'),
        (
            ('--region', '60', '70', '0', '1'),
            'parameter output_roi.x_range is [60, 70] m; expected an overlap with the grid',
        ),
        (('--weights', 'absent'), "weights is 'absent'; expected street"),
        (('--format', 'mcap', '--dtype', 'int8'), 'dtype is int8; expected float16'),
        (('--shard', '3/2'), '3/2; expected I/N'),
    ],
)
def test_wrong_arguments_are_one_line(drives: Path, tmp_path: Path, options: Any, error: str):
    done = extract(drives, tmp_path / 'out', *options)
    assert done.returncode in (1, 2)
    assert error in done.stderr.splitlines()[-1]
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'out').exists()
