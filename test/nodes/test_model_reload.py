# SPDX-License-Identifier: Apache-2.0
"""What each parameter costs that changes while a node runs: which networks are made anew."""

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

PARTS = ('stage', 'engine', 'heads', 'camera', 'fusion')
# Weights of each of the networks.
WEIGHTS = dict(zip(PARTS, ('pfn', 'backbone', 'heads', 'camera', 'fusion'), strict=True))
FILES = {
    'pfn.checkpoint': 'stage',
    'backbone.checkpoint': 'engine',
    'heads.checkpoint': 'heads',
    'camera.checkpoint': 'camera',
    'fusion.checkpoint': 'fusion',
}
# Another value than the default, and what is made anew for it.
WORK: dict[str, tuple[Any, set[str]]] = {
    **{name: ('a file', {part}) for name, part in FILES.items()},
    'backbone.precision': ('bfloat16', {'engine', 'heads', 'camera', 'fusion'}),
    'backbone.sparsity': ('never', {'engine'}),
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
    context.init(domain_id=107)
    overrides = [RosParameter(name, value=value) for name, value in SMALL.items()]
    node = PipelineNode(context=context, parameter_overrides=overrides)
    assert node.start()
    yield node
    node.destroy_node()
    context.try_shutdown()


@pytest.fixture
def files(node: PipelineNode, tmp_path: Path) -> dict[str, str]:
    """Weights for each network, none as they are now."""
    paths = {}
    for name, part in FILES.items():
        paths[name] = str(tmp_path / f'{part}.pt')
        model = getattr(node.weights, WEIGHTS[part])
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

    def note(loader: Any, model: Any, name: str, *rest: Any) -> Any:
        names.append(name)
        return load(loader, model, name, *rest)

    monkeypatch.setattr(model_factory, '_load', note)
    return names


def change(node: PipelineNode, name: str, value: Any) -> set[str]:
    """Sets a parameter; the networks that were made anew."""
    before = node.ladder.built
    choices = dict(node.ladder.built.engine._by_shape)
    result = node.set_parameters_atomically([RosParameter(name, value=value)])
    assert result.successful, result.reason
    after = node.ladder.built
    anew = {part for part in PARTS if getattr(after, part) is not getattr(before, part)}
    if 'engine' not in anew:  # and its buffers are not given up
        assert after.engine._by_shape == choices
    return anew


def test_each_parameter_that_may_change_is_listed():
    assert set(WORK) == {name for name, each in parameters.ALL.items() if each.changes == 'always'}


@pytest.mark.parametrize('name', WORK)
def test_a_change_makes_anew_what_it_concerns_and_nothing_else(node, files, read, capfd, name):
    value, anew = WORK[name]
    weights, default = node.weights, node.values[name]
    capfd.readouterr()
    assert change(node, name, files.get(name, value)) == anew
    assert read == ([name] if name in FILES else [])
    said = capfd.readouterr().err
    assert {other for other in FILES if f'{other}: ' in said} == {*read}
    assert 'UNTRAINED' not in said
    for part, attribute in WEIGHTS.items():
        is_new = name in FILES and part in anew
        assert (getattr(node.weights, attribute) is not getattr(weights, attribute)) == is_new
    # The same once more is read, as it may be another file by now, but is no other.
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
    digest = node.weights.digests['heads.checkpoint']
    state = torch.load(path, weights_only=True)
    torch.save({name: value + 1 for name, value in state.items()}, path)
    assert change(node, 'heads.checkpoint', path) == {'heads'}
    assert node.weights.digests['heads.checkpoint'] != digest
    change(node, 'heads.checkpoint', '')


def test_networks_that_were_built_for_a_change_are_built_whole_after_a_deactivation(node, files):
    change(node, 'heads.checkpoint', files['heads.checkpoint'])
    engine = node.ladder.built.engine
    node.trigger_deactivate()
    assert node.ladder.built is None
    node.trigger_activate()
    built = node.ladder.built
    assert all(getattr(built, part) is not None for part in PARTS)
    assert built.engine is not engine
    change(node, 'heads.checkpoint', '')


def test_what_short_memory_forced_is_undone_by_setting_it_again(node):
    ladder = node.ladder
    ladder.release()
    ladder.settings = replace(ladder.settings, sparsity='never')
    forced = ladder.networks.engine
    assert change(node, 'backbone.sparsity', 'auto') == {'engine'}
    assert ladder.settings.sparsity == 'auto'
    assert ladder.built.engine is not forced
    assert change(node, 'backbone.sparsity', 'auto') == set()
