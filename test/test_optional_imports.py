# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Packages that are installed and do not work are left out, and one line tells so."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.messages import compat, detections
from tiny_bev_ros.messages.image import decode_image, encode_image
from tiny_bev_ros.models import CameraEncoder
from tiny_bev_ros.nodes.debug_publisher import _STAMPED, debug_type
from tiny_bev_ros.nodes.extrinsics_provider import ExtrinsicsProvider
from tiny_bev_ros.nodes.heads_node import HeadsNode
from tiny_bev_ros.optional_imports import import_optional, take_notes

FAULTS = {
    'another NumPy': "raise ImportError('numpy.core.multiarray failed to import')",
    'another ABI': "raise AttributeError('_ARRAY_API not found\\nA module that was compiled')",
    'a binary': "raise SystemError('initialization failed')",
    'a library': "raise OSError('libcudart.so.12: cannot open shared object file')",
    'a version': "raise RuntimeError('operator torchvision::nms does not exist')",
    'a part': 'import a_package_that_is_missing',
    'a way out': "import sys; sys.exit('not on this machine')",
}


@pytest.fixture(params=FAULTS)
def broken(request, tmp_path, monkeypatch):
    """Puts a broken package on the path, which is found and cannot be imported."""

    def put(package):
        for name in list(sys.modules):
            if name.partition('.')[0] == package:
                monkeypatch.delitem(sys.modules, name)
        (tmp_path / package).mkdir()
        (tmp_path / package / '__init__.py').write_text(FAULTS[request.param])
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(str(tmp_path))
    compat._load_bridge.cache_clear()
    yield put
    compat._load_bridge.cache_clear()


def the_note(package):
    """Returns the one line that names a package."""
    (note,) = take_notes()
    assert note.startswith(package)
    assert 'cannot be used (' in note
    assert note.isprintable()
    return note


def test_images_without_cv_bridge(broken):
    broken('cv_bridge')
    rgb = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    for _ in range(2):
        assert np.array_equal(decode_image(encode_image(rgb, (0, 0), '')), rgb)
    assert 'NumPy converts images' in the_note('cv_bridge')


def test_clouds_without_sensor_msgs_py(broken):
    broken('sensor_msgs_py')
    for _ in range(2):
        assert compat.cloud_dtype([]).itemsize == 0
    assert 'NumPy reads clouds' in the_note('sensor_msgs_py')


def test_boxes_without_vision_msgs(broken):
    broken('vision_msgs')
    assert detections.vision_msgs() is None
    assert detections.vision_msgs() is None
    assert 'there is no topic detections' in the_note('vision_msgs')


def test_times_without_the_messages_of_autoware(broken):
    for package in _STAMPED:
        broken(package)
    assert debug_type().__name__ == 'Float64'
    notes = take_notes()
    assert [note.partition('.')[0] for note in notes] == list(_STAMPED)


def test_networks_of_timm(broken):
    broken('timm')
    with pytest.raises(TinyBevError, match=r'pip install timm \(timm cannot be used \(') as error:
        CameraEncoder('resnet18', 64, 8)
    assert str(error.value).isprintable()
    assert take_notes() == []


def test_mounts_without_tf2(broken):
    broken('tf2_ros')
    mounts = ExtrinsicsProvider(None, {'front': None})
    with pytest.raises(TinyBevError, match=r'there is no TF \(tf2_ros cannot be used \('):
        mounts.lookup('front', 'map', 'camera', (1, 0))


def test_a_package_that_is_missing_is_no_fault():
    assert import_optional('not_there.msg', 'x') == (None, 'not_there is not installed')
    assert take_notes() == []


def test_a_node_says_it_once(broken):
    broken('vision_msgs')
    context = rclpy.Context()
    context.init()
    overrides = {'heads.names': ['detection'], 'device': 'cpu', 'heads.checkpoint': ''}
    node = HeadsNode(
        context=context,
        parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()],
    )
    lines: list[str] = []
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        logger = node.get_logger()
        logger.warning = lambda text, **_: lines.append(text)
        node.get_logger = lambda: logger
        for _ in range(3):
            node.diagnostics.publish(node.report())
    finally:
        node.destroy_node()
        context.try_shutdown()
    (line,) = [line for line in lines if 'vision_msgs' in line]
    assert re.fullmatch(
        r'vision_msgs\S* cannot be used \(.*\): there is no topic detections', line
    )


NODES_WITHOUT_NUMBA = """
import sys

sys.path.insert(0, sys.argv[1])
import numpy as np
import rclpy
import torch
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from tiny_bev_ros.nodes.backbone_node import BackboneNode
from tiny_bev_ros.nodes.pipeline_node import PipelineNode
from tiny_bev_ros.optional_imports import take_notes

points = np.random.default_rng(0).uniform([0, -8, -3, 0], [16, 8, 1, 1], (500, 4))

def pipeline(networks):
    pillars = networks.pfn.pillars(points.astype(np.float32))
    networks.backbone.from_pillars(*pillars, (32, 32))
    return networks.backbone.statistics.path

def backbone(networks):
    networks.backbone(torch.ones(1, 64, 8, 8))
    return networks.backbone.statistics.path

BACKBONE = {'device': 'cpu', 'backbone.sparsity': 'always', 'backbone.mid_channels': 8,
            'backbone.checkpoint': ''}
PIPELINE = {**BACKBONE, 'grid.x_range': [0.0, 16.0], 'grid.y_range': [-8.0, 8.0],
            'grid.resolution': 0.5, 'pfn.checkpoint': '', 'heads.checkpoint': ''}
context = rclpy.Context()
context.init()
for kind, values, work in (PipelineNode, PIPELINE, pipeline), (BackboneNode, BACKBONE, backbone):
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = kind(context=context, parameter_overrides=overrides)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS, node.fault
    assert node.run('backbone', work) == 'sparse'
    node.destroy_node()
context.try_shutdown()
print(take_notes())
"""


@pytest.mark.parametrize(
    ('package', 'fault', 'words'),
    [
        (
            'numba',
            "raise ImportError('Numba needs NumPy 2.0 or less. Got NumPy 2.4.')",
            'numba cannot be used (ImportError: Numba needs NumPy 2.0 or less. Got NumPy 2.4.)',
        ),
        ('llvmlite', "raise OSError('libLLVM')", 'numba cannot be used (OSError: libLLVM)'),
    ],
)
def test_nodes_take_the_path_of_pytorch_where_numba_does_not_load(tmp_path, package, fault, words):
    (tmp_path / package).mkdir()
    (tmp_path / package / '__init__.py').write_text(fault)
    done = subprocess.run(
        [sys.executable, '-c', NODES_WITHOUT_NUMBA, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'Traceback' not in done.stderr
    assert repr([f'{words}: PyTorch replaces its kernels on the CPU, and is slower']) in (
        done.stdout.strip()
    )


@pytest.fixture
def fresh_numba():
    numba_kernels = importlib.import_module('tiny_bev_ros.inference.numba_support')
    numba_kernels.numba_unavailable_reason.cache_clear()
    yield numba_kernels
    numba_kernels.numba_unavailable_reason.cache_clear()


def test_numba_that_loads_and_does_not_compile_is_told(fresh_numba, monkeypatch):
    trial = pytest.importorskip('tiny_bev_ros.inference.kernels.trial')

    def fail(_):
        raise ValueError('LLVM: unknown target\nlong story')

    assert fresh_numba.numba_unavailable_reason() == ''
    fresh_numba.numba_unavailable_reason.cache_clear()
    monkeypatch.setattr(trial, '_relu', fail)
    expected = 'numba cannot be used (ValueError: LLVM: unknown target)'
    assert fresh_numba.numba_unavailable_reason() == expected
    fresh_numba.numba_unavailable_reason.cache_clear()
    monkeypatch.setattr(trial, '_relu', lambda row: None)  # as if it computed nothing
    assert fresh_numba.numba_unavailable_reason() == 'numba cannot be used (it computes wrongly)'


FUNCTION = """
from tiny_bev_ros.numba_jit import compiler

@compiler()
def twice(x):
    return 2 * x
"""


def twice_of(folder, name, x):
    """Calls a compiled function of a new module; returns its result and the warnings."""
    (folder / f'{name}.py').write_text(FUNCTION)
    importlib.invalidate_caches()
    sys.modules.pop(name, None)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        result = importlib.import_module(name).twice(x)
    return result, [str(each.message) for each in told]


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    pytest.importorskip('numba')
    module = importlib.import_module('tiny_bev_ros.numba_jit')
    monkeypatch.setattr(module, '_warned', set())
    monkeypatch.syspath_prepend(str(tmp_path))
    return module


@pytest.mark.parametrize('suffix', ['nbi', 'nbc'])
def test_a_broken_cache_of_numba_is_told_once_and_made_anew(compiled, tmp_path, suffix):
    assert twice_of(tmp_path, 'kept', 3) == (6, [])
    files = list(tmp_path.rglob(f'kept*.{suffix}'))
    assert files
    for file in files:
        file.write_bytes(b'garbage\n')
    result, told = twice_of(tmp_path, 'kept', 3)
    assert result == 6
    (line,) = told
    assert line.startswith("numba's cache cannot be used, so this start takes longer: ")
    assert all(file.read_bytes() != b'garbage\n' for file in files)
    compiled._warned.clear()
    assert twice_of(tmp_path, 'kept', 3) == (6, [])


def test_a_cache_that_cannot_be_written_is_told_once(compiled, tmp_path, monkeypatch):
    caching = importlib.import_module('numba.core.caching')

    def refuse(*_):
        raise OSError(30, 'Read-only file system')

    monkeypatch.setattr(caching.IndexDataCacheFile, '_save_index', refuse)
    result, told = twice_of(tmp_path, 'read_only', 3)
    assert result == 6
    (line,) = told
    assert line.endswith('OSError: [Errno 30] Read-only file system')
    assert twice_of(tmp_path, 'read_only_too', 3) == (6, [])


def test_no_place_for_a_cache_is_told_once(compiled, tmp_path, monkeypatch):
    """Without a folder beside the source or in a home, numba fails to define the function."""
    caching = importlib.import_module('numba.core.caching')
    monkeypatch.setattr(caching.CacheImpl, '_locator_classes', [])
    result, told = twice_of(tmp_path, 'homeless', 3)
    assert result == 6
    (line,) = told
    assert 'RuntimeError: cannot cache function' in line


def test_no_module_asks_only_if_a_package_is_installed():
    """A package that does not fit may raise any exception; `optional_imports.py` handles it."""
    root = Path(importlib.import_module('tiny_bev_ros').__file__).parent
    # A module of rclpy that Humble names otherwise is not optional.
    asks = re.compile(r'find_spec|except (\w+, )*\(?(ImportError|ModuleNotFound)(?!.*# Humble)')
    files = [file for file in root.rglob('*.py') if file.name != 'optional_imports.py']
    assert [str(file.relative_to(root)) for file in files if asks.search(file.read_text())] == []
