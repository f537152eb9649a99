# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Networks of Autoware's lidar_centerpoint, made of a pillar feature net, backbone and head.

The node decorates points itself, scatters pillar features between both networks and decodes boxes,
so that all other differences between its conventions and those of this package are folded into
weights: the height of base_link, batch norms, the calibration of scores and the order of channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models.bev_detector import BevDetector
from tiny_bev_ros.models.heads.detection import CLASSES
from tiny_bev_ros.models.heads.detection_head import MAX_LOG_SIZE, DetectionHead
from tiny_bev_ros.models.pfn import PillarFeatureNet

# Number of channels of the pseudo-image, a constant of the node, and points of a pillar.
PILLAR_CHANNELS, MAX_POINTS = 32, 32
# Values of a decorated point: x, y, z, time lag, offset to the mean, offset to the cell centre.
POINT_FEATURES = 10
# Index of z, and that of the time lag, where networks of this package have the intensity.
_Z, _TIME_LAG = 2, 3
# Names of the outputs of the second network, in the order in which the node reads them, and their
# numbers of channels.
HEAD_OUTPUTS = {'heatmap': len(CLASSES), 'reg': 2, 'height': 1, 'dim': 3, 'rot': 2, 'vel': 2}


class VoxelEncoder(nn.Module):
    """Pillar feature net on the padded pillars of Autoware.

    Args:
        pfn: pillar feature net of ten channels.
        sensor_height: z of the origin that the pillar feature net expects, in the frame of
            Autoware's cloud, in metres.

    Raises:
        TinyBevError: the node has no such pillars.
    """

    def __init__(self, pfn: PillarFeatureNet, sensor_height: float) -> None:
        super().__init__()
        _check_pfn(pfn)
        norm = pfn.norm
        assert norm.running_var is not None and norm.running_mean is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = pfn.linear.weight * scale[:, None]
        bias = norm.bias - norm.running_mean * scale - sensor_height * weight[:, _Z]
        self.linear = nn.Linear(POINT_FEATURES, pfn.out_channels)
        with torch.no_grad():
            self.linear.weight.copy_(weight)
            self.linear.bias.copy_(bias)

    def forward(self, points: Tensor) -> Tensor:
        """Computes the features (V,1,C) of pillars (V,32,10) float32, whose padding is 0.

        Padding takes no part in the maximum: networks of this package were trained without.
        """
        present = (points.abs().sum(2, keepdim=True) > 0).to(points.dtype)
        return (torch.relu(self.linear(points)) * present).amax(1, keepdim=True)


class BackboneNeckHead(nn.Module):
    """Backbone and detection head with the outputs of CenterPoint.

    Args:
        backbone: backbone of the registry.
        head: detection head.
        sensor_height: z of the origin of the networks in the frame of Autoware's cloud, in
            metres.
    """

    def __init__(self, backbone: nn.Module, head: DetectionHead, sensor_height: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.shared = head.shared
        count = len(CLASSES)
        weight, bias = head.maps.weight.detach().clone(), head.maps.bias
        assert bias is not None
        bias = bias.detach().clone()
        # Scores are the sigmoid of the calibrated logits.
        weight[:count] *= head.calibration.scale[:, None, None, None]
        bias[:count] = bias[:count] * head.calibration.scale + head.calibration.bias
        bias[count : count + 2] += 0.5  # from the corner of a cell, not from its centre
        bias[count + 2] += sensor_height
        # Width before length, and two more channels, velocities of 0.
        order = [*range(count + 3), count + 4, count + 3, *range(count + 5, len(bias))]
        weight, bias = weight[order], bias[order]
        weight = torch.cat([weight, torch.zeros_like(weight[:2])])
        self.maps = nn.Conv2d(head.maps.in_channels, len(weight), 1)
        with torch.no_grad():
            self.maps.weight.copy_(weight)
            assert self.maps.bias is not None
            self.maps.bias.copy_(torch.cat([bias, torch.zeros_like(bias[:2])]))

    def forward(self, canvas: Tensor) -> tuple[Tensor, ...]:
        """Computes HEAD_OUTPUTS, each (B,K,h,w), of pseudo-images (B,C,H,W)."""
        maps = self.maps(self.shared(self.backbone(canvas)))
        heatmap, reg, height, dim, axis, sign, vel = maps.split(
            [len(CLASSES), 2, 1, 3, 2, 1, 2], dim=1
        )
        dim = dim.clamp(-MAX_LOG_SIZE, MAX_LOG_SIZE)
        return heatmap, reg, height, dim, _rotation(axis, sign), vel


def _rotation(axis: Tensor, heading_sign: Tensor) -> Tensor:
    """Computes (B,2,h,w) r of unit length with a yaw of -atan2(r[0], r[1]) - pi/2.

    Args:
        axis: (B,2,h,w) sine and cosine of twice the yaw, of any length above 0.
        heading_sign: (B,1,h,w) not negative where the cosine of the yaw is not negative.
    """
    axis = axis / axis.square().sum(1, keepdim=True).clamp(min=1e-12).sqrt()
    sin, cos = axis.split(1, dim=1)
    # Half of the angle, by the one of two formulas that does not cancel digits.
    side = torch.where(sin >= 0, torch.ones_like(sin), -torch.ones_like(sin))
    ahead = cos >= 0
    half_cos = torch.where(ahead, 1 + cos, sin.abs())
    half_sin = torch.where(ahead, sin, side * (1 - cos))
    length = (half_cos.square() + half_sin.square()).sqrt()
    length = torch.where(heading_sign >= 0, length, -length)
    return torch.cat([-half_cos / length, -half_sin / length], dim=1)


def autoware_networks(
    network: BevDetector, sensor_height: float
) -> tuple[VoxelEncoder, BackboneNeckHead]:
    """Returns both networks of the node in eval mode.

    Args:
        network: networks of a weight file, in eval mode.
        sensor_height: z of their origin in the frame of Autoware's cloud, in metres.

    Raises:
        TinyBevError: there is no detection head, or the node has no such pillars.
    """
    head = dict(network.heads).get('detection')
    if not isinstance(head, DetectionHead):
        raise TinyBevError(
            f'heads of the weights are {", ".join(network.heads)}; expected a detection head, '
            'which Autoware decodes'
        )
    encoder = VoxelEncoder(network.pfn, sensor_height)
    return encoder.eval(), BackboneNeckHead(network.backbone, head, sensor_height).eval()


def _check_pfn(pfn: PillarFeatureNet) -> None:
    if pfn.out_channels != PILLAR_CHANNELS:
        raise TinyBevError(
            f'pseudo-image has {pfn.out_channels} channels; expected {PILLAR_CHANNELS}, as in '
            "Autoware's node"
        )
    if pfn.in_channels != POINT_FEATURES or pfn.max_points is not None or pfn.legacy_offsets:
        raise TinyBevError(
            f'pillar feature net has {pfn.in_channels} channels, max_points {pfn.max_points} and '
            f'legacy_offsets {pfn.legacy_offsets}; expected {POINT_FEATURES}, None and False, as '
            'in weights of train'
        )
    intensity = float(pfn.linear.weight[:, _TIME_LAG].detach().abs().max())
    if intensity:
        raise TinyBevError(
            f'weights of the intensity are up to {intensity:.2g}; expected 0, as pillars of '
            'Autoware with ten values have no intensity'
        )
