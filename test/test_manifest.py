# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""package.xml and setup.py: keys that rosdep knows, one source of texts, extras of pip."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = ElementTree.parse(ROOT / 'package.xml').getroot()
# Keys of rosdep/python.yaml of ros/rosdistro that lead to a package on Ubuntu and Debian; for
# RHEL see docs/release.md.
PYTHON_KEYS = {
    'python3-hypothesis',
    'python3-jsonschema',
    'python3-matplotlib',
    'python3-numba',
    'python3-numpy',
    'python3-pytest',
    'python3-pytest-timeout',
    'python3-pytorch-pip',
    'python3-torch',
    'python3-tqdm',
    'python3-yaml',
}
# Packages that Humble, Jazzy, Kilted, Lyrical and Rolling all have.
ROS_KEYS = {
    'ament_index_python',
    'builtin_interfaces',
    'cv_bridge',
    'diagnostic_msgs',
    'geometry_msgs',
    'launch',
    'launch_ros',
    'lifecycle_msgs',
    'nav_msgs',
    'rcl_interfaces',
    'rclpy',
    'ros2bag',
    'ros2launch',
    'rosbag2_storage_default_plugins',
    'rosbag2_storage_mcap',
    'rosgraph_msgs',
    'rviz2',
    'sensor_msgs',
    'sensor_msgs_py',
    'std_msgs',
    'tf2_ros_py',
    'vision_msgs',
    'visualization_msgs',
}


def dependencies(distribution: str) -> set[str]:
    """Those whose conditions hold, by the evaluation of catkin_pkg, which rosdep uses too."""
    catkin = pytest.importorskip('catkin_pkg.package')
    package = catkin.parse_package(str(ROOT / 'package.xml'))
    package.evaluate_conditions({'ROS_DISTRO': distribution})
    every = package.build_depends + package.exec_depends + package.test_depends
    return {each.name for each in every if each.evaluated_condition}


@pytest.mark.parametrize(
    ('distribution', 'torch'),
    [
        ('humble', 'python3-pytorch-pip'),
        ('jazzy', 'python3-pytorch-pip'),  # Ubuntu 24.04 has no python3-torch
        ('kilted', 'python3-pytorch-pip'),
        ('lyrical', 'python3-torch'),
        ('rolling', 'python3-torch'),
    ],
)
def test_rosdep_knows_every_key_and_pytorch_comes_once(distribution: str, torch: str):
    found = dependencies(distribution)
    assert found <= PYTHON_KEYS | ROS_KEYS
    assert {each for each in found if 'torch' in each} == {torch}


def test_setup_py_says_what_the_manifest_says():
    options = ('--name', '--version', '--maintainer', '--maintainer-email', '--license')
    command = [sys.executable, 'setup.py', '-q', *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    maintainer = MANIFEST.find('maintainer')
    assert maintainer is not None
    assert done.stdout.splitlines()[-5:] == [
        MANIFEST.findtext('name'),
        MANIFEST.findtext('version'),
        maintainer.text,
        maintainer.attrib['email'],
        MANIFEST.findtext('license'),
    ]


def extras() -> dict[str, list[str]]:
    """Extras of setup.py by name."""
    tree = ast.parse((ROOT / 'setup.py').read_text())
    (value,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == 'EXTRAS'
    ]
    found: dict[str, list[str]] = ast.literal_eval(value)
    return found


def requirements(name: str, until: str = '') -> dict[str, list[Requirement]]:
    """Requirements of a file by package name, up to a comment."""
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / 'requirements' / name).read_text().splitlines():
        if until and line.startswith(until):
            break
        if text := line.partition('#')[0].strip():
            each = Requirement(text)
            found.setdefault(canonicalize_name(each.name), []).append(each)
    return found


def test_a_plain_installation_pulls_nothing_heavy():
    assert "install_requires=['setuptools']" in (ROOT / 'setup.py').read_text()
    assert set(extras()) == {
        'runtime',
        'bags',
        'train',
        'extract',
        'ray',
        'argoverse',
        'camera',
        'export',
        'docs',
        'test',
    }


def test_extras_have_every_package_that_the_package_needs_beside_ros():
    wanted = set(requirements('base.txt', until='# Building and testing'))
    have = {
        each for name in ('runtime', 'bags', 'train', 'extract', 'ray') for each in extras()[name]
    }
    assert have == wanted
    assert set(extras()['test']) <= set(requirements('base.txt'))


def test_tried_versions_are_within_the_extras():
    tried: dict[str, list[Requirement]] = {}
    for path in sorted((ROOT / 'requirements').glob('*.txt')):
        for name, each in requirements(path.name).items():
            tried.setdefault(name, []).extend(each)
    for given in (Requirement(text) for texts in extras().values() for text in texts):
        for each in tried.get(canonicalize_name(given.name), []):
            for specifier in each.specifier:
                assert given.specifier.contains(specifier.version), f'{each} is not in {given}'


def test_what_is_not_known_is_in_one_place_and_on_the_release_page():
    (maintainer,) = MANIFEST.findall('maintainer')
    address = maintainer.attrib['email']
    setup = (ROOT / 'setup.py').read_text()
    assert address not in setup
    assert str(MANIFEST.findtext('version')) not in setup
    page = (ROOT / 'docs/release.md').read_text()
    assert address.endswith('.invalid') == ('nobody has named one yet' in page)
    assert f'| {MANIFEST.findtext("version")} |' in page
