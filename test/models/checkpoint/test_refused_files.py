# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Reading of checkpoints: refused files, limits of size, and the digest."""

from __future__ import annotations

from optional_packages import require_packages

require_packages('safetensors')

import hashlib
import zipfile
from pathlib import Path

import pytest
import torch
from checkpoints import make_backbone, make_pfn, refusal, same, save

from tiny_bev_ros.models import load_backbone, load_pfn
from tiny_bev_ros.models.checkpoint import weight_files


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ({'head.weight': torch.zeros(2)}, 'has keys below head: none of the expected keys'),
        ({}, 'has keys below nothing'),
        ([torch.zeros(2)], 'holds a list; expected a state_dict'),
        (torch.zeros(2), 'holds a Tensor; expected a state_dict'),
    ],
)
@pytest.mark.parametrize(
    ('loader', 'make'), [(load_pfn, make_pfn), (load_backbone, make_backbone)]
)
def test_other_content_is_refused(tmp_path, loader, make, content, words):
    assert words in refusal(loader, make(), save(tmp_path, content))


def test_a_pickled_model_is_refused(tmp_path):
    message = refusal(load_backbone, make_backbone(), save(tmp_path, make_backbone(1)))
    assert 'holds a pickled tiny_bev_ros.models.backbones.tiny.TinyBEVBackbone' in message
    assert 'of which nothing is run; expected a state_dict' in message


@pytest.mark.parametrize('name', ['weights.pt', 'weights.safetensors'])
@pytest.mark.parametrize('left', [0, 10, 700])
def test_a_truncated_file_is_refused(tmp_path, name, left):
    path = save(tmp_path, make_pfn().state_dict(), name)
    path.write_bytes(path.read_bytes()[:left])
    assert 'cannot be read' in refusal(load_pfn, make_pfn(2), path)


def test_other_files_are_refused(tmp_path):
    model = make_pfn()
    assert 'expected an existing one' in refusal(load_pfn, model, tmp_path / 'absent.pt')
    (tmp_path / 'folder.pt').mkdir()
    assert 'which is a folder' in refusal(load_pfn, model, tmp_path / 'folder.pt')


@pytest.mark.parametrize('name', ['weights.pt', 'weights.safetensors'])
def test_the_digest_is_that_of_the_file(tmp_path, name):
    path = save(tmp_path, make_pfn(1).state_dict(), name)
    assert load_pfn(make_pfn(2), path).digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize('name', ['weights.pt', 'weights.safetensors'])
def test_a_file_that_is_too_large_is_refused_before_it_is_parsed(tmp_path, name, monkeypatch):
    path = save(tmp_path, make_pfn().state_dict(), name)
    monkeypatch.setattr(weight_files, 'MAX_BYTES', path.stat().st_size - 1)
    monkeypatch.setattr(weight_files, 'TorchFile', pytest.fail)
    monkeypatch.setattr(weight_files, 'read_tensors', pytest.fail)
    message = refusal(load_pfn, make_pfn(2), path)
    assert f'is larger than {path.stat().st_size - 1} bytes' in message


def test_a_file_that_would_unpack_to_too_much_is_refused_before(tmp_path, monkeypatch):
    path = save(tmp_path, {'linear.weight': torch.zeros(2**20)})
    packed = tmp_path / 'packed.pt'
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, 'w') as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry), zipfile.ZIP_DEFLATED)
    assert packed.stat().st_size < 2**17
    monkeypatch.setattr(weight_files, 'MAX_BYTES', 2**18)
    monkeypatch.setattr(weight_files, 'TorchFile', pytest.fail)
    monkeypatch.setattr(weight_files, 'read_tensors', pytest.fail)
    assert 'expected at most 262144' in refusal(load_pfn, make_pfn(2), packed)


def test_files_of_old_pytorch_are_read(tmp_path):
    source, target = make_pfn(1), make_pfn(2)
    path = tmp_path / 'old.pth'
    torch.save(source.state_dict(), path, _use_new_zipfile_serialization=False)
    load_pfn(target, path)
    assert same(source, target)


def test_a_dict_that_holds_itself_is_refused(tmp_path):
    inside: dict = {}
    inside['model'] = inside
    path = save(tmp_path, inside)
    assert 'has keys below model: none of the expected' in refusal(load_pfn, make_pfn(), path)


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    path = save(tmp_path, make_pfn().state_dict())

    def refuse(*_):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(Path, 'open', refuse)
    assert 'cannot be read: Permission denied' in refusal(load_pfn, make_pfn(2), path)
