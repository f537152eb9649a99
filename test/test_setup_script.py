# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""setup.sh and with_env.sh in folders and shells that are not as they should be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
VERSION = f'Python {sys.version_info[0]}.{sys.version_info[1]}'


def clone(folder: Path) -> Path:
    """Copies the files that the scripts need; returns the folder."""
    for part in ('scripts', 'requirements'):
        shutil.copytree(ROOT / part, folder / part)
    return folder


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ('PATH', 'HOME', 'LANG') if name in os.environ}
    return subprocess.run(
        words, cwd=folder, env=kept | environment, capture_output=True, text=True, check=False
    )


def fake_rclpy(folder: Path, python: str) -> Path:
    package = folder / f'lib/{python}/site-packages/rclpy'
    package.mkdir(parents=True)
    (package / '__init__.py').write_text("raise ImportError('_rclpy_pybind11')\n")
    return package.parent


@pytest.mark.parametrize('sourced', [{'ROS_DISTRO': 'jazzy', 'AMENT_PREFIX_PATH': '/opt/x'}, {}])
def test_a_ros_of_another_python_is_refused_in_one_line(tmp_path: Path, sourced: dict[str, str]):
    folder = clone(tmp_path / 'clone')
    path = fake_rclpy(tmp_path, 'python3.99')
    done = run(folder, 'scripts/setup.sh', sys.executable, PYTHONPATH=str(path), **sourced)
    assert done.returncode == 1
    name = sourced.get('ROS_DISTRO', 'rclpy in PYTHONPATH')
    assert done.stderr == (
        f"setup: the ROS 2 that is sourced ({name}) is for Python 3.99, but '{sys.executable}' is "
        f'{VERSION}: make PYTHON=..., or use a shell in which no ROS is sourced\n'
    )
    assert not (folder / '.venv').exists()


def test_the_extension_tells_the_python_where_the_path_does_not(tmp_path: Path):
    """As in /opt/ros/humble/local/lib/python3/dist-packages."""
    path = fake_rclpy(tmp_path, 'python3')
    (path / 'rclpy/_rclpy_pybind11.cpython-398-x86_64-linux-gnu.so').touch()
    done = run(clone(tmp_path / 'clone'), 'scripts/setup.sh', sys.executable, PYTHONPATH=str(path))
    assert 'is for Python 3.98, but' in done.stderr


def test_a_middleware_that_the_wheels_do_not_have_is_refused(tmp_path: Path):
    done = run(
        clone(tmp_path / 'clone'),
        'scripts/setup.sh',
        sys._base_executable,  # which has no rclpy
        RMW_IMPLEMENTATION='rmw_zenoh_cpp',
    )
    if 'x86-64' in done.stderr:
        pytest.skip('no wheels for this machine')
    assert done.returncode == 1
    assert done.stderr.startswith('setup: RMW_IMPLEMENTATION is rmw_zenoh_cpp; expected ')
    assert done.stderr.count('\n') == 1


@pytest.mark.parametrize('name', ['a"b', 'a$HOME', 'a`b', 'a\\b', 'a:b'])
def test_folders_that_cannot_work_are_refused_at_once(tmp_path: Path, name: str):
    done = run(clone(tmp_path / name), 'scripts/setup.sh', sys.executable)
    assert done.returncode == 1
    assert done.stderr == (
        f'setup: the folder is {tmp_path / name}; '
        'expected a path without " $ ` \\ : and line breaks\n'
    )


@pytest.mark.parametrize('name', ['plain', "a b & (it's) #1 %", 'ü' * 80])
def test_scripts_of_the_environment_run_in_any_other_folder(tmp_path: Path, name: str):
    """Although their first line can name no interpreter with a space or a long path."""
    folder = clone(tmp_path / name)
    command = [sys.executable, '-m', 'venv', '--without-pip', str(folder / '.venv')]
    subprocess.run(command, check=True)
    package = folder / 'install/tiny_bev_ros/share/tiny_bev_ros'
    package.mkdir(parents=True)
    (package / 'package.bash').write_text('export SOURCED=yes\n')
    script = folder / 'install/tool'
    script.write_text(
        f'#!"{folder}/.venv/bin/python"\nimport os, sys\n'
        "print(sys.argv[1:], sys.prefix, os.environ['SOURCED'])\n"
    )
    script.chmod(0o755)
    done = run(folder, 'scripts/with_env.sh', str(script), 'a  b', '--c')
    assert done.stdout == f"['a  b', '--c'] {folder / '.venv'} yes\n", done.stderr
    done = run(folder, 'scripts/with_env.sh', 'printf', '%s.', 'a  b', '')
    assert done.stdout == 'a  b..'


def test_the_wheels_index_is_beside_an_overlay_that_is_sourced(tmp_path: Path):
    folder = clone(tmp_path / 'clone')
    (folder / '.venv/bin').mkdir(parents=True)
    (folder / '.venv/bin/activate').write_text(f"export VIRTUAL_ENV='{folder}/.venv'\n")
    show = ('scripts/with_env.sh', 'printenv', 'AMENT_PREFIX_PATH')
    assert run(folder, *show).stdout.strip() == f'{folder}/.venv'
    assert run(folder, *show, AMENT_PREFIX_PATH='/other').stdout.strip() == '/other'
    (folder / '.venv/share/ament_index').mkdir(parents=True)
    told = run(folder, *show, AMENT_PREFIX_PATH='/other').stdout.strip()
    assert told == f'{folder}/.venv:/other'
