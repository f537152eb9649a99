# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Prints for setup.sh: none, good, or the Python for which the rclpy that is found was built.

usage: find_rclpy.py FOLDER    where FOLDER is the virtual environment, which is ignored
"""

import importlib.util
import re
import sys
from pathlib import Path


def built_for(package: Path) -> str:
    """Returns the Python of an rclpy package, from its extension module or its path."""
    names = [each.name for each in package.glob('_rclpy_pybind11*.so')]
    for text in (*names, str(package)):
        found = re.search(r'(?:cpython-|python)3\.?(\d+)', text)
        if found:
            return f'Python 3.{found[1]}'
    return 'another Python'


spec = importlib.util.find_spec('rclpy')
if spec is None or spec.origin is None or Path(sys.argv[1]) in Path(spec.origin).parents:
    print('none')
else:
    try:
        import rclpy  # noqa: F401
        from rclpy.node import Node  # noqa: F401 - later releases load the extension with it
    except Exception:  # loading an extension may raise anything
        print(built_for(Path(spec.origin).parent))
    else:
        print('good')
