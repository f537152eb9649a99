# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Parameters that change while a node runs: the networks that each of them builds anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rclpy
import torch
from rclpy.parameter import Parameter as RosParameter

from tiny_bev_ros.nodes import model_factory, parameters
from tiny_bev_ros.nodes.pipeline_node import PipelineNode

# Network of each weight file.
FILES = {name: part for part, name in model_factory.CHECKPOINTS.items()}
PARTS = tuple(model_factory.CHECKPOINTS)
# Another value than the default, and the networks that are built anew for it.
WORK: dict[str, tuple[Any, set[str]]] = {
    **{name: ('a file', {part}) for name, part in FILES.items()},
    'backbone.precision': ('bfloat16', {'backbone', 'heads', 'camera', 'fusion'}),
    'backbone.sparsity': ('never', {'backbone'}),
    'detection.min_score.vehicle': (0.5, set()),
    'detection.min_score.pedestrian': (0.5, set()),
    'detection.min_score.cyclist': (0.5, set()),
    'sync.slop_ms': (20.0, set()),
    'sync.timeout_ms': (20.0, set()),
    'max_age_ms': (500.0, set()),
    'output_encoding': ('float16', set()),
    'output_roi.x_range': ([0.0, 8.0], set()),
    'output_roi.y_range': ([-4.0, 4.0], set()),
    'bev_image.channel': (3, set()),
    'diagnostics.input_timeout_s': (5.0, set()),
    'diagnostics.latency_warn_ms': (100.0, set()),
    'diagnostics.latency_error_ms': (100.0, set()),
    'diagnostics.rate_warn_hz': (5.0, set()),
    'diagnostics.rate_error_hz': (5.0, set()),
    'diagnostics.dropped_warn_fraction': (0.3, set()),
    'diagnostics.dropped_error_fraction': (0.3, set()),
}
SMALL = {
    'grid.x_range': [0.0, 16.0],
    'grid.y_range': [-8.0, 8.0],
    'grid.resolution': 0.5,
    'device': 'cpu',
    'cameras': ['front'],
    'extrinsics.front': [0.0, 0.0, 0.0, -0.5, 0.5, -0.5, 0.5],
}


@pytest.fixture(scope='module')
def node() -> Iterator[PipelineNode]:
    context = rclpy.Context()
    context.init()
    overrides = [RosParameter(name, value=value) for name, value in SMALL.items()]
    node = PipelineNode(context=context, parameter_overrides=overrides)
    assert node.start()
    yield node
    node.destroy_node()
    context.try_shutdown()


@pytest.fixture
def files(node: PipelineNode, tmp_path: Path) -> dict[str, str]:
    """Weight files for each network, all other than the current ones."""
    paths = {}
    for name, part in FILES.items():
        paths[name] = str(tmp_path / f'{part}.pt')
        model = getattr(node.models.loaded, part)
        state = {
            key: value * 1.5 if value.is_floating_point() else value
            for key, value in model.state_dict().items()
        }
        torch.save(state, paths[name])
    return paths


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with the parameter of each network that is loaded or made at random."""
    names: list[str] = []
    load = model_factory._load

    def note(part: str, *rest: Any) -> Any:
        names.append(model_factory.CHECKPOINTS[part])
        return load(part, *rest)

    monkeypatch.setattr(model_factory, '_load', note)
    return names


def change(node: PipelineNode, name: str, value: Any) -> set[str]:
    """Sets a parameter; returns the networks that were built anew."""
    before = node.models.fallback.built
    chains = dict(node.models.fallback.built.backbone._paths._chains)
    result = node.set_parameters_atomically([RosParameter(name, value=value)])
    assert result.successful, result.reason
    after = node.models.fallback.built
    anew = {part for part in PARTS if getattr(after, part) is not getattr(before, part)}
    if 'backbone' not in anew:  # and its buffers are kept
        assert after.backbone._paths._chains == chains
    return anew


def test_each_parameter_that_may_change_is_listed():
    assert set(WORK) == {name for name, each in parameters.ALL.items() if each.changes == 'always'}


@pytest.mark.parametrize('name', WORK)
def test_a_change_makes_anew_what_it_concerns_and_nothing_else(node, files, read, capfd, name):
    value, anew = WORK[name]
    weights, default = node.models.loaded, node.values[name]
    capfd.readouterr()
    assert change(node, name, files.get(name, value)) == anew
    assert read == ([name] if name in FILES else [])
    log = capfd.readouterr().err
    assert {other for other in FILES if f'{other}: ' in log} == {*read}
    assert 'UNTRAINED' not in log
    for part in PARTS:
        is_new = name in FILES and part in anew
        assert (getattr(node.models.loaded, part) is not getattr(weights, part)) == is_new
    # A file that is set again is read, as its bytes may have changed, and here they have not.
    assert change(node, name, files.get(name, value)) == set()
    assert read == [name, name] * (name in FILES)
    assert change(node, name, default) == anew


def test_nothing_is_made_anew_where_no_file_was_nor_is(node, read, capfd):
    capfd.readouterr()
    for name in FILES:
        assert change(node, name, '') == set()
    assert not read
    assert capfd.readouterr().err == ''


def test_another_file_under_the_same_name_is_taken(node, files, read):
    path = files['heads.checkpoint']
    assert change(node, 'heads.checkpoint', path) == {'heads'}
    digest = node.models.digests['heads']
    state = torch.load(path, weights_only=True)
    torch.save({name: value + 1 for name, value in state.items()}, path)
    assert change(node, 'heads.checkpoint', path) == {'heads'}
    assert node.models.digests['heads'] != digest
    change(node, 'heads.checkpoint', '')


def test_networks_that_were_built_for_a_change_are_built_whole_after_a_deactivation(node, files):
    change(node, 'heads.checkpoint', files['heads.checkpoint'])
    backbone = node.models.fallback.built.backbone
    node.trigger_deactivate()
    assert node.models.fallback.built is None
    node.trigger_activate()
    built = node.models.fallback.built
    assert all(getattr(built, part) is not None for part in PARTS)
    assert built.backbone is not backbone
    change(node, 'heads.checkpoint', '')


def test_what_short_memory_forced_is_undone_by_setting_it_again(node):
    fallback = node.models.fallback
    fallback.release()
    fallback.config = replace(fallback.config, sparsity='never')
    forced = fallback.runner.backbone
    assert change(node, 'backbone.sparsity', 'auto') == {'backbone'}
    assert fallback.config.sparsity == 'auto'
    assert fallback.built.backbone is not forced
    assert change(node, 'backbone.sparsity', 'auto') == set()
