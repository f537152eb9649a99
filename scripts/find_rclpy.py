# SPDX-License-Identifier: Apache-2.0
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
