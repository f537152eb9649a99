# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from acted_machine import Machine

from benchmarks.gpu import (
    backbone_parity,
    check_inputs,
    cudnn_peers,
    frame_waits,
    gpu_check,
    memory_limit,
    stage_parity,
    stage_times,
)
from benchmarks.gpu.check_section import CheckSettings, SectionResult, run_here, run_in_child
from benchmarks.gpu.gpu_report import machine_of
from benchmarks.gpu.marked_tests import summary_of
from benchmarks.gpu.node_check import check_node
from benchmarks.gpu.tensorrt_peer import tensorrt_engine
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.model_runner import EncodedPillars, ModelRunner
from tiny_bev_ros.models import list_backbones, resolve_device
from tiny_bev_ros.models.heads.detection import Detections

GRID = BevGrid((0.0, 6.4), (-3.2, 3.2), (-3.0, 2.0), 0.2)
WIDTHS = {'in_channels': 8, 'mid_channels': 8, 'out_channels': 16}


def clouds() -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(0)
    return tuple(
        random.uniform([0, -3.2, -3, 0], [6.4, 3.2, 1, 1], (count, 4)).astype(np.float32)
        for count in (200, 300)
    )


def small(device: torch.device, folder: Path, *backbones: str) -> CheckSettings:
    return CheckSettings(device, clouds(), GRID, folder, 2, backbones, WIDTHS)


@pytest.fixture
def settings(acted: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CheckSettings:
    monkeypatch.setattr(stage_times, '_WARM_UP', 1)
    monkeypatch.setattr(cudnn_peers, '_WARM_UP', 1)
    return small(resolve_device('cuda'), tmp_path, 'fpn')


@pytest.fixture
def on_cpu(tmp_path: Path) -> CheckSettings:
    return small(torch.device('cpu'), tmp_path)


def passes(settings: CheckSettings) -> SectionResult:
    return SectionResult('a table')


def breaks(settings: CheckSettings) -> SectionResult:
    raise RuntimeError('CUDA error: an illegal memory access was encountered\nsecond line')


def exits(settings: CheckSettings) -> SectionResult:
    os._exit(3)


def hangs(settings: CheckSettings) -> SectionResult:
    time.sleep(1000)
    raise AssertionError


def test_every_section_completes_and_has_its_rows(
    settings: CheckSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sections = dict(gpu_check.SECTIONS)
    for name in ('tests', 'node'):  # processes, in which no device is acted
        sections[name] = (passes, 1.0)
    monkeypatch.setattr(gpu_check, 'SECTIONS', sections)
    monkeypatch.setattr(stage_times, 'PRECISIONS', ('float32', 'float16'))
    monkeypatch.setattr(frame_waits, 'PRECISIONS', ('float16',))
    report = tmp_path / 'gpu_report.md'
    assert gpu_check.check(settings, report, run_here) == 0
    text = report.read_text()
    assert 'FAILED' not in text
    for name in sections:
        assert f'| {name} | passed |' in text
        assert f'## {name}\n' in text
    for path in backbone_parity.PATHS:
        assert f'| fpn | {path} |' in text
    for stage in ('camera encoder', 'fusion, global', 'pillars', 'shipped weights, objects'):
        assert f'| {stage} | float32 ' in text
    for path in ('dense', 'sparse', 'auto ('):
        assert f'| float32 | {path}' in text and f'| float16 | {path}' in text
    for path in ('dense', 'sparse', 'auto'):
        for stage in ('pillars', 'backbone', 'heads'):
            assert f'| float16 | {path} | {stage} |' in text
    assert '| tiny_bev_ros, sparse |' in text
    head, _, row = text.partition('| GPU | driver |')[2].splitlines()[:3]
    figures = dict(zip(head.strip('| ').split(' | ')[3:], row.split(' | ')[5:], strict=True))
    assert row.startswith('| acted GPU 0 |')
    assert figures.pop('TensorRT').startswith('-')
    assert all(' / ' in figure for figure in figures.values())


def test_a_broken_section_costs_a_line_and_the_exit_code(
    settings: CheckSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    sections = {'first': (breaks, 1.0), 'second': (passes, 1.0)}
    monkeypatch.setattr(gpu_check, 'SECTIONS', sections)
    report = tmp_path / 'gpu_report.md'
    assert gpu_check.check(settings, report, run_here) == 1
    line = 'RuntimeError: CUDA error: an illegal memory access was encountered'
    assert f'| first | FAILED | 0 | {line} |\n| second | passed |' in report.read_text()
    assert f'first: FAILED (0 s)\n  {line}\nsecond: ...' in capsys.readouterr().out


def test_a_section_runs_in_a_process_of_its_own(on_cpu: CheckSettings):
    assert run_in_child(passes, on_cpu, 120).text == 'a table'
    assert run_in_child(exits, on_cpu, 120).failures == ['process ended with exit code 3']
    (line,) = run_in_child(hangs, on_cpu, 0.5).failures
    assert line == 'did not end within 0.5 s'


def test_without_cuda_there_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys):
    reason = 'PyTorch finds no CUDA device (no driver)'
    monkeypatch.setattr(gpu_check, 'cuda_unavailable_reason', lambda: reason)
    monkeypatch.setattr(sys, 'argv', ['gpu_check'])
    assert gpu_check.main() == 2
    assert capsys.readouterr() == ('', f'gpu-check needs a CUDA device: {reason}\n')


@pytest.mark.gpu
@pytest.mark.parametrize('name', list_backbones())
def test_parity_of_backbones_on_a_gpu(name: str, tmp_path: Path):
    result = backbone_parity.check_backbones(small(resolve_device('cuda'), tmp_path, name))
    assert not result.failures


@pytest.mark.gpu
def test_parity_of_other_stages_on_a_gpu(tmp_path: Path):
    result = stage_parity.check_stages(small(resolve_device('cuda'), tmp_path))
    assert not result.failures


@pytest.mark.parametrize('wrong', [lambda y: y + 0.1 * y.abs().max(), lambda y: y * float('nan')])
def test_wrong_features_fail_the_parity(
    settings: CheckSettings, monkeypatch: pytest.MonkeyPatch, wrong: Callable
):
    monkeypatch.setattr(backbone_parity, 'PRECISIONS', ('float16',))
    monkeypatch.setattr(backbone_parity, 'PATHS', ('dense, with graph',))
    real = BackboneRunner.from_pillars
    monkeypatch.setattr(BackboneRunner, 'from_pillars', lambda *args: wrong(real(*args)))
    result = backbone_parity.check_backbones(settings)
    (line,) = result.failures
    assert line.startswith('fpn, dense, with graph, float16: error is ')
    assert line.endswith('; expected at most 0.05')


def test_a_missing_graph_fails_the_parity(
    settings: CheckSettings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(backbone_parity, 'PRECISIONS', ('float32',))
    monkeypatch.setattr(backbone_parity, 'PATHS', ('dense, with graph', 'dense, without graph'))
    with check_inputs.without_graphs():
        result = backbone_parity.check_backbones(settings)
    assert result.failures == [
        'fpn, dense, with graph, float32: RuntimeError: no CUDA graph: recording is switched off'
    ]


def test_the_reason_for_a_relu_of_its_own_is_reported(
    settings: CheckSettings, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise RuntimeError('no engine')

    monkeypatch.setattr(backbone_parity, 'PRECISIONS', ('float32',))
    monkeypatch.setattr(backbone_parity, 'PATHS', ('dense, with graph',))
    assert 'launched apart: none.' in backbone_parity.check_backbones(settings).text
    monkeypatch.setattr(torch, 'cudnn_convolution_relu', refuse)
    result = backbone_parity.check_backbones(settings)
    assert not result.failures
    assert 'launched apart: no engine.' in result.text


@pytest.mark.parametrize(
    ('section', 'name'),
    [
        (stage_times.measure_stages, 'benchmarks.gpu.stage_times.shipped_runner'),
        (frame_waits.check_waits, 'benchmarks.gpu.frame_waits.shipped_runner'),
        (cudnn_peers.compare_peers, 'benchmarks.gpu.cudnn_peers.cuda_graph'),
    ],
)
def test_an_error_fails_its_combination_and_a_lost_device_the_section(
    settings: CheckSettings,
    monkeypatch: pytest.MonkeyPatch,
    section: Callable[[CheckSettings], SectionResult],
    name: str,
):
    def fail(*_: object) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(name, fail)
    text = 'no such kernel'
    failures = section(settings).failures
    assert failures and all('no such kernel' in line for line in failures)
    text = 'CUDA error: an illegal memory access was encountered'
    with pytest.raises(RuntimeError, match='illegal memory access'):
        section(settings)


def test_a_wait_in_a_stage_fails(settings: CheckSettings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(frame_waits, 'PRECISIONS', ('float32',))
    monkeypatch.setattr(frame_waits, 'SPARSITIES', {'never': 'dense'})
    real = ModelRunner.encode_points

    def waiting(self: ModelRunner, points: np.ndarray) -> EncodedPillars:
        pillars = real(self, points)
        pillars.features.cpu()
        return pillars

    monkeypatch.setattr(ModelRunner, 'encode_points', waiting)
    (line,) = frame_waits.check_waits(settings).failures
    assert line.startswith('float32, dense, pillars: the host waits ')
    assert '; expected at most 0 (' in line


def test_a_wait_is_an_error_where_none_was_found(acted: Machine):
    lines: Counter[str] = Counter()
    x = torch.ones(2, device='cuda')
    with frame_waits._sync_debug('warn', lines):
        x.cpu()
        x.cpu()
    assert lines.total() == 2
    with (
        pytest.raises(RuntimeError, match='synchronizing'),
        frame_waits._sync_debug('error', lines),
    ):
        x.cpu()
    x.cpu()
    assert torch.cuda.get_sync_debug_mode() == 0


def test_a_limit_of_memory_leads_to_fallback_steps(
    settings: CheckSettings, acted: Machine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(memory_limit, 'BUDGET_MB', 3)
    result = memory_limit.check_memory(settings)
    assert not result.failures
    assert 'ran on cpu in float32' in result.text
    assert 'now on the CPU' in result.text
    assert acted.memory_fraction[0] == 1.0


@pytest.mark.parametrize(
    ('code', 'output', 'failures'),
    [
        (0, 'SKIPPED [1] test_a.py:1: no wheel\n3 passed, 1 skipped in 2s', []),
        (1, 'FAILED test_a.py::b - no\n1 failed in 2s', ['FAILED test_a.py::b - no']),
        (5, '3 deselected in 1s', ['pytest ended with exit code 5: 3 deselected in 1s']),
        (0, '3 skipped in 1s', ['no test passed: 3 skipped in 1s']),
        (1, '', ['pytest ended with exit code 1: No module named pytest']),
    ],
)
def test_the_end_of_pytest_is_read(code: int, output: str, failures: list[str]):
    assert summary_of(code, output, 'No module named pytest').failures == failures


def test_objects_without_a_partner_are_found():
    boxes = torch.zeros(4, 7)
    boxes[:, 0] = torch.tensor([0.0, 10.0, 20.0, 30.0])
    wanted = Detections(boxes, torch.tensor([0.9, 0.8, 0.7, 0.31]), torch.tensor([0, 0, 1, 0]))
    moved = boxes.clone()
    moved[:, 1] = torch.tensor([0.01, 1.0, 0.01, 0.0])
    found = Detections(moved, wanted.scores, torch.tensor([0, 0, 0, 0]))
    # The second is elsewhere, the third of another class, the last not clear.
    assert stage_parity.missing_fraction(wanted, found, 0.05) == pytest.approx(2 / 3)
    nothing = Detections(boxes[:0], wanted.scores[:0], wanted.labels[:0])
    assert stage_parity.missing_fraction(nothing, found, 0.05) == 0.0


def test_tensorrt_runs_on_the_addresses_of_its_tensors(
    settings: CheckSettings, monkeypatch: pytest.MonkeyPatch
):
    tensorrt, addresses = MagicMock(), dict[str, int]()
    engine = tensorrt.Runtime.return_value.deserialize_cuda_engine.return_value
    engine.get_tensor_shape.return_value = (1, 16, 16, 16)
    context = engine.create_execution_context.return_value
    context.set_tensor_address.side_effect = addresses.__setitem__
    monkeypatch.setitem(sys.modules, 'tensorrt', tensorrt)
    monkeypatch.setitem(sys.modules, 'onnx', MagicMock())
    monkeypatch.setattr(torch.onnx, 'export', lambda network, args, path, **_: path.touch())
    run = tensorrt_engine(torch.nn.Conv2d(8, 16, 1), torch.zeros(1, 8, 32, 32), settings)
    features = run()
    assert features.shape == (1, 16, 16, 16) and features.dtype == torch.float16
    assert addresses['y'] == features.data_ptr() != addresses['x']
    context.execute_async_v3.return_value = False
    with pytest.raises(RuntimeError, match='TensorRT could not run'):
        run()


def test_without_ros_the_node_is_skipped(on_cpu: CheckSettings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, 'benchmarks.gpu.node_run', raising=False)
    monkeypatch.setitem(sys.modules, 'rclpy', None)
    result = check_node(on_cpu)
    assert result.outcome == 'skipped'
    assert result.skipped.endswith('(rclpy is not installed)')


def test_the_machine_is_described(acted: Machine):
    machine = machine_of(torch.device('cuda', 0))
    assert machine['GPU'] == 'acted GPU 0, 4.0 GiB, compute capability 8.6'
    assert machine['PyTorch'] == torch.__version__
