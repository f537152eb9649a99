# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Output folders: manifest, markers, verification, leftovers, and other files that stay."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path

import pytest
from fake_extraction import RUNS, counted, digests, extract

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction.output_folder import OutputFolder
from tiny_bev_ros.extraction.output_manifest import open_output
from tiny_bev_ros.extraction.work_units import Run, Shard, Survey

RUN = Run('/bags/rec', 'rec', 3, 768, 256)
MANIFEST = {
    'values': {'grid.cell': 0.2, 'heads': ['a', 'b']},
    'inputs': [{'path': '/x', 'bytes': 7}],
}


def commit(folder: OutputFolder, text: str = 'frames') -> Path:
    partial = folder.partial_folder(RUN)
    path = partial / 'detections/rec/part-00003.parquet'
    path.parent.mkdir(parents=True)
    path.write_text(text)
    folder.commit(RUN, partial, {'frames': 256, 'skipped': []})
    return folder.path / 'detections/rec/part-00003.parquet'


def test_a_committed_unit_is_done_and_nothing_is_left(tmp_path):
    with open_output(tmp_path / 'out', MANIFEST) as folder:
        assert not folder.is_done(RUN)
        path = commit(folder)
        assert folder.is_done(RUN)
        assert path.read_text() == 'frames'
        assert not list(folder.partial_path.iterdir())
        result = folder.result(RUN)
    assert result['frames'] == 256
    assert result['files']['detections/rec/part-00003.parquet']['bytes'] == 6
    assert sorted(each.name for each in (tmp_path / 'out').iterdir()) == [
        'detections',
        'manifest.json',
        'runs',
    ]


def test_a_unit_without_marker_is_not_done(tmp_path, monkeypatch):
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr('tiny_bev_ros.extraction.output_folder.replace_text', stop)
    with pytest.raises(KeyboardInterrupt), open_output(tmp_path, MANIFEST) as folder:
        commit(folder)
    monkeypatch.undo()
    with open_output(tmp_path, MANIFEST) as folder:
        assert not folder.is_done(RUN)
        assert commit(folder, 'again').read_text() == 'again'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            {'values': {'grid.cell': 0.4, 'heads': ['a', 'b']}},
            r'values.grid.cell is 0.2; expected 0.4',
        ),
        ({'values': {'grid.cell': 0.2, 'heads': ['a']}}, r'heads\[1\] is "b"; expected no entry'),
        ({'inputs': [{'path': '/x', 'bytes': 8}]}, r'inputs\[0\].bytes is 7; expected 8'),
        ({'version': '1'}, r'version is no entry; expected "1"'),
    ],
)
def test_another_configuration_is_refused(change, message, tmp_path):
    with open_output(tmp_path, MANIFEST) as folder:
        commit(folder)
    before = digests(tmp_path)
    with (
        pytest.raises(TinyBevError, match=message) as caught,
        open_output(tmp_path, {**MANIFEST, **change}),
    ):
        pass
    assert '\n' not in str(caught.value)
    assert digests(tmp_path) == before


def test_overwriting_removes_old_outputs_and_nothing_else(tmp_path):
    foreign = [
        tmp_path / name for name in ('notes.txt', 'runs/notes.txt', 'detections/rec/my.parquet')
    ]
    with open_output(tmp_path, MANIFEST) as folder:
        output = commit(folder)
        folder.put_aside({'unit': 'x'})
    for path in foreign:
        path.write_text('mine')
    with open_output(tmp_path, MANIFEST, overwrite=True) as folder:
        assert folder.is_done(RUN)  # an equal configuration
    with open_output(tmp_path, {'values': 1}, overwrite=True) as folder:
        assert not folder.is_done(RUN)
        commit(folder, 'new')
    output.unlink()
    (tmp_path / 'runs/rec/part-00003.json').unlink()
    (tmp_path / 'runs/rec').rmdir()
    files = sorted(path for path in tmp_path.rglob('*') if path.is_file())
    assert files == sorted([*foreign, tmp_path / 'manifest.json'])
    assert json.loads((tmp_path / 'manifest.json').read_text())['values'] == 1


@pytest.mark.parametrize('text', ['{"name": "web page"}', 'no JSON', '[]'])
def test_a_manifest_of_another_program_stays(text, tmp_path):
    path = tmp_path / 'manifest.json'
    path.write_text(text)
    with (
        pytest.raises(TinyBevError, match='is of another program'),
        open_output(tmp_path, MANIFEST, overwrite=True),
    ):
        pass
    assert path.read_text() == text


def test_outputs_without_manifest_are_not_trusted(tmp_path):
    with open_output(tmp_path, MANIFEST) as folder:
        commit(folder)
    (tmp_path / 'manifest.json').unlink()
    with pytest.raises(TinyBevError, match='is absent beside'), open_output(tmp_path, MANIFEST):
        pass


def test_a_folder_in_use_is_refused_but_not_by_another_shard(tmp_path):
    with open_output(tmp_path, MANIFEST, Shard(1, 2)) as folder:
        partial = folder.partial_folder(RUN)
        with open_output(tmp_path, MANIFEST, Shard(2, 2)) as other:
            other.partial_folder(RUN)
        assert partial.is_dir()  # the end of another shard removes its own alone
        with (
            pytest.raises(TinyBevError, match='in use by another extraction of shard 1/2'),
            open_output(tmp_path, MANIFEST, Shard(1, 2)),
        ):
            pass
        assert partial.is_dir()
    assert not (tmp_path / '.partial').exists()


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    folder = OutputFolder(tmp_path)
    (folder.partial_folder(RUN) / 'half.parquet').write_text('x')
    (folder.scratch_folder() / 'rec.mcap').write_text('unpacked')
    with open_output(tmp_path, MANIFEST) as folder:
        assert not list(folder.partial_path.iterdir())
        (folder.scratch_folder() / 'rec.mcap').write_text('unpacked')
    assert not folder.partial_path.exists()


def test_failed_units_are_those_of_the_last_call(tmp_path):
    for unit in ('a', 'b'):
        with open_output(tmp_path, MANIFEST) as folder:
            folder.put_aside({'unit': unit})
    assert (tmp_path / 'failed.jsonl').read_text() == '{"unit": "b"}\n'
    with open_output(tmp_path, MANIFEST):
        assert not (tmp_path / 'failed.jsonl').exists()


def test_verification_finds_broken_units_which_are_computed_again(tmp_path):
    output, log = tmp_path / 'out', tmp_path / 'log'
    parts = 'detections/a-rec/part-0000'
    extract(output, log)
    whole = digests(output)
    flipped, short, absent = (output / f'{parts}{number}.parquet' for number in (0, 2, 4))
    content = bytearray(flipped.read_bytes())
    content[100] ^= 1
    flipped.write_bytes(content)
    short.write_bytes(short.read_bytes()[:-1])
    absent.unlink()
    (output / 'runs/b-rec/part-00001.json').write_text('{"fi')
    broken = OutputFolder(output).verify()
    assert {each.key: each.reason.partition('; ')[0] for each in broken} == {
        'a-rec/part-00000': f'{parts}0.parquet has another SHA-256',
        'a-rec/part-00002': f'{parts}2.parquet has {short.stat().st_size} bytes',
        'a-rec/part-00004': f'{parts}4.parquet is absent',
        'b-rec/part-00001': "part-00001.json is damaged (JSONDecodeError('Unterminated string "
        "starting at: line 1 column 2 (char 1)'))",
    }
    before = Counter(counted(log, 'started'))
    extract(output, log)
    assert digests(output) == whole
    again = Counter(counted(log, 'started')) - before
    assert set(again) == {each.key for each in broken} | {'broken/survey'}
    assert OutputFolder(output).verify() == []
    assert len(before) == RUNS + 4


def test_machines_that_commit_one_survey_at_once_agree(tmp_path):
    survey = Survey('/bags/rec', 'rec')
    folders = [OutputFolder(tmp_path, Shard(index, 4)) for index in (1, 2, 3, 4)]

    def write(folder: OutputFolder) -> None:
        for _ in range(20):
            folder.commit(survey, folder.partial_folder(survey), {'count': 5})

    threads = [threading.Thread(target=write, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folders[0].result(survey) == {'count': 5, 'files': {}}
