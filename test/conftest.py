# SPDX-License-Identifier: Apache-2.0
"""What the tests share: where real sensor data lies, and which tests need a GPU."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tiny_bev_ros.optional_imports import import_optional, take_notes

if TYPE_CHECKING:
    from acted_machine import Machine
    from ros_graph import RosGraph

# Optional, and perhaps absent on a ROS machine.
_BY_PACKAGE = {
    'rosbags': [
        'bag/test_reader.py',
        'bag/test_cameras.py',
        'bag/test_incomplete_bags.py',
        'bag/test_box_labels.py',
        'bag/test_other_topics.py',
        'bag/test_player.py',
        'system/test_cloud_demo.py',
        'system/test_fusion_demo.py',
        'bag/test_schedule.py',
        'bag/test_street_bag.py',
    ],
    'safetensors': [
        'models/checkpoint/test_loading.py',
        'system/test_fusion_demo.py',
        'experiments/test_ablation_modes.py',
        'experiments/test_fusion_ablation.py',
        'models/checkpoint/test_shipped_weights.py',
        'training/test_train.py',
    ],
    'numba': [
        'benchmarks/test_contenders.py',
        'benchmarks/test_end_to_end.py',
        'benchmarks/test_scaling.py',
        'benchmarks/test_benchmark_inputs.py',
        'sim/test_colours.py',
        'system/test_fusion_demo.py',
        'training/test_augment.py',
        'training/test_dataset.py',
        'training/test_simulated_lidar.py',
        'experiments/test_ablation_modes.py',
        'experiments/test_fusion_ablation.py',
        'inference/kernels/test_canvas_kernels.py',
        'inference/test_fused_pfn.py',
        'sim/test_pinhole_camera.py',
        'training/test_simulated_camera.py',
        'sim/test_lidar.py',
        'experiments/test_sim_gallery.py',
        'inference/kernels/test_simd.py',
        'bag/test_street_bag.py',
        'training/test_train.py',
        'training/test_training_config.py',
        'inference/kernels/test_winograd.py',
    ],
}
# Installed does not mean that a package works.
_MISSING = {name: why_not for name in _BY_PACKAGE if (why_not := import_optional(name).why_not)}
collect_ignore = [file for name in _MISSING for file in _BY_PACKAGE[name]]


def pytest_report_header() -> list[str]:
    return [f'left out, as {why_not}: {_BY_PACKAGE[name]}' for name, why_not in _MISSING.items()]


@pytest.fixture(autouse=True)
def _optional_packages() -> Iterator[None]:
    """No test sees the stand-ins that another one put in place of packages."""
    import_optional.cache_clear()
    yield
    import_optional.cache_clear()
    take_notes()


@pytest.fixture(scope='session')
def data_dir() -> Path:
    """Folder of real sensor data; tests that need it skip where it is absent."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get('TINY_BEV_DATA', root.parent / 'shared' / 'data'))
    if not folder.is_dir():
        pytest.skip(f'no sensor data in {folder} (set TINY_BEV_DATA)')
    return folder


@pytest.fixture(scope='session', autouse=True)
def _own_networks() -> Iterator[None]:
    """Nodes in this process have small networks of random weights unless a test names others."""
    with pytest.MonkeyPatch.context() as patch:
        if import_optional('rclpy').module is not None:
            patch.setattr('tiny_bev_ros.nodes.shipped_weights.AUTO', 'none')
        yield


@pytest.fixture
def acted() -> Iterator[Machine]:
    """Two CUDA devices, acted out on the CPU."""
    from acted_cuda import acted_cuda

    with acted_cuda(2) as machine:
        yield machine


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[RosGraph]:
    """A ROS graph of real processes; needs the built package."""
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix
    from ros_graph import RosGraph

    try:
        get_package_prefix('tiny_bev_ros')
    except PackageNotFoundError:
        pytest.skip('tiny_bev_ros is not built, or its install/local_setup.bash not sourced')
    graph = RosGraph(tmp_path)
    yield graph
    graph.close()


def pytest_collection_finish() -> None:
    """Leaves what was imported out of collections of garbage, which nodes do at each change."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gpu_items = [item for item in items if item.get_closest_marker('gpu')]
    if not gpu_items:
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason='no CUDA device'))
