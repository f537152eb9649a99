# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Names of devices, and the reasons given where CUDA does not work."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from acted_cuda import acted_cuda

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models import cuda_unavailable_reason, resolve_device
from tiny_bev_ros.models.device import copy_to_device, copy_to_host
from tiny_bev_ros.nodes.model_factory import make_device

# Messages in PyTorch's sources for which `is_available` only returns False.
TOO_OLD = (
    'The NVIDIA driver on your system is too old (found version 11040). Please update your GPU '
    'driver by downloading and installing a new version from the URL: http://www.nvidia.com/'
)
NONE_VISIBLE = 'No CUDA GPUs are available'
NO_DRIVER = 'Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU'


@pytest.fixture
def without(monkeypatch):
    """Pretends that PyTorch is built for CUDA and fails to initialise it."""

    def refuse(text: str) -> None:
        def init() -> None:
            raise RuntimeError(f'{text}\nException raised from somewhere in C++')

        monkeypatch.setattr(torch.version, 'cuda', '12.8')
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
        monkeypatch.setattr(torch.cuda, 'init', init)

    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    return refuse


@pytest.mark.parametrize(
    ('name', 'index'), [('auto', 0), ('cuda', 0), ('cuda:0', 0), ('cuda:1', 1)]
)
def test_a_cuda_device_has_its_index(name, index):
    with acted_cuda(2):
        assert resolve_device(name) == torch.device('cuda', index)


def test_the_current_device_is_taken_where_none_is_named():
    with acted_cuda(2), torch.cuda.device(1):
        assert resolve_device('auto') == resolve_device('cuda') == torch.device('cuda', 1)


def test_the_cpu_is_taken_by_name_and_where_there_is_no_cuda(without):
    without(NONE_VISIBLE)
    assert resolve_device('auto') == resolve_device('cpu') == torch.device('cpu')


@pytest.mark.parametrize('name', ['cuda', 'cuda:0'])
@pytest.mark.parametrize('text', [TOO_OLD, NONE_VISIBLE, NO_DRIVER])
def test_the_reason_of_pytorch_is_given(without, name, text):
    without(text)
    with pytest.raises(TinyBevError) as caught:
        resolve_device(name)
    assert str(caught.value) == (
        f"device is '{name}', but PyTorch finds no CUDA device ({text}); expected auto or cpu"
    )


def test_a_variable_that_hides_devices_is_named(without, monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    without(NONE_VISIBLE)
    assert cuda_unavailable_reason().endswith(f"({NONE_VISIBLE}; CUDA_VISIBLE_DEVICES is '')")


@pytest.mark.skipif(torch.version.cuda is not None, reason='PyTorch is built for CUDA')
def test_a_pytorch_without_cuda_is_named():
    reason = f'PyTorch {torch.__version__} is built without CUDA'
    with pytest.raises(TinyBevError, match=r"device is 'cuda', but .*expected auto or cpu") as no:
        resolve_device('cuda')
    assert reason in str(no.value)
    assert reason in cuda_unavailable_reason()


def test_a_node_logs_why_auto_became_the_cpu(without):
    without(TOO_OLD)
    logger = SimpleNamespace(lines=[])
    logger.info = logger.lines.append
    for name in ('auto', 'cpu'):
        make_device({'device': name, 'num_threads': 0}, logger)
    assert logger.lines == [
        f'device: computing on cpu, as PyTorch finds no CUDA device ({TOO_OLD})',
        'device: computing on cpu',
    ]


def test_a_device_that_does_not_work_is_not_used(acted):
    acted.broken = RuntimeError('CUDA error: no kernel image is available for execution\nmore')
    assert resolve_device('auto') == torch.device('cpu')
    reason = 'cuda:0 does not work (CUDA error: no kernel image is available for execution)'
    assert cuda_unavailable_reason() == reason
    with pytest.raises(TinyBevError) as caught:
        resolve_device('cuda')
    assert str(caught.value) == f"device is 'cuda', but {reason}; expected auto or cpu"


def test_a_full_device_is_used(acted):
    acted.broken = torch.cuda.OutOfMemoryError('CUDA out of memory')
    assert resolve_device('auto') == torch.device('cuda', 0)


def test_an_index_beyond_the_devices_is_refused():
    with (
        acted_cuda(2),
        pytest.raises(TinyBevError, match="device is 'cuda:2'; expected an index below 2"),
    ):
        resolve_device('cuda:2')


@pytest.mark.parametrize('name', ['', 'gpu', 'CUDA', 'cuda:', 'cuda:-1', 'cuda:x', 'cpu:0', 'mps'])
def test_other_names_are_refused(acted, name):
    with pytest.raises(TinyBevError, match='expected auto, cpu, cuda or cuda:N'):
        resolve_device(name)


@pytest.mark.gpu
def test_the_real_cuda_device_works():
    for name in ('auto', 'cuda', 'cuda:0'):
        device = resolve_device(name)
        assert device.index == 0
        assert torch.ones(2, device=device).sum().item() == 2


def test_tensors_come_to_the_host_in_one_wait():
    with acted_cuda() as acted:
        device = torch.device('cuda', 0)
        given = copy_to_device(torch.arange(6.0).view(2, 3).t(), device)
        assert copy_to_device(given, device) is given
        assert not acted.waits
        found = copy_to_host(given, given[1].int())
        assert acted.waits == {'event': 1}
        assert found[0].tolist() == [[0, 3], [1, 4], [2, 5]]
        assert found[1].tolist() == [1, 4]


def test_the_host_needs_no_copies():
    x = torch.ones(3)
    assert copy_to_host(x)[0] is x
    assert copy_to_device(x, torch.device('cpu')) is x
