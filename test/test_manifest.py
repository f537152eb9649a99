# SPDX-License-Identifier: Apache-2.0
"""package.xml: keys that rosdep knows, and one source for what setup.py says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

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


def test_what_is_not_known_is_in_one_place_and_on_the_release_page():
    (maintainer,) = MANIFEST.findall('maintainer')
    address = maintainer.attrib['email']
    setup = (ROOT / 'setup.py').read_text()
    assert address not in setup
    assert str(MANIFEST.findtext('version')) not in setup
    page = (ROOT / 'docs/release.md').read_text()
    assert address.endswith('.invalid') == ('nobody has named one yet' in page)
    assert f'| {MANIFEST.findtext("version")} |' in page
