# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

from pathlib import Path

from benchmark_result import result
from matplotlib.figure import Figure

from benchmarks import charts


def test_scaling(tmp_path: Path):
    charts.plot_scaling(result()['engine']['scaling'], tmp_path / 'scaling.png')
    assert (tmp_path / 'scaling.png').read_bytes().startswith(b'\x89PNG')


def test_contenders_have_a_panel_per_thread_count_and_readable_names(monkeypatch, tmp_path: Path):
    figures: list[Figure] = []
    save = Figure.savefig

    def kept(figure: Figure, *arguments, **keywords):
        figures.append(figure)
        save(figure, *arguments, **keywords)

    monkeypatch.setattr(Figure, 'savefig', kept)
    charts.plot_contenders(result()['engine']['runs'], tmp_path / 'contenders.png')
    assert (tmp_path / 'contenders.png').read_bytes().startswith(b'\x89PNG')
    (figure,) = figures
    assert [axes.get_title() for axes in figure.axes] == [
        f'2 inputs: sweep, threads: {threads}' for threads in (1, 2)
    ]
    labels = figure.axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == [
        'eager',
        'PointPillars backbone',
        'engine float32',
    ]
    boxes = [label.get_window_extent() for label in labels]
    assert not any(a.overlaps(b) for a in boxes for b in boxes if a is not b)
