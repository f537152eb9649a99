# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from __future__ import annotations

from optional_packages import require_packages

require_packages('numba')

import matplotlib.image
import numpy as np

from experiments import sim_gallery


def test_page_of_real_and_simulated_sweeps(tmp_path, monkeypatch, capsys):
    folder = tmp_path / 'data/kitti/velodyne'
    folder.mkdir(parents=True)
    np.random.default_rng(0).uniform(-20, 20, (500, 4)).astype(np.float32).tofile(folder / '1.bin')
    out = tmp_path / 'new/page.png'
    words = [
        'sim_gallery',
        '--seeds',
        '1',
        '--streets',
        '1',
        '--data',
        str(tmp_path / 'data'),
        '--output',
        str(out),
    ]
    monkeypatch.setattr('sys.argv', words)
    sim_gallery.main()
    printed = capsys.readouterr().out
    assert printed.endswith(f'1 real and 1 simulated sweeps: {out}\n')
    assert 'KITTI is left out: ' in printed
    assert printed.splitlines()[0].split() == ['simulated,', 'hdl64', 'simulated,', 'hdl32']
    # The one has twice the beams of the other.
    (occupied,) = (row for row in printed.splitlines() if row.startswith('occupied'))
    assert float(occupied.split()[-2]) > 1.3 * float(occupied.split()[-1])
    image = matplotlib.image.imread(out)
    height, width = image.shape[:2]
    # The table below the panels has 4 of 15.2 inches.
    assert image[int(height * 0.8) :, : width // 4].std() > 0.01
    height = int(height * 11.2 / 15.2)
    # One panel in each of two rows; the others are empty.
    for top in (0, height // 2):
        half = image[top : top + height // 2]
        assert half[:, : width // 4].std() > 0.1
        assert half[:, width // 2 :].std() == 0
