# SPDX-License-Identifier: Apache-2.0
"""The networks, in plain PyTorch; usable without ROS."""

from tiny_bev_ros.models.backbone import TinyBEVBackbone
from tiny_bev_ros.models.camera import Camera, make_camera
from tiny_bev_ros.models.camera_encoder import CameraEncoder
from tiny_bev_ros.models.checkpoint import (
    load_backbone,
    load_camera_encoder,
    load_fusion,
    load_heads,
    load_pfn,
)
from tiny_bev_ros.models.deep_backbone import DeepBEVBackbone
from tiny_bev_ros.models.deformable_backbone import DeformableBEVBackbone
from tiny_bev_ros.models.device import resolve_device, why_no_cuda
from tiny_bev_ros.models.fpn_backbone import FpnBEVBackbone
from tiny_bev_ros.models.futr_fusion import FuTrFusion
from tiny_bev_ros.models.pillar_feature_net import PillarFeatureNet
from tiny_bev_ros.models.pillars import scatter
from tiny_bev_ros.models.registry import (
    FeatureInfo,
    build_backbone,
    list_backbones,
    register_backbone,
)
from tiny_bev_ros.models.seeding import seeded
from tiny_bev_ros.models.tokens import from_tokens, position_encoding, to_tokens
from tiny_bev_ros.models.transformer_backbone import TransformerBEVBackbone

__all__ = [
    'Camera',
    'CameraEncoder',
    'DeepBEVBackbone',
    'DeformableBEVBackbone',
    'FeatureInfo',
    'FpnBEVBackbone',
    'FuTrFusion',
    'PillarFeatureNet',
    'TinyBEVBackbone',
    'TransformerBEVBackbone',
    'build_backbone',
    'from_tokens',
    'list_backbones',
    'load_backbone',
    'load_camera_encoder',
    'load_fusion',
    'load_heads',
    'load_pfn',
    'make_camera',
    'position_encoding',
    'register_backbone',
    'resolve_device',
    'scatter',
    'seeded',
    'to_tokens',
    'why_no_cuda',
]
