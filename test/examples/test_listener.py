# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""examples/listener.py prints the features of a publisher."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from std_msgs.msg import Float32MultiArray

from tiny_bev_ros.messages.tensor import TensorLabels, encode_tensor

if TYPE_CHECKING:
    from ros_graph import RosGraph

pytestmark = pytest.mark.dds
ROOT = Path(__file__).resolve().parents[2]


def test_features_are_printed(graph: RosGraph):
    printed = graph.folder / 'listener.txt'
    with printed.open('wb') as output:
        listener = subprocess.Popen(
            [sys.executable, '-u', 'examples/listener.py', '--ros-args', '-r',
             f'__ns:={graph.namespace}'],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        publisher = graph.publisher(Float32MultiArray, 'bev_features')
        labels = TensorLabels((12, 5), 'lidar')
        publisher.publish(encode_tensor(np.zeros((1, 3, 4, 5), np.float32), labels))
        line = '(1, 3, 4, 5) TensorLabels(stamp=(12, 5)'
        graph.spin_until(lambda: line in printed.read_text() or listener.poll() is not None)
        assert line in printed.read_text()
    finally:
        listener.kill()
        listener.wait()
