# SPDX-License-Identifier: Apache-2.0
"""Names of devices."""

from __future__ import annotations

import pytest
import torch

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models import resolve_device


@pytest.fixture
def devices(monkeypatch):
    """Sets how many CUDA devices there seem to be."""

    def have(count):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: count > 0)
        monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)

    return have


def test_auto_takes_cuda_where_there_is_one(devices):
    devices(1)
    assert resolve_device('auto') == torch.device('cuda')
    devices(0)
    assert resolve_device('auto') == torch.device('cpu')


def test_a_named_device_is_taken(devices):
    devices(2)
    assert resolve_device('cpu') == torch.device('cpu')
    assert resolve_device('cuda') == torch.device('cuda')
    assert resolve_device('cuda:1') == torch.device('cuda', 1)


@pytest.mark.parametrize('name', ['cuda', 'cuda:0'])
def test_cuda_without_cuda_is_refused(devices, name):
    devices(0)
    with pytest.raises(TinyBevError, match=f"device is '{name}', but PyTorch finds no CUDA"):
        resolve_device(name)


def test_an_index_beyond_the_devices_is_refused(devices):
    devices(2)
    with pytest.raises(TinyBevError, match="device is 'cuda:2'; expected an index below 2"):
        resolve_device('cuda:2')


@pytest.mark.parametrize('name', ['', 'gpu', 'CUDA', 'cuda:', 'cuda:-1', 'cuda:x', 'cpu:0', 'mps'])
def test_other_names_are_refused(devices, name):
    devices(1)
    with pytest.raises(TinyBevError, match='expected auto, cpu, cuda or cuda:N'):
        resolve_device(name)


@pytest.mark.gpu
def test_the_real_cuda_device_works():
    device = resolve_device('cuda:0')
    assert torch.ones(2, device=device).sum().item() == 2
