# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Networks in plain PyTorch, usable without ROS. Importing this package registers them."""

from tiny_bev_ros.models.backbones.deep import DeepBEVBackbone
from tiny_bev_ros.models.backbones.deformable import DeformableBEVBackbone
from tiny_bev_ros.models.backbones.fpn import FpnBEVBackbone
from tiny_bev_ros.models.backbones.tiny import TinyBEVBackbone
from tiny_bev_ros.models.backbones.transformer import TransformerBEVBackbone
from tiny_bev_ros.models.camera.encoder import CameraEncoder
from tiny_bev_ros.models.camera.geometry import Camera, make_camera
from tiny_bev_ros.models.checkpoint.loading import (
    load_backbone,
    load_camera_encoder,
    load_checkpoint,
    load_fusion,
    load_heads,
    load_pfn,
)
from tiny_bev_ros.models.device import cuda_unavailable_reason, resolve_device
from tiny_bev_ros.models.fusion.futr import FuTrFusion
from tiny_bev_ros.models.heads.detection_head import DetectionHead
from tiny_bev_ros.models.heads.drivable import DrivableHead
from tiny_bev_ros.models.heads.head_registry import build_heads, list_heads, register_head
from tiny_bev_ros.models.heads.refinement import RefinementHead
from tiny_bev_ros.models.pfn import PillarFeatureNet
from tiny_bev_ros.models.pillars import scatter
from tiny_bev_ros.models.registry import (
    FeatureInfo,
    build_backbone,
    list_backbones,
    register_backbone,
)
from tiny_bev_ros.models.seeding import seeded
from tiny_bev_ros.models.tokens import from_tokens, position_encoding, to_tokens

__all__ = [
    'Camera',
    'CameraEncoder',
    'DeepBEVBackbone',
    'DeformableBEVBackbone',
    'DetectionHead',
    'DrivableHead',
    'FeatureInfo',
    'FpnBEVBackbone',
    'FuTrFusion',
    'PillarFeatureNet',
    'RefinementHead',
    'TinyBEVBackbone',
    'TransformerBEVBackbone',
    'build_backbone',
    'build_heads',
    'cuda_unavailable_reason',
    'from_tokens',
    'list_backbones',
    'list_heads',
    'load_backbone',
    'load_camera_encoder',
    'load_checkpoint',
    'load_fusion',
    'load_heads',
    'load_pfn',
    'make_camera',
    'position_encoding',
    'register_backbone',
    'register_head',
    'resolve_device',
    'scatter',
    'seeded',
    'to_tokens',
]
