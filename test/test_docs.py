# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""The documentation agrees with the repository, and its snippets run.

`make docs` checks with Sphinx too; here nothing needs Sphinx.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from importlib import import_module, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import exported_files
import markdown_page
import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from markdown_page import DOCS, ROOT, blocks, code_spans, name_of, pages, rows
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float32MultiArray

from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.nodes import help_text, parameters

if TYPE_CHECKING:
    from ros_graph import RosGraph

# Places to which paths in the text are relative.
BASES = (ROOT, ROOT / 'tiny_bev_ros', ROOT / 'tiny_bev_ros/inference')
# Programs of others, whose arguments are not checked.
FOREIGN = {
    '.', '.venv/bin/pip', '.venv/bin/pre-commit', 'cd', 'colcon', 'export', 'git', 'mkdir',
    'pip', 'python', 'python3', 'rosdep', 'torchrun',
}  # fmt: skip
FOREIGN_VERBS = {'bag', 'lifecycle', 'param', 'security'}
OPENING = re.compile(
    r'(?:^|[.!?] +|\n\n|\n\s*[-*] +|\n\d+\. +|\| )(?:What|Whether|Of|How|Is to be|The same|'
    r'Those that|That which)\b'
)
# Snippets that read extracted files run in test/extraction/test_extraction_page.py.
PYTHON = [
    (page, code)
    for page in pages()
    if page.stem != 'extraction'
    for code in blocks(page, 'python')
]
COMMANDS = [
    (page, line)
    for page in pages()
    for code in blocks(page, 'bash')
    for line in code.replace('\\\n', ' ').splitlines()
    if line.split('#')[0].strip()
]


def page_ids(cases: list[tuple[Path, str]]) -> list[str]:
    return [f'{name_of(page)}-{index}' for index, (page, _) in enumerate(cases)]


def directories() -> set[str]:
    """Directories of tracked files, two levels deep, and three in the package."""
    done = subprocess.run(
        ['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode or not done.stdout:
        pytest.skip('the repository has no history here')
    parents = {
        str(parent)
        for line in done.stdout.splitlines()
        for parent in Path(line).parents
        if (ROOT / line).exists() and str(parent) != '.'
    }
    return {each for each in parents if each.count('/') < (3 if 'tiny_bev_ros/' in each else 2)}


def drawn_directories() -> set[str]:
    """Directories in the tree of the architecture page."""
    tree = blocks(DOCS / 'architecture.md', 'text')[0]
    found: set[str] = set()
    above: dict[int, str] = {}
    for line in tree.splitlines():
        indent = len(line) - len(line.lstrip())
        words = re.split(r'\s{2,}', line.strip())[0].split()
        folder = ''.join(above[at] for at in sorted(above) if at < indent)
        found |= {(folder + word).rstrip('/') for word in words if word.endswith('/')}
        above = {at: name for at, name in above.items() if at < indent} | {indent: words[0]}
    return found


def test_tree_of_the_architecture_page_is_that_of_the_repository():
    assert drawn_directories() == directories()


@pytest.mark.parametrize('page', pages(), ids=name_of)
def test_links_lead_somewhere(page: Path):
    for target in markdown_page.links(page):
        if target.startswith(('http', '../../actions')):
            continue
        path, _, anchor = target.partition('#')
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in markdown_page.anchors(linked), target


@pytest.mark.parametrize('page', pages(), ids=name_of)
def test_paths_exist(page: Path):
    rooms = {each.name for base in BASES for each in base.iterdir() if each.is_dir()}
    rooms -= {'build', 'install', 'log', '__pycache__', 'shared'}
    for span in code_spans(page):
        path = span.split(':')[0].split(' ')[0].rstrip('/')
        first = path.split('/')[0]
        if '/' not in path or first not in rooms or re.search(r'[A-Z]{2}|\*', path):
            continue
        assert any((base / path).exists() for base in BASES), span


@pytest.mark.parametrize('page', pages(), ids=name_of)
def test_names_of_parameters_exist(page: Path):
    known = set(parameters.ALL)
    groups = {name.split('.')[0] for name in known if '.' in name}
    for span in code_spans(page):
        for name in re.findall(r'(?<![\w./])[a-z]\w*(?:\.[a-z]\w*)+(?![\w./(])', span):
            if name.split('.')[0] in groups and not name.endswith(('.md', '.png', '.py')):
                assert name in known, span


@pytest.mark.parametrize('page', pages(), ids=name_of)
def test_python_names_exist(page: Path):
    for span in code_spans(page):
        if re.fullmatch(r'tiny_bev_ros(\.\w+)+(\(\))?', span):
            module, _, name = span.removesuffix('()').rpartition('.')
            if not hasattr(import_module(module), name):
                import_module(f'{module}.{name}')


@pytest.mark.parametrize('page', pages(), ids=name_of)
def test_sentences_open_with_their_subject(page: Path):
    found = OPENING.findall(markdown_page.prose(page))
    assert not found


def write_cloud_bag(path: Path, points: np.ndarray) -> None:
    pytest.importorskip('rosbags')
    from rclpy.serialization import serialize_message

    from tiny_bev_ros.bag.reader import CLOUD_TYPE, BagMessage, write_bag
    from tiny_bev_ros.messages.point_cloud import encode_cloud

    data = bytes(serialize_message(encode_cloud(points, (1, 0), 'lidar')))
    write_bag(path, {'/points': CLOUD_TYPE}, [BagMessage('/points', 10**9, data)])


@pytest.mark.parametrize(('page', 'code'), PYTHON, ids=page_ids(PYTHON))
def test_python_snippets_run(
    page: Path, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    compiled = compile(code, name_of(page), 'exec')
    if 'timm' in code:  # and a file of weights
        return
    rng = np.random.default_rng(0)
    points = rng.uniform([0, -25, -2, 0], [50, 25, 1, 1], (1000, 4)).astype(np.float32)
    points.tofile(tmp_path / 'sweep.bin')
    if "'bag'" in code:
        write_cloud_bag(tmp_path / 'bag', points)
    exported_files.write_files_of(code, tmp_path)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    exec(compiled, scope)
    if 'frame' in scope:
        assert scope['frame'].points.shape == (1000, 4)
    if 'tokens' in scope:
        assert scope['tokens'].shape == (1, 10000, 128)
        assert sum(each.numel() for each in scope['backbone'].parameters()) == 300_352
    if 'drivable' in scope:
        assert scope['boxes'].shape == (1, 9, 128, 128)
    if 'runner' in scope:
        assert scope['bev_features'].shape == (1, 128, 248, 216)
        assert scope['runner'].statistics.path == 'sparse'


def executables() -> set[str]:
    return set(re.findall(r"'(\w+) = tiny_bev_ros", (ROOT / 'setup.py').read_text()))


def launch_arguments(name: str) -> set[str]:
    sources = [ROOT / 'launch' / name, ROOT / 'tiny_bev_ros/launch_utils.py']
    text = ''.join(path.read_text() for path in sources)
    return set(re.findall(r"(?:DeclareLaunchArgument|topic|checkpoint)\(\s*'(\w+)'", text))


def check_make(words: list[str]) -> None:
    makefile = (ROOT / 'Makefile').read_text()
    for word in words:
        variable, is_set, _ = word.partition('=')
        line = rf'^{variable} \?=' if is_set else rf'^{word}:'
        assert re.search(line, makefile, re.MULTILINE), word


def check_launch(words: list[str]) -> None:
    name, *arguments = words
    assert (ROOT / 'launch' / name).exists()
    known = launch_arguments(name)
    assert {word.split(':=')[0] for word in arguments if ':=' in word} <= known


def check_options(words: list[str], folders: tuple[str, ...]) -> None:
    """Options must be declared somewhere below these folders, and paths of config/ exist."""
    source = ''.join(path.read_text() for each in folders for path in (ROOT / each).rglob('*.py'))
    for word in words:
        if word in ('--ros-args', '--enclave'):
            continue
        if word.startswith('--'):
            assert f"'{word}'" in source, word
        if word.startswith('config/'):
            assert (ROOT / word).exists(), word


def check_with_env(words: list[str]) -> None:
    program, *rest = words
    if program != 'python':
        assert program.startswith('install/tiny_bev_ros/lib/tiny_bev_ros/')
        assert Path(program).name in executables()
        check_options([word for word in rest if word != '--remap'], ('tiny_bev_ros',))
    elif rest[0] != '-m':
        assert (ROOT / rest[0]).exists()
    elif rest[1] == 'pytest':
        assert all((ROOT / word).exists() for word in rest if word.startswith('test/'))
    else:
        assert util.find_spec(rest[1]) is not None
        check_options(rest[2:], ('experiments', 'benchmarks'))


@pytest.mark.parametrize(('page', 'line'), COMMANDS, ids=page_ids(COMMANDS))
def test_commands_exist(page: Path, line: str):
    for part in re.split(r' && |; ', line):
        words = shlex.split(part, comments=True)
        match words:
            case ['make', *rest]:
                check_make(rest)
            case ['ros2', 'launch', 'tiny_bev_ros', *rest]:
                check_launch(rest)
            case ['ros2', 'run', 'tiny_bev_ros', program, *rest]:
                assert program in executables()
                check_options(rest, ('tiny_bev_ros',))
            case ['scripts/with_env.sh', *rest]:
                check_with_env(rest)
            case ['ros2', verb, *_]:
                assert verb in FOREIGN_VERBS
            case ['torchrun', *rest]:
                assert util.find_spec(rest[rest.index('-m') + 1]) is not None
                check_options(rest[rest.index('-m') + 2 :], ('tiny_bev_ros',))
            case [program, *_]:
                assert program in FOREIGN, part


def flat(values: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f'{prefix}{key}.')
        else:
            found[f'{prefix}{key}'] = value
    return found


PARAMETER_FILES = [
    (page, code) for page in pages() for code in blocks(page, 'yaml') if '/**:' in code
]


@pytest.mark.parametrize(('page', 'code'), PARAMETER_FILES, ids=page_ids(PARAMETER_FILES))
def test_parameter_files_are_valid(page: Path, code: str):
    values = flat(yaml.safe_load(code)['/**']['ros__parameters'])
    assert values
    for name, value in values.items():
        if name.startswith('extrinsics.'):
            assert len(value) == 7
            assert np.linalg.norm(value[3:]) == pytest.approx(1.0, abs=1e-3)
            continue
        assert isinstance(value, type(parameters.ALL[name].default))
        parameters.ALL[name].check(value)


@pytest.mark.parametrize('node', list(help_text.PURPOSES))
def test_page_of_nodes_has_their_topics(node: str):
    text = (DOCS / 'ros_nodes.md').read_text()
    section = text.split(f'\n## {node}\n')[1].split('\n## ')[0]
    if node == 'pipeline_node':
        assert 'every output' in ' '.join(section.split())
        return
    named = {
        name for row in rows(section) for name in re.findall(r'`([^`]+)`', row[0])
    } - {'/tf', '/tf_static'}  # fmt: skip
    purpose = help_text.PURPOSES[node]
    words = re.findall(r'[A-Za-z_/]+', f'{purpose.subscribes} {purpose.publishes}')
    topics = {word for word in words if word not in ('or', 'of', 'each', 'camera')}
    assert named == topics


@pytest.mark.dds
def test_table_of_diagnostics_has_the_keys_of_a_node(graph: RosGraph):
    text = (DOCS / 'operations.md').read_text().split('## Diagnostics')[1].split('\n## ')[0]
    table = {name: row for row in rows(text) for name in re.findall(r'`([^`]+)`', row[0])}
    graph.start('pipeline_node', cameras='[NAME]', grid__resolution=0.32)
    features = graph.collect(Float32MultiArray, 'bev_features')
    arrays = graph.collect(DiagnosticArray, '/diagnostics')
    cloud = encode_cloud(np.ones((10, 4), np.float32), (1, 0), 'lidar')
    clouds = graph.publisher(PointCloud2, 'points')

    def keys() -> set[str]:
        own = [
            status
            for array in arrays
            for status in array.status
            if status.name.startswith(graph.namespace.lstrip('/'))
        ]
        return {pair.key for pair in own[-1].values} if own else set()

    def is_complete() -> bool:
        clouds.publish(cloud)
        return bool(features) and any('sparse' in key for key in keys())

    graph.spin_until(is_complete)
    found = keys() | {'frames_dense'}  # no frame was dense
    causes = {key for key in found if key.startswith('dropped_')}
    assert set(table) == found - causes | {'dropped_CAUSE'}
    listed = table['dropped_CAUSE'][1].split(':')[1].split(',')
    assert causes == {f'dropped_{cause.strip()}' for cause in listed}


def test_pages_are_in_the_table_of_contents():
    contents = (DOCS / 'index.md').read_text()
    for page in DOCS.glob('*.*'):
        if page.suffix in ('.md', '.rst') and page.stem != 'index':
            assert re.search(rf'\b{page.stem}>?$', contents, re.MULTILINE), page.name
