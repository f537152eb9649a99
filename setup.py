# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

PACKAGE = 'tiny_bev_ros'
SHARE = f'share/{PACKAGE}'


# For machines without ROS, `pip install .[runtime]` and so on; requirements/ has tried versions.
EXTRAS = {
    'runtime': ['numba', 'numpy', 'safetensors', 'torch'],
    'bags': ['pyyaml', 'rosbags', 'tqdm'],
    'train': ['matplotlib', 'pyyaml', 'safetensors', 'tqdm'],
    'extract': ['pyarrow', 'pyyaml', 'rosbags', 'safetensors', 'tqdm'],  # Parquet of detections
    'ray': ['ray'],  # extract on a cluster
    'argoverse': ['pyarrow'],  # sweeps of Argoverse 2 in evaluate
    'camera': ['timm'],  # encoders of other projects; the package's own needs nothing
    'export': ['onnx', 'onnxruntime', 'openvino', 'pyyaml', 'safetensors'],
    'docs': ['furo', 'myst-parser', 'sphinx'],
    'test': ['hypothesis', 'jsonschema', 'pytest', 'pytest-timeout'],
}
MANIFEST = ElementTree.parse(Path(__file__).with_name('package.xml')).getroot()  # noqa: S314 - our own


def manifest_text(element: str) -> str:
    """Returns the text of an element of package.xml, in one line."""
    return ' '.join(MANIFEST.findtext(element).split())


def files(pattern: str) -> list[str]:
    return sorted(str(path) for path in Path().glob(pattern))


def folders(root: str) -> list[tuple[str, list[str]]]:
    """Install entries of all files below a folder, each in the folder of the same name."""
    paths = [path for path in sorted(Path(root).rglob('*')) if path.is_file()]
    parents = sorted({path.parent for path in paths})
    return [
        (f'{SHARE}/{parent}', [str(path) for path in paths if path.parent == parent])
        for parent in parents
    ]


setup(
    name=PACKAGE,
    version=manifest_text('version'),
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={PACKAGE: ['py.typed', 'weights/*.safetensors']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (SHARE, ['package.xml']),
        (f'{SHARE}/launch', files('launch/*.launch.py')),
        *folders('config'),
        *folders('rviz'),
    ],
    # PyTorch and NumPy come from rosdep, from requirements/ or from an extra: a build tool that
    # resolved them here would pull gigabytes behind the user's back.
    install_requires=['setuptools'],
    extras_require=EXTRAS,
    zip_safe=False,
    maintainer=manifest_text('maintainer'),
    maintainer_email=MANIFEST.find('maintainer').attrib['email'],
    description=manifest_text('description'),
    license=manifest_text('license'),
    entry_points={
        'console_scripts': [
            'pfn_node = tiny_bev_ros.nodes.main:pfn_node',
            'backbone_node = tiny_bev_ros.nodes.main:backbone_node',
            'camera_node = tiny_bev_ros.nodes.main:camera_node',
            'fusion_node = tiny_bev_ros.nodes.main:fusion_node',
            'heads_node = tiny_bev_ros.nodes.main:heads_node',
            'pipeline_node = tiny_bev_ros.nodes.main:pipeline_node',
            'bag_player = tiny_bev_ros.commands:bag_player',
            'make_street_bag = tiny_bev_ros.commands:make_street_bag',
            'extract = tiny_bev_ros.commands:extract',
            'train = tiny_bev_ros.commands:train',
            'train_second_stage = tiny_bev_ros.commands:train_second_stage',
            'evaluate = tiny_bev_ros.commands:evaluate',
            'export = tiny_bev_ros.commands:export',
            'demo = tiny_bev_ros.commands:demo',
            'demo_fusion = tiny_bev_ros.commands:demo_fusion',
        ],
    },
)
