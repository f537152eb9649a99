# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Files of trainers: tensors are read, other objects stay unread, and nothing is run."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import decimal
import functools
import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models import PillarFeatureNet, load_pfn
from tiny_bev_ros.models.checkpoint.torch_file import TorchFile


@dataclasses.dataclass
class Config:
    rate: float = 0.1


class Options(dict):
    """Subclass of dict, like EasyDict, addict and AttributeDict."""


class Names(list):
    pass


class HistoryBuffer:
    """Buffer that holds arrays and methods, like mmengine's."""

    def __init__(self):
        self.log = np.ones(3)
        self.methods = {'mean': self.mean}

    def mean(self):
        return self.log.mean()


BESIDE = {
    'a best AP': np.float64(0.7),
    'a learning rate': np.float32(1e-3),
    'an array': np.arange(5),
    'a generator': np.random.default_rng(0),
    'a log buffer': HistoryBuffer(),
    'a deque': collections.deque([1, 2]),
    'a default dict': collections.defaultdict(list, a=[1]),
    'a counter': collections.Counter('ab'),
    'arguments': argparse.Namespace(lr=1.0),
    'a dataclass': Config(),
    'a dict of its own class': Options(a=1, b=Options(c=2)),
    'a list of its own class': Names(['a']),
    'a time': datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
    'a path': Path('/tmp'),
    'a set': {1, 2},
    'bytes': bytearray(b'abc'),
    'a number': decimal.Decimal(1),
    'a function': functools.partial(dict, a=1),
    'a network': torch.nn.Linear(2, 2),
    'a schedule': torch.optim.lr_scheduler.ConstantLR(torch.optim.SGD([torch.ones(1)], 0.1)),
    'the state of an optimizer': {'state': {0: {'step': torch.tensor(1.0)}}, 'param_groups': [{}]},
}


def pfn(seed):
    torch.manual_seed(seed)
    net = PillarFeatureNet()
    torch.nn.init.uniform_(net.norm.running_mean)
    return net


def same(first, second):
    other = second.state_dict()
    return all(torch.equal(value, other[key]) for key, value in first.state_dict().items())


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('protocol', [2, 4, 5])
@pytest.mark.parametrize('what', BESIDE)
def test_objects_beside_the_weights_do_not_matter(tmp_path, what, protocol, zipped):
    source, target = pfn(1), pfn(2)
    content = {'model': source.state_dict(), 'epoch': 80, 'extra': BESIDE[what]}
    path = tmp_path / 'weights.pt'
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    load_pfn(target, path)
    assert same(source, target)


def test_unread_objects_are_listed(tmp_path):
    content = {'model': pfn(1).state_dict(), 'args': argparse.Namespace(), 'ap': np.float64(1)}
    torch.save(content, tmp_path / 'weights.pt')
    names = load_pfn(pfn(2), tmp_path / 'weights.pt').names
    assert '; left unread, as they are no tensors: ' in names
    assert 'argparse.Namespace, numpy.' in names
    torch.save(content['model'], tmp_path / 'weights.pt')
    assert 'unread' not in load_pfn(pfn(2), tmp_path / 'weights.pt').names


@pytest.mark.parametrize('zipped', [True, False])
def test_all_kinds_of_plain_tensors_are_those_of_torch_load(tmp_path, zipped):
    base = torch.arange(60, dtype=torch.float32)
    content = {
        'views': base.view(3, 4, 5).transpose(0, 2)[1:, ::2],
        'shared': base[7:],
        'parameter': torch.nn.Parameter(torch.rand(3)),
        'scalar': torch.tensor(5),
        'nothing': torch.empty(0, 4),
        'expanded': torch.ones(1).expand(6),
        'columns last': torch.rand(1, 2, 3, 4).contiguous(memory_format=torch.channels_last),
        **{
            str(dtype): torch.ones(3).to(dtype)
            for dtype in (
                *(torch.float64, torch.float16, torch.bfloat16, torch.bool, torch.complex64),
                *(torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64),
            )
        },
    }
    if zipped:
        content['float8'] = torch.ones(3).to(torch.float8_e4m3fn)
        content['uint16'] = torch.ones(3).to(torch.uint16)
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    read = TorchFile(file.getvalue())
    file.seek(0)
    expected = torch.load(file, weights_only=True)
    for key, value in expected.items():
        found = read.tensor(read.content[key])
        assert found.dtype == value.dtype, key
        assert found.stride() == value.stride(), key
        assert found.tolist() == value.tolist(), key
    assert read.unread == []


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize('zipped', [True, False])
def test_code_in_a_file_is_not_run(tmp_path, zipped):
    mark, path = tmp_path / 'it_ran', tmp_path / 'weights.pt'
    content = {**pfn(1).state_dict(), 'extra': Touch(mark)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    target = pfn(2)
    assert 'pathlib' in load_pfn(target, path).names
    assert same(target, pfn(1))
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists()


def old_file(pickled):
    """File of old PyTorch that contains a given pickle."""
    head = b''.join(pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, {}))
    return head + pickled + pickle.dumps([], 2)


SYSTEM = b'\x80\x02cbuiltins\neval\n'
# Nested tuples, whose hash overflows Python's stack.
DEEP = b'\x85' * 3 * 10**5
ATTACKS = {
    'a call': SYSTEM + b'(Vopen("RAN", "w")\ntR.',
    'a call by stack': b'\x80\x04\x8c\x08builtins\x8c\x04eval\x93(Vopen("RAN", "w")\ntR.',
    'an instance of old': b'(Vopen("RAN", "w")\nibuiltins\neval\n.',
    'an object of old': b'(cbuiltins\neval\nVopen("RAN", "w")\no.',
    'a new object': SYSTEM + b'(Vopen("RAN", "w")\nt\x81.',
    'an extension': b'\x80\x02\x82\x01.',
    'a call of a number': b'\x80\x02K\x05)R.',
    'a state for a function': b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}Va\nK\x01sb.',
    'outside bytes': b'\x80\x05\x97.',
    'an array of an exabyte': b'\x80\x05\x96' + struct.pack('<Q', 2**60) + b'.',
    'bytes of an exabyte': b'\x80\x05\x8e' + struct.pack('<Q', 2**60) + b'.',
    'a far place in memory': b'\x80\x02Nr\xff\xff\xff\xff0N.',
    'an end that is missing': b'\x80\x02}',
    'a deep key': b'\x80\x02})' + DEEP + b'Ns.',
    'a deep key among others': b'\x80\x02}()' + DEEP + b'Nu.',
    'a deep key of an old dict': b'\x80\x02()' + DEEP + b'Nd.',
    'a deep member of a set': b'\x80\x04\x8f()' + DEEP + b'\x90.',
    'a deep member of a frozen set': b'\x80\x04()' + DEEP + b'\x91.',
    'a deep pair': b'\x80\x02ccollections\nOrderedDict\n](](' + b')' + DEEP + b'Neea\x85R.',
}


@pytest.mark.parametrize('name', ATTACKS)
def test_pickles_that_mean_harm_do_none(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'weights.pt'
    path.write_bytes(old_file(ATTACKS[name]))
    before = dict(torch._utils._rebuild_tensor_v2.__dict__)
    with pytest.raises(TinyBevError, match=r'weights\.pt') as error:
        load_pfn(pfn(1), path)
    assert str(error.value).isprintable()
    assert not (tmp_path / 'RAN').exists()
    assert torch._utils._rebuild_tensor_v2.__dict__ == before


@pytest.mark.parametrize(
    'place', [(10, (640,), (1,)), (0, (2**40,), (1,)), (-5, (1,), (1,)), (0, (64, 10), (10**9, 1))]
)
def test_a_tensor_that_leaves_its_numbers_is_refused(tmp_path, place):
    class Wrong:
        def __reduce__(self):
            bytes_ = torch.ones(640).untyped_storage()
            storage = torch.storage.TypedStorage(
                wrap_storage=bytes_, dtype=torch.float32, _internal=True
            )
            return torch._utils._rebuild_tensor_v2, (storage, *place, False, {})

    torch.save({**pfn(1).state_dict(), 'linear.weight': Wrong()}, tmp_path / 'weights.pt')
    with pytest.raises(TinyBevError, match='cannot be read'):
        load_pfn(pfn(2), tmp_path / 'weights.pt')


@pytest.mark.parametrize('zipped', [True, False])
def test_any_cut_and_any_wrong_byte_is_an_error_of_ours_or_harmless(tmp_path, zipped):
    path = tmp_path / 'weights.pt'
    torch.save(pfn(1).state_dict(), path, _use_new_zipfile_serialization=zipped)
    whole, target = path.read_bytes(), pfn(2)
    generator = np.random.default_rng(0)
    for number in range(300):
        content = bytearray(whole)
        if number % 3:
            for place in generator.integers(0, len(whole), 3):
                content[place] = generator.integers(256)
        else:
            content = content[: generator.integers(len(whole))]
        path.write_bytes(content)
        try:
            load_pfn(target, path)
        except TinyBevError as error:
            assert '\n' not in str(error)
