# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Options of outputs, their packages, and files that are equal in every process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from absent_packages import MESSAGES, RCLPY, run_without
from extracted_frames import made_up_frames, write_run

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction import frame_outputs
from tiny_bev_ros.extraction.frame_outputs import OutputOptions, check_heads, check_packages
from tiny_bev_ros.optional_imports import OptionalModule, import_optional

ROOT = Path(__file__).resolve().parents[2]
ALL = ('detections', 'drivable', 'features')
NEEDS = {'parquet': ('pyarrow',), 'safetensors': (), 'mcap': ('rosbags', 'nav_msgs.msg')}


def usable_formats() -> list[str]:
    return [
        name
        for name, packages in NEEDS.items()
        if not any(import_optional(package).reason for package in packages)
    ]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'what': ()}, 'what is empty; expected some of detections, drivable, features'),
        ({'what': ('boxes',)}, 'what is boxes; expected some of'),
        ({'format': 'csv'}, 'format is csv; expected one of parquet, safetensors, mcap'),
        ({'dtype': 'float32'}, 'dtype is float32; expected one of float16, int8'),
        ({'format': 'mcap', 'dtype': 'int8'}, 'dtype is int8; expected float16 with format mcap'),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(TinyBevError, match=message):
        OutputOptions(**options)


def test_outputs_of_absent_heads_are_refused():
    check_heads(OutputOptions(ALL), ['drivable', 'detection'])
    check_heads(OutputOptions(('features',)), [])
    with pytest.raises(TinyBevError, match=r"heads.names is \['detection'\]; expected drivable"):
        check_heads(OutputOptions(ALL), ['detection'])
    with pytest.raises(TinyBevError, match=r'heads.names is \[\]; expected detection among'):
        check_heads(OutputOptions(), [])


@pytest.mark.parametrize(
    ('options', 'missing'),
    [
        (OutputOptions(), 'pyarrow'),
        (OutputOptions(ALL, 'parquet'), 'pyarrow'),
        (OutputOptions(('features',), 'parquet'), None),
        (OutputOptions(ALL, 'safetensors'), None),
        (OutputOptions(ALL, 'mcap'), 'geometry_msgs'),
    ],
)
def test_missing_packages_are_one_line(
    options: OutputOptions, missing: str | None, monkeypatch: pytest.MonkeyPatch
):
    def without(name: str) -> OptionalModule:
        return OptionalModule(None, f'{name.partition(".")[0]} is not installed')

    monkeypatch.setattr(frame_outputs, 'import_optional', without)
    if missing is None:
        check_packages(options)
        return
    with pytest.raises(TinyBevError, match=f'format is .*, but {missing} is not installed'):
        check_packages(options)


def test_only_mcap_needs_message_packages():
    code = f"""
import sys
sys.path.insert(0, 'test/helpers')
import extracted_frames
formats = {[name for name in usable_formats() if name != 'mcap']}
import pathlib, tempfile
with tempfile.TemporaryDirectory() as folder:
    print(extracted_frames.digests(pathlib.Path(folder), formats))
"""
    assert 'features/street/part-00001-000.safetensors' in run_without(f'{RCLPY}|{MESSAGES}', code)


def test_files_are_equal_in_two_processes(tmp_path: Path):
    from extracted_frames import digests

    formats = usable_formats()
    code = (
        "import sys, pathlib; sys.path.insert(0, 'test/helpers'); import extracted_frames; "
        f'print(extracted_frames.digests(pathlib.Path({str(tmp_path / "other")!r}), {formats}))'
    )
    other = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    own = digests(tmp_path / 'own', formats)
    assert own.count('\n') >= 2
    assert other.stdout.strip() == own


@pytest.mark.parametrize('name', NEEDS)
def test_files_of_a_run(tmp_path: Path, name: str):
    if name not in usable_formats():
        pytest.skip(f'packages for {name} are not installed')
    features = [f'features/street/part-00001-00{number}.safetensors' for number in (0, 1)]
    paths = {
        'parquet': [
            'detections/street/part-00001.parquet',
            'drivable/street/part-00001.parquet',
            *features,
            'frames/street/part-00001.parquet',
        ],
        'safetensors': [
            'detections/street/part-00001.safetensors',
            'drivable/street/part-00001.safetensors',
            *features,
        ],
        'mcap': ['messages/street/part-00001.mcap'],
    }
    assert write_run(tmp_path, OutputOptions(ALL, name), made_up_frames(17)) == paths[name]
    assert not list(tmp_path.rglob('.*'))
