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

import errno
import json
import os
import stat
import threading
from collections import Counter
from pathlib import Path

import pytest
from fake_extraction import BAGS, RUNS, counted, digests, extract

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction.file_lock import FileLock
from tiny_bev_ros.extraction.output_folder import OutputFolder
from tiny_bev_ros.extraction.output_manifest import known_bags, open_output
from tiny_bev_ros.extraction.work_units import Run, Shard, Survey, plan_surveys

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
    assert [each.read_text() for each in tmp_path.iterdir()] == [text]


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


@pytest.mark.parametrize('shard', [Shard(1, 3), Shard()])
def test_another_number_of_shards_is_refused_meanwhile(shard, tmp_path):
    with (
        open_output(tmp_path, MANIFEST, Shard(1, 2)),
        pytest.raises(TinyBevError, match='in use by another extraction of shard 1/2'),
        open_output(tmp_path, MANIFEST, shard),
    ):
        pass
    with open_output(tmp_path, MANIFEST, shard) as folder:
        assert folder.shard == shard


def test_outputs_are_not_removed_while_another_shard_computes(tmp_path):
    other = {**MANIFEST, 'version': '2'}
    with open_output(tmp_path, MANIFEST, Shard(1, 2)) as folder:
        path = commit(folder)
        partial = folder.partial_folder(RUN)
        with (
            pytest.raises(TinyBevError, match='in use by another extraction of shard 1/2'),
            open_output(tmp_path, other, Shard(2, 2), overwrite=True),
        ):
            pass
        assert path.exists() and partial.exists() and folder.is_done(RUN)
    with open_output(tmp_path, other, Shard(2, 2), overwrite=True) as folder:
        assert not path.exists() and not folder.is_done(RUN)


def test_a_lock_whose_file_was_removed_is_none(tmp_path):
    path = tmp_path / 'lock'
    first = FileLock(path)
    with pytest.raises(BlockingIOError):
        FileLock(path)
    thread = threading.Thread(target=lambda: FileLock(path, wait=True).close())
    thread.start()  # It waits for the file that `close` removes, and must make another one.
    first.close()
    thread.join(60)
    assert not thread.is_alive() and not path.exists()


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr('fcntl.flock', refuse)
    with open_output(tmp_path, MANIFEST) as folder:
        commit(folder)
    assert 'is on a file system without locks' in caplog.text
    assert not (tmp_path / '.partial').exists()


def test_markers_are_removed_before_their_files(tmp_path, monkeypatch):
    """An interrupted removal leaves no marker of a file that is gone."""
    with open_output(tmp_path, MANIFEST) as folder:
        path = commit(folder)
    unlink = Path.unlink

    def stop(each: Path, missing_ok: bool = False) -> None:
        if each.suffix == '.parquet':
            raise KeyboardInterrupt
        unlink(each, missing_ok=missing_ok)

    monkeypatch.setattr(Path, 'unlink', stop)
    other = {**MANIFEST, 'version': '2'}
    with pytest.raises(KeyboardInterrupt), open_output(tmp_path, other, overwrite=True):
        pass
    monkeypatch.undo()
    assert path.exists() and not OutputFolder(tmp_path).is_done(RUN)
    with open_output(tmp_path, other):  # The rest is removed: nobody can trust it.
        assert not path.exists()


def bags(**sizes: int) -> dict[str, object]:
    entries = {name: {'path': f'/bags/{name}', 'bytes': size} for name, size in sizes.items()}
    return {**MANIFEST, 'bags': entries}


def test_a_changed_bag_is_computed_again_alone(tmp_path):
    with open_output(tmp_path, bags(rec=1, street=1)) as folder:
        path = commit(folder)
        survey = Survey('/bags/street', 'street')
        folder.commit(survey, folder.partial_folder(survey), {'count': 0})
    before = digests(tmp_path)
    with (
        pytest.raises(TinyBevError, match=r'bags.rec.bytes is 1; expected 2: give --overwrite'),
        open_output(tmp_path, bags(rec=2)),
    ):
        pass
    assert digests(tmp_path) == before
    with open_output(tmp_path, bags(rec=2), overwrite=True) as folder:
        assert not folder.is_done(RUN) and not path.exists()
        assert folder.is_done(survey)
    assert (
        json.loads((tmp_path / 'manifest.json').read_text())['bags']
        == (bags(rec=2, street=1)['bags'])
    )


def test_a_bag_that_was_never_surveyed_may_change(tmp_path):
    with open_output(tmp_path, bags(rec=1, broken=1)) as folder:
        commit(folder)
    with open_output(tmp_path, bags(rec=1, broken=2)) as folder:
        assert folder.is_done(RUN)
    assert known_bags(tmp_path) == {'/bags/rec': 'rec', '/bags/broken': 'broken'}
    assert known_bags(tmp_path / 'absent') == {}


def test_a_configuration_without_results_may_change(tmp_path):
    with open_output(tmp_path, {**MANIFEST, 'version': 'wrong'}):
        pass
    with open_output(tmp_path, MANIFEST) as folder:
        commit(folder)
    assert 'version' not in json.loads((tmp_path / 'manifest.json').read_text())


def test_a_refused_call_leaves_nothing(tmp_path):
    with open_output(tmp_path, MANIFEST) as folder:
        commit(folder)
    with pytest.raises(TinyBevError), open_output(tmp_path, {'values': 1}):
        pass
    assert not (tmp_path / '.partial').exists()


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    folder = OutputFolder(tmp_path)
    (folder.partial_folder(RUN) / 'half.parquet').write_text('x')
    (folder.scratch_folder() / 'rec.mcap').write_text('unpacked')
    with open_output(tmp_path, MANIFEST) as folder:
        assert not folder.partial_path.exists()
        (folder.scratch_folder() / 'rec.mcap').write_text('unpacked')
    assert not folder.partial_path.exists()


def test_failed_units_are_those_of_the_last_call(tmp_path):
    for unit in ('a', 'b'):
        with open_output(tmp_path, MANIFEST) as folder:
            folder.put_aside({'unit': unit})
    assert (tmp_path / 'failed.jsonl').read_text() == '{"unit": "b"}\n'
    with open_output(tmp_path, MANIFEST):
        assert not (tmp_path / 'failed.jsonl').exists()


def test_other_numbers_of_shards_leave_no_failed_units(tmp_path):
    for shard in (Shard(1, 2), Shard(2, 2)):
        with open_output(tmp_path, MANIFEST, shard) as folder:
            folder.put_aside({'unit': 'x'})
    assert len(list(tmp_path.glob('failed*'))) == 2
    with open_output(tmp_path, MANIFEST) as folder:
        folder.put_aside({'unit': 'x'})
    assert [path.name for path in tmp_path.glob('failed*')] == ['failed.jsonl']


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
    surveys = plan_surveys(BAGS)
    assert list(OutputFolder(output).verify(surveys[2:3])) == []  # a bag that is whole
    counts: list[tuple[int, int]] = []
    broken = [
        unit
        for index, bag in ((1, 'a-rec'), (2, 'b-rec'))
        for unit in OutputFolder(output, Shard(index, 2)).verify(
            surveys, lambda *count: counts.append(count)
        )
        if unit.key.startswith(bag)  # of the bags of this machine alone
    ]
    assert counts == [(number, total) for total in (6, 4) for number in range(1, total + 1)]
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
    assert list(OutputFolder(output).verify(surveys)) == []
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


def test_a_file_system_that_cannot_flush_folders_is_used(tmp_path, monkeypatch):
    fsync = os.fsync

    def refuse_folders(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, 'Invalid argument')
        fsync(handle)

    monkeypatch.setattr('os.fsync', refuse_folders)
    with open_output(tmp_path, MANIFEST) as folder:
        commit(folder)
        assert folder.is_done(RUN)
