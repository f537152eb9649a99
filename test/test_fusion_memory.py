# SPDX-License-Identifier: Apache-2.0
"""What fusion is said to take, beside what a process of its own takes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tiny_bev_ros.engine.fusion_memory import (
    attention_is_fused,
    free_bytes,
    global_bytes,
    projected_bytes,
)

MIB = 2**20
# A map of 200 x 200 cells and one image of 1242 x 375 at stride 8.
MEASURE = """
import sys, torch
from pathlib import Path
from tiny_bev_ros.engine.fusion import FusionStage
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.models import FuTrFusion, make_camera

def resident(name):
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

torch.set_num_threads(1)
ahead = [[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
camera = make_camera([88, 0, 76, 0, 88, 21, 0, 0, 1], ahead, (156, 47))
grid = BevGrid((0, 40), (-20, 20), (-3, 1), 0.2)
stage = FusionStage(FuTrFusion(128, 64, sys.argv[1]), torch.device('cpu'))
small = BevGrid((0, 4), (-2, 2), (-3, 1), 0.2)
features = torch.rand(1, 64, 47, 156)
stage(torch.rand(1, 128, *small.shape), small, [(features, camera)])
bev = torch.rand(1, 128, *grid.shape)
Path('/proc/self/clear_refs').write_text('5')
before = resident('VmRSS')
stage(bev, grid, [(features, camera)])
print(resident('VmHWM') - before, stage.needed_bytes(grid, [camera]))
"""


@pytest.mark.skipif(
    not os.access('/proc/self/clear_refs', os.W_OK), reason='no peaks are told by this system'
)
@pytest.mark.parametrize('mode', ['projected', 'global'])
def test_at_200_by_200_cells_and_one_image(mode):
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, '-c', MEASURE, mode],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {'PYTHONPATH': f'{root}{os.pathsep}{os.environ.get("PYTHONPATH", "")}'},
    )
    measured, computed = map(int, done.stdout.split())
    assert 0.6 * computed < measured < 1.25 * computed
    assert measured < 400 * MIB


def test_weights_that_are_stored_do_not_fit_4_gb():
    stored = global_bytes(40_000, 156 * 47, 128, 4, fused=False)
    fused = global_bytes(40_000, 156 * 47, 128, 4, fused=True)
    assert fused < 200 * MIB < 4096 * MIB < stored


def test_projected_grows_with_what_is_seen():
    assert projected_bytes(100, 0, 128, 64) == 4 * 8 * 100 * 128
    assert projected_bytes(100, 5000, 128, 64) == 4 * (5000 * (64 + 3 * 128) + 4 * 100 * 128)


def test_free_memory_of_the_cpu():
    total = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    assert 0 < free_bytes(torch.device('cpu')) <= total


def test_without_knowing_the_kernel_the_worst_is_taken(monkeypatch):
    monkeypatch.delattr(torch, '_fused_sdp_choice', raising=False)
    assert attention_is_fused(torch.device('cpu'), torch.float32, 32) is False


@pytest.mark.gpu
def test_free_memory_of_a_gpu():
    cuda = torch.device('cuda')
    assert 0 < free_bytes(cuda) <= torch.cuda.get_device_properties(cuda).total_memory
