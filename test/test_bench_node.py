# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.dds


def test_both_nodes_answer_in_turn_and_leave_the_environment(tmp_path: Path):
    rclpy = pytest.importorskip('rclpy')
    from ament_index_python.packages import get_package_prefix

    try:
        get_package_prefix('tiny_bev_ros')
    except (LookupError, OSError):  # not in the index; no index at all
        pytest.skip('tiny_bev_ros is not built, or its install/local_setup.bash not sourced')
    from tiny_bev_ros.tools.bench_node import SPARSITIES, nodes

    before = dict(os.environ)
    points = np.random.default_rng(0).uniform((1, -30, -2, 0), (60, 30, 0, 1), (500, 4))
    times = nodes(points.astype(np.float32), 1, 2, tmp_path)
    assert list(times) == list(SPARSITIES)
    assert all(len(ms) == 2 and min(ms) > 0 for ms in times.values())
    assert dict(os.environ) == before
    assert len(list(tmp_path.glob('pipeline_node_*.log'))) == 2
    assert not rclpy.ok()
