# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Parameter files without ROS: the values and errors of a node that starts with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import rclpy
from absent_packages import RCLPY, run_without
from log_recorder import Recorder
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.nodes import shipped_weights
from tiny_bev_ros.nodes.parameter_files import read_parameters, refuse_foreign_files
from tiny_bev_ros.nodes.parameter_server import ParameterServer
from tiny_bev_ros.nodes.parameters import NODES
from tiny_bev_ros.nodes.rcl_yaml import ParameterSections, read_scalar
from tiny_bev_ros.resources import WEIGHTS, config_file


def section(node: str, *lines: str) -> str:
    body = ''.join(f'    {line}\n' for line in lines)
    return f'{node}:\n  ros__parameters:\n{body}'


# Sequences of files that rcl accepts, with values of `-p`.
TABLE: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    'nothing': ((), {}),
    'empty file': (('# nothing\n',), {}),
    'empty section': (('/**:\n  ros__parameters: {}\n',), {}),
    'all nodes': ((section('/**', 'device: cpu', 'num_threads: 2'),), {}),
    'by name': ((section('pipeline_node', 'num_threads: 2'),), {}),
    'by full name': ((section('/pipeline_node', 'num_threads: 2'),), {}),
    'any namespace': ((section('/**/pipeline_node', 'num_threads: 2'),), {}),
    'one namespace': ((section('/*/pipeline_node', 'num_threads: 2'),), {}),
    'one name': ((section('/*', 'num_threads: 2'),), {}),
    'relative wildcard': ((section('"**"', 'num_threads: 2'),), {}),
    'nested names': (('/:\n  pipeline_node:\n    ros__parameters: {num_threads: 2}\n',), {}),
    'others': ((section('heads_node', 'num_threads: 2'), section('/a/b', 'device: x')), {}),
    'later section': (
        (section('/pipeline_node', 'seed: 1') + section('/**', 'seed: 2'),), {}
    ),
    'section of an earlier file': (
        (section('/**', 'num_threads: 1') + section('pipeline_node', 'seed: 1'),
         section('/**', 'seed: 2')), {}
    ),
    'later file': ((section('/**', 'seed: 1'), section('/**', 'seed: 2')), {}),
    'given': ((section('/**', 'seed: 1'),), {'seed': 2, 'device': 'cpu'}),
    'dotted and nested': (
        (section('/**', 'cloud.time_scale: 2.0', 'cloud: {intensity_scale: 3.0}'),), {}
    ),
    'nested twice, then dotted': (
        (section('/**', 'cloud: {time_scale: 2.0}'), section('/**', 'cloud: {time_scale: 3.0}'),
         section('/**', 'cloud.time_scale: 4.0')), {}
    ),
    'dots below a mapping': (
        (section('/**', 'detection: {min_score.vehicle: {x: 1}, seed: 2}', 'seed: 3'),), {}
    ),
    'types in order': ((section('/**', 'seed: 1', 'seed: x'),), {}),
    'list after a list': (
        (section('/**', 'grid.x_range: [0.0, 8.0]', 'grid.x_range: [0.0, 16.0]'),), {}
    ),
    'exponent': ((section('/**', 'cloud.time_scale: 1e-9'),), {}),
    'hexadecimal': ((section('/**', 'seed: 0x1F', 'cloud.time_scale: 0x1p3'),), {}),
    'octal': ((section('/**', 'seed: 017'),), {}),
    'no octal': ((section('/**', 'cloud.time_scale: 08'),), {}),
    'yes': ((section('/**', 'pfn.legacy_offsets: yes', 'autostart: Off'),), {}),
    'no boolean': ((section('/**', 'autostart: "yes"'),), {}),
    'whole number for a double': ((section('/**', 'cloud.time_scale: 1'),), {}),
    'double for a whole number': ((section('/**', 'seed: 1.0'),), {}),
    'whole numbers for doubles': ((section('/**', 'grid.x_range: [0, 16]'),), {}),
    'number for text': ((section('/**', 'device: 5'),), {}),
    'null': ((section('/**', 'seed: null'),), {}),
    'text null': ((section('/**', 'cloud.time_field: ~'),), {}),
    'date': ((section('/**', 'seed: 2026-11-29'),), {}),
    'date as text': ((section('/**', 'frame_id: x', 'pfn.checkpoint: 2026-11-29'),), {}),
    'underscore': ((section('/**', 'seed: 1_000'),), {}),
    'too large for an integer': ((section('/**', 'seed: 99999999999999999999'),), {}),
    'infinite': ((section('/**', 'output_roi.x_range: [-.inf, inf]'),), {}),
    'nan': ((section('/**', 'cloud.time_scale: .nan'),), {}),
    'out of range': ((section('/**', 'num_threads: 300'),), {}),
    'overflow': ((section('/**', 'cloud.time_scale: 1e400'),), {}),
    'tag of text': ((section('/**', 'pfn.checkpoint: !!str 5'),), {}),
    'tag of a float': ((section('/**', 'cloud.time_scale: !!float 5'),), {}),
    'choice': ((section('/**', 'backbone.precision: float8'),), {}),
    'choices': ((section('/**', 'heads.names: [drivable, drivable]'),), {}),
    'empty lists': ((section('/**', 'cameras: []', 'heads: {names: []}'),), {}),
    'empty list for text': ((section('/**', 'device: []'),), {}),
    'empty list given': ((), {'heads.names': []}),
    'several faults': ((section('/**', 'num_threads: x', 'device: 1', 'weights: 1'),), {}),
    'sensor height': ((section('/**', 'cloud.sensor_height: 0.6'),), {}),
    'whole sensor height': ((section('/**', 'cloud.sensor_height: 1'),), {}),
    'no sensor height': ((section('/**', 'cloud.sensor_height: high'),), {}),
    'sensor height out of range': ((section('/**', 'cloud.sensor_height: 11.0'),), {}),
    'shipped weights': ((section('/**', 'weights: street', 'grid.resolution: 0.4'),), {}),
    'auto gives way': ((section('/**', 'pfn: {out_channels: 16}'),), {}),
    'auto takes': ((section('/**', 'grid.x_range: [-51.2, 51.2]', 'weights: auto'),), {}),
    'no weights': ((section('/**', 'weights: none'),), {}),
    'wrong weights': ((section('/**', 'weights: strasse'),), {}),
    'unknown': ((section('/**', 'grid.resolutoin: 0.2', 'use_sim_time: true', 'x: {y: 1}'),), {}),
    'pose': (
        (section('/**', 'cameras: [front]',
                 'extrinsics.front: [0.0, 0.0, 0.0, -0.5, 0.5, -0.5, 0.5]'),), {}
    ),
    'pose of another camera': (
        (section('/**', 'cameras: [front]', 'extrinsics.left: [0.0]'),), {}
    ),
    'pose of another type': ((section('/**', 'cameras: [front]', 'extrinsics.front: x'),), {}),
    'wrong camera': ((section('/**', 'cameras: [front, front]', 'device: 5'),), {}),
}  # fmt: skip
# Files that rcl refuses, and the fault.
REFUSED = {
    'a: 1\n': 'line 1, has a value for a; expected a mapping with ros__parameters',
    '[1]\n': 'line 1, has a value; expected names of nodes',
    'ros__parameters: {seed: 1}\n': "has the node name ''; expected letters",
    '/**:\n  ros__parameters:\n': 'has a value for ros__parameters; expected a mapping',
    section('/pipeline*', 'seed: 1'): "has the node name '/pipeline*'; expected letters",
    section('/ns//x', 'seed: 1'): "has the node name '/ns//x'; expected letters",
    section('9x', 'seed: 1'): "has the node name '9x'; expected letters",
    section('/**', 'seed:'): 'line 3, has a key without a value; expected a value',
    section('/**', '"": 1'): 'has a key that is no name; expected names as keys',
    section('/**', 'grid.x_range: [1, 2.0]'): 'line 3: list is [1, 2.0]; expected values of one',
    section('/**', 'grid: {}', 'seed: 2'): 'has grid without a value; expected a value',
    section('/**', 'seed: &x 1', 'num_threads: *x'): 'line 4, has an alias; expected a value',
    section('/**', 'cameras: *x'): 'line 3, has an alias; expected a value',
    section('/**', 'seed: {x: 1'): 'is no YAML: ',
    section('/**', 'seed: 1') + '  x: {ros__parameters: {y: 1}}\n': 'has x after ros__parameters',
}


@pytest.fixture(autouse=True)
def _as_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped_weights, 'AUTO', WEIGHTS[0])


def write(folder: Path, texts: tuple[str, ...]) -> list[Path]:
    paths = [folder / f'{number}.yaml' for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return paths


def rule(name: str, value: Any) -> str:
    """Returns a value as `-p` takes it."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f'{name}:={text}'


def of_node(paths: list[Path], given: dict[str, Any]) -> tuple[Any, list[str]]:
    """Returns values or the error of a real node with these parameters, and its log."""
    words = [word for path in paths for word in ('--params-file', str(path))]
    words += [word for name, value in given.items() for word in ('-p', rule(name, value))]
    log, context = Recorder(), rclpy.Context()
    context.init(args=['--ros-args', *words])
    node = Node('pipeline_node', context=context, start_parameter_services=False)
    node.get_logger = lambda: log  # type: ignore[assignment, method-assign, return-value]
    server = ParameterServer(node, NODES['pipeline_node'], lambda: False, lambda *_: None)
    lines = list(log.lines)
    try:
        server.check()
        found: Any = dict(server.values)
        for name, value in found.items():
            reported = node.get_parameter(name)
            shown = list(reported.value) if isinstance(value, list) else reported.value
            assert shown == value
            assert reported.type_ != RosParameter.Type.NOT_SET
    except TinyBevError as error:
        found = str(error)
    finally:
        node.destroy_node()
        context.try_shutdown()
    return found, lines


@pytest.mark.parametrize('case', TABLE)
def test_values_and_errors_are_those_of_the_node(case: str, tmp_path: Path):
    texts, given = TABLE[case]
    paths, log = write(tmp_path, texts), Recorder()
    expected, lines = of_node(paths, given)
    try:
        found: Any = read_parameters('pipeline_node', paths, given, logger=log)  # type: ignore[arg-type]
    except TinyBevError as error:
        found = str(error)
    assert found == expected
    if not isinstance(found, str):
        assert {name: type(value) for name, value in found.items()} == {
            name: type(value) for name, value in expected.items()
        }
    assert log.lines == lines


@pytest.mark.parametrize('case', ['octal', 'yes', 'infinite', 'exponent'])
def test_the_table_holds_values_that_yaml_reads_otherwise(case: str, tmp_path: Path):
    """Each case is read, with values that differ from the defaults."""
    paths = write(tmp_path, TABLE[case][0])
    found, defaults = read_parameters('pipeline_node', paths), read_parameters('pipeline_node', [])
    assert found != defaults


@pytest.mark.parametrize('text', REFUSED)
def test_files_that_rcl_refuses_are_one_clear_error(text: str, tmp_path: Path):
    paths, context = write(tmp_path, (text,)), rclpy.Context()
    with pytest.raises(Exception, match='params file'):
        context.init(args=['--ros-args', '--params-file', str(paths[0])])
    with pytest.raises(TinyBevError) as caught:
        read_parameters('pipeline_node', paths)
    assert str(caught.value).startswith(str(paths[0]))
    assert REFUSED[text] in str(caught.value)


def test_a_file_that_is_absent_is_one_clear_error(tmp_path: Path):
    path = tmp_path / 'absent.yaml'
    with pytest.raises(TinyBevError, match=r'absent\.yaml cannot be read: No such file'):
        read_parameters('pipeline_node', [path])


def test_a_given_value_that_a_file_overrides_is_refused(tmp_path: Path):
    """ROS ranks a later section above `-p`, which would have no effect without a word."""
    text = section('/**', 'seed: 1') + section('pipeline_node', 'device: cpu')
    with pytest.raises(TinyBevError) as caught:
        read_parameters('pipeline_node', write(tmp_path, (text,)), {'device': 'cuda'})
    assert str(caught.value) == (
        "parameter device is 'cpu' by a parameter file, which ROS ranks above the given 'cuda'; "
        'expected one of the two'
    )


def test_a_given_value_of_no_ros_type_is_refused():
    with pytest.raises(TinyBevError, match='parameter device: value is None; expected a bool'):
        read_parameters('pipeline_node', [], {'device': None})


def test_the_shipped_files_are_read():
    for name in ('params.yaml', 'weights/street.yaml', 'grids/around.yaml'):
        read_parameters('pipeline_node', [config_file(name)])


@pytest.mark.parametrize(
    ('text', 'value'),
    [('-017', -15), ('+5', 5), ('5.', 5.0), ('.5', 0.5), ('-0x1p-2', -0.25), ('1e', '1e'),
     ('0x', '0x'), ('-.nan', '-.nan'), ('1e-310', '1e-310'), ('0e-999', 0.0), ('1:30', '1:30'),
     ('0o17', '0o17'), ('tRue', 'tRue'), ('', ''), ('-inFinity', -float('inf'))],
)  # fmt: skip
def test_scalars(text: str, value: Any):
    found = read_scalar(text)
    assert (found, type(found)) == (value, type(value))


def test_sections_of_other_nodes_are_left_out(tmp_path: Path):
    sections = ParameterSections()
    text = section('/ns/**', 'x: 1') + section('/**/a/pipeline_node', 'y: 1')
    sections.add_file(write(tmp_path, (text,))[0])
    assert sections.of_node('pipeline_node') == {}


def test_nothing_of_ros_is_needed(tmp_path: Path):
    path = write(tmp_path, (section('/**', 'device: cpu'),))[0]
    code = f"""
import tiny_bev_ros.nodes.model_factory
from tiny_bev_ros.nodes.parameter_files import read_parameters
assert read_parameters('pipeline_node', [{str(path)!r}])['device'] == 'cpu'
"""
    run_without(RCLPY, code)


@pytest.mark.parametrize(
    ('text', 'names'),
    [
        (section('/robot1/pipeline_node', 'seed: 1'), '/robot1/pipeline_node'),
        (section('my_pipeline', 'seed: 1'), 'my_pipeline'),
        (section('heads_node', 'seed: 1') + section('/*/*', 'seed: 1'), 'heads_node, /*/*'),
    ],
)
def test_files_of_other_nodes_alone_are_refused_by_programs(
    tmp_path: Path, text: str, names: str
) -> None:
    used = section('heads_node', 'seed: 1') + section('/**/pipeline_node', 'seed: 1')
    others = write(tmp_path, ('# nothing\n', '/**:\n  ros__parameters: {}\n', used))
    refuse_foreign_files('pipeline_node', others)
    foreign = tmp_path / 'foreign.yaml'
    foreign.write_text(text)
    with pytest.raises(TinyBevError) as caught:
        refuse_foreign_files('pipeline_node', [*others, foreign])
    assert str(caught.value) == (
        f'{foreign} has parameters of {names}; expected some of /pipeline_node or of /**'
    )
