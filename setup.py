# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

PACKAGE = 'tiny_bev_ros'
SHARE = f'share/{PACKAGE}'


MANIFEST = ElementTree.parse(Path(__file__).with_name('package.xml')).getroot()  # noqa: S314 - our own


def told(element: str) -> str:
    """The text of package.xml, in one line."""
    return ' '.join(MANIFEST.findtext(element).split())


def files(pattern: str) -> list[str]:
    return sorted(str(path) for path in Path().glob(pattern))


setup(
    name=PACKAGE,
    version=told('version'),
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={PACKAGE: ['py.typed', 'weights/*.safetensors']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (SHARE, ['package.xml']),
        (f'{SHARE}/launch', files('launch/*.launch.py')),
        (f'{SHARE}/config', [*files('config/*.yaml'), *files('config/*.xml')]),
    ],
    # PyTorch and NumPy come from rosdep or from requirements/: a build tool that resolved
    # them here would pull gigabytes behind the user's back.
    install_requires=['setuptools'],
    extras_require={'camera': ['timm'], 'test': ['pytest', 'hypothesis']},
    zip_safe=False,
    maintainer=told('maintainer'),
    maintainer_email=MANIFEST.find('maintainer').attrib['email'],
    description=told('description'),
    license=told('license'),
    entry_points={
        'console_scripts': [
            'pfn_node = tiny_bev_ros.nodes.executables:pfn_node',
            'backbone_node = tiny_bev_ros.nodes.executables:backbone_node',
            'camera_node = tiny_bev_ros.nodes.executables:camera_node',
            'fusion_node = tiny_bev_ros.nodes.executables:fusion_node',
            'heads_node = tiny_bev_ros.nodes.executables:heads_node',
            'pipeline_node = tiny_bev_ros.nodes.executables:pipeline_node',
            'bag_player = tiny_bev_ros.tools.executables:bag_player',
            'make_street_bag = tiny_bev_ros.tools.executables:make_street_bag',
            'bench = tiny_bev_ros.tools.executables:bench',
            'soak = tiny_bev_ros.tools.executables:soak',
            'faults = tiny_bev_ros.tools.executables:faults',
            'train = tiny_bev_ros.tools.executables:train',
            'evaluate = tiny_bev_ros.tools.executables:evaluate',
            'sim_page = tiny_bev_ros.tools.executables:sim_page',
            'demo = tiny_bev_ros.tools.executables:demo',
            'demo_fusion = tiny_bev_ros.tools.executables:demo_fusion',
            'fusion_proof = tiny_bev_ros.tools.executables:fusion_proof',
        ],
    },
)
