# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Settings of Sphinx, for `make docs` and for rosdoc2.

The API pages import the package without its dependencies: PyTorch, ROS and the rest are mocked.
"""

import os
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
# rosdoc2 builds a copy of this folder, with the repository in sys.path.
if (_HERE.parent / 'package.xml').exists():
    sys.path.insert(0, str(_HERE.parent))
import tiny_bev_ros  # noqa: E402 - after the path

_ROOT = Path(tiny_bev_ros.__file__).resolve().parents[1]

project = 'tiny_bev_ros'
author = 'tiny_bev_ros maintainers'
release = version = tiny_bev_ros.__version__
copyright = f'{author}, Apache-2.0'

# Extensions that rosdoc2 allows.
extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
]
source_suffix = {'.md': 'markdown', '.rst': 'restructuredtext'}
exclude_patterns = ['_build']

myst_enable_extensions = ['colon_fence']
# Links to headings, by the names that GitHub gives them.
myst_heading_anchors = 4

autodoc_mock_imports = [
    'ament_index_python',
    'builtin_interfaces',
    'diagnostic_msgs',
    'geometry_msgs',
    'lifecycle_msgs',
    'nav_msgs',
    'numba',
    'rcl_interfaces',
    'rclpy',
    'rosbags',
    'rosgraph_msgs',
    'safetensors',
    'sensor_msgs',
    'std_msgs',
    'torch',
    'visualization_msgs',
]
add_module_names = False
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Every reference to a name of the package must resolve; those of NumPy, PyTorch and ROS cannot,
# as the inventories of their documentation would have to be fetched.
nitpicky = True
nitpick_ignore_regex = [(r'py:.*', r'(?!tiny_bev_ros\.).*')]

# rosdoc2 replaces the theme by that of docs.ros.org.
html_theme = 'furo'
html_title = 'tiny_bev_ros'
html_static_path = ['_static']
html_css_files = ['custom.css']
html_show_sourcelink = False


def setup(app):
    """Makes paths that begin with ../ relative to the repository, in a copy of this folder too."""
    relative = f'{os.path.relpath(_ROOT, app.srcdir)}/'

    def relocate(_app, _name, source):
        source[0] = source[0].replace('../', relative)

    app.connect('source-read', relocate)
