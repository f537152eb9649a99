# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Weight files are recognised by their content, and others are refused by their kind."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile

import pytest
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models import PillarFeatureNet, load_pfn
from tiny_bev_ros.models.checkpoint.metadata import read_metadata
from tiny_bev_ros.models.checkpoint.safetensors_file import read_tensors

POINTER = (
    b'version https://git-lfs.github.com/spec/v1\n'
    b'oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n'
    b'size 12345\n'
)


def as_safetensors(state):
    """Bytes of a safetensors file, written by hand, as the package may be absent."""
    header, data = {'__metadata__': {'format': 'pt'}}, b''
    for key, value in state.items():
        kind = {torch.float32: 'F32', torch.int64: 'I64'}[value.dtype]
        numbers = value.numpy().tobytes()
        place = [len(data), len(data) + len(numbers)]
        header[key] = {'dtype': kind, 'shape': list(value.shape), 'data_offsets': place}
        data += numbers
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, 'little') + text + data


def as_torch(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def as_zip(names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        for name in names:
            archive.writestr(name, 'x' * 100)
    return file.getvalue()


def as_tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w') as archive:
        archive.addfile(tarfile.TarInfo('weights.pt'))
    return file.getvalue()


@pytest.mark.parametrize('write', [as_torch, as_safetensors])
@pytest.mark.parametrize(
    'name', ['w.ckpt', 'w.pth.tar', 'w.bin', 'w.tckpt', 'w', 'w.pt', 'w.pth', 'w.safetensors']
)
def test_the_suffix_means_nothing(tmp_path, write, name):
    source, target = PillarFeatureNet(), PillarFeatureNet()
    torch.nn.init.uniform_(source.linear.weight)
    (tmp_path / name).write_bytes(write(source.state_dict()))
    load_pfn(target, tmp_path / name)
    assert torch.equal(source.linear.weight, target.linear.weight)


OTHERS = {
    'a pointer': (POINTER, 'is a Git LFS pointer for a file of 12345 bytes; expected the file'),
    'nothing': (b'', 'it is empty'),
    'HTML': (
        b'\n<!DOCTYPE html><html>404</html>',
        'it is a web page or XML, perhaps a downloaded error page',
    ),
    'JSON': (b'{"metadata": {"total_size": 1}}', 'it is JSON text'),
    'gzip': (b'\x1f\x8b\x08' + bytes(100), 'it is packed with gzip'),
    'tar': (as_tar(), 'it is a tar archive'),
    'a zip': (as_zip(['a/readme.txt']), 'it is a zip archive of something else'),
    'TorchScript': (as_zip(['a/data.pkl', 'a/constants.pkl']), 'it is a TorchScript program'),
    'HDF5': (b'\x89HDF\r\n\x1a\n' + bytes(100), 'it is HDF5'),
    'ONNX': (b'\x08\x07\x12\x07pytorch\x1a\x05onnx' + bytes(100), 'it is an ONNX model'),
    'noise': (b'\x99' * 1000, 'of unknown kind, it begins with 99 99 99'),
    'a pickle': (pickle.dumps({'linear.weight': 1}), 'it is a pickle, but none of torch.save'),
    'a download cut off': (as_torch({'a': torch.ones(999)})[:3000], 'its end is missing'),
    'safetensors cut off': (as_safetensors({'a': torch.ones(999)})[:3000], 'does not lie in it'),
}


@pytest.mark.parametrize('suffix', ['pt', 'safetensors'])
@pytest.mark.parametrize('kind', OTHERS)
def test_other_files_are_refused_by_their_kind(tmp_path, kind, suffix):
    content, words = OTHERS[kind]
    path = tmp_path / f'weights.{suffix}'
    path.write_bytes(content)
    with pytest.raises(TinyBevError, match='expected') as error:
        load_pfn(PillarFeatureNet(), path)
    assert words in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize('kind', ['a pointer', 'nothing', 'HTML', 'ONNX'])
def test_reading_metadata_refuses_other_files_too(tmp_path, kind):
    content, words = OTHERS[kind]
    (tmp_path / 'weights.safetensors').write_bytes(content)
    with pytest.raises(TinyBevError) as error:
        read_metadata(tmp_path / 'weights.safetensors')
    assert words in str(error.value)


@pytest.mark.parametrize(
    'entry',
    [
        {'dtype': 'F32', 'shape': [4], 'data_offsets': [0, 8]},
        {'dtype': 'F32', 'shape': [2], 'data_offsets': [-8, 0]},
        {'dtype': 'F32', 'shape': [2**62, 4], 'data_offsets': [0, 16]},
        {'dtype': 'F32', 'shape': [-1], 'data_offsets': [0, -4]},
        {'dtype': 'X', 'shape': [1], 'data_offsets': [0, 4]},
        {'dtype': 'F32', 'shape': 'x', 'data_offsets': [0, 4]},
        {},
        [],
    ],
)
def test_headers_of_safetensors_that_lie_are_refused(tmp_path, entry):
    text = json.dumps({'linear.weight': entry}).encode()
    path = tmp_path / 'weights.safetensors'
    path.write_bytes(len(text).to_bytes(8, 'little') + text + bytes(64))
    with pytest.raises(TinyBevError, match='cannot be read'):
        load_pfn(PillarFeatureNet(), path)


def test_tensors_of_safetensors_need_not_be_aligned(tmp_path):
    text = json.dumps(
        {
            'a': {'dtype': 'U8', 'shape': [1], 'data_offsets': [0, 1]},
            'linear.weight': {'dtype': 'F32', 'shape': [1], 'data_offsets': [1, 5]},
        }
    ).encode()
    data = b'\x07' + torch.tensor([1.5]).numpy().tobytes()
    found = read_tensors(len(text).to_bytes(8, 'little') + text + data)
    assert found['linear.weight'].tolist() == [1.5]
