# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""CameraEncoder: images to camera features, by a small network or any network of timm."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tiny_bev_ros.errors import TinyBevError, first_line
from tiny_bev_ros.models.layers import check_positive_int, conv_block
from tiny_bev_ros.models.registry import FeatureInfo
from tiny_bev_ros.optional_imports import import_optional

# Channels of the tiny encoder at strides 2, 4, 8, 16 and 32; mean and deviation of its input.
_TINY_CHANNELS = (16, 32, 64, 96, 128)
_TINY_STATISTICS = ((0.45, 0.45, 0.45), (0.25, 0.25, 0.25))


class CameraEncoder(nn.Module):
    """Encodes the images of any number of cameras to one feature map each.

    Args:
        name: 'tiny', a few convolution blocks, or a network of timm (`timm.list_models()`),
            whose weights begin random: nothing is downloaded.
        out_channels: number of channels of the features, which a 1x1 convolution computes.
        stride: number of pixels per feature, along both axes.

    Attributes:
        in_channels: 3, for red, green and blue.
        channels: number of channels of the features.
        stride: number of pixels per feature.
        feature_info: tuple of FeatureInfo, as backbones have; the last one is the output.

    Raises:
        TinyBevError: the name is unknown, timm is missing, the network has no features of this
            stride, or a number is not a whole one above 0.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str = 'tiny', out_channels: int = 64, stride: int = 8) -> None:
        super().__init__()
        check_positive_int(out_channels=out_channels, stride=stride)
        if name == 'tiny':
            self.body, inner, (mean, deviation) = _tiny(stride)
        else:
            self.body, inner, (mean, deviation) = _from_timm(name, stride)
        self.neck = nn.Conv2d(inner[-1].channels, out_channels, 1)
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('deviation', torch.tensor(deviation).view(3, 1, 1), persistent=False)
        self.in_channels, self.channels, self.stride = 3, out_channels, stride
        self.feature_info = (*inner, FeatureInfo('neck', out_channels, stride))

    def forward(self, images: Tensor) -> Tensor:
        """Computes the features of images.

        Args:
            images: (B,K,3,H,W) float images of K cameras: red, green, blue from 0 to 1.

        Returns:
            (B,K,C,h,w) with h = ceil(H / stride) and w = ceil(W / stride).

        Raises:
            TinyBevError: the images have another shape.
        """
        if images.ndim != 5 or images.shape[2] != 3 or 0 in images.shape[3:]:
            raise TinyBevError(
                f'images have shape {tuple(images.shape)}; expected (B, cameras, 3, H, W)'
            )
        frames, cameras, _, height, width = images.shape
        if not frames * cameras:  # batch norm rejects empty batches
            size = (math.ceil(height / self.stride), math.ceil(width / self.stride))
            return images.new_zeros(frames, cameras, self.channels, *size)
        flat = (images.flatten(0, 1) - self.mean) / self.deviation
        # Padded, as some networks drop pixels that do not fill a feature.
        maps = self.body(pad(flat, (0, -width % self.stride, 0, -height % self.stride)))
        return self.neck(maps[-1]).unflatten(0, (frames, cameras))


class _Stages(nn.ModuleList):
    """Chain of networks that returns the output of each of them."""

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in self:
            x = stage(x)
            maps.append(x)
        return maps


_Body = tuple[nn.Module, tuple[FeatureInfo, ...], tuple[Sequence[float], Sequence[float]]]


def _tiny(stride: int) -> _Body:
    strides = [2 ** (level + 1) for level in range(len(_TINY_CHANNELS))]
    if stride not in strides:
        raise TinyBevError(f"stride is {stride}; expected one of {strides}, as 'tiny' has")
    stages, info, in_channels = _Stages(), [], 3
    for level, channels in enumerate(_TINY_CHANNELS[: strides.index(stride) + 1]):
        stages.append(
            nn.Sequential(
                *conv_block(in_channels, channels, stride=2),
                *(conv_block(channels, channels) if level else ()),
            )
        )
        info.append(FeatureInfo(f'body.{level}', channels, strides[level]))
        in_channels = channels
    return stages, tuple(info), _TINY_STATISTICS


def _from_timm(name: str, stride: int) -> _Body:
    timm = _timm(name)
    # Names with a source or a folder would make timm search the network or the disk.
    if set(name) & set(':/\\') or not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=1)
        hint = f' (did you mean {close[0]}?)' if close else ''
        raise TinyBevError(f"encoder is {name!r}; expected 'tiny' or a network of timm{hint}")
    try:
        body = timm.create_model(name, features_only=True)
        strides = body.feature_info.reduction()
        if stride in strides:
            last = len(strides) - 1 - strides[::-1].index(stride)
            # Indices of the maps that the network returns, which need not begin with the first.
            indices = tuple(body.feature_info.out_indices)[: last + 1]
            body = timm.create_model(name, features_only=True, out_indices=indices)
    except (AssertionError, AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
        raise TinyBevError(
            f'encoder is {name!r}; expected a network that returns features: {first_line(error)}'
        ) from None
    if stride not in strides:
        raise TinyBevError(
            f'stride is {stride}; expected one of {sorted(set(strides))}, as {name!r} has'
        )
    _drop_unused_blocks(body)
    features, modules = body.feature_info, dict(body.named_modules())
    info = tuple(
        FeatureInfo(f'body.{_module_name(modules, module)}', channels, reduction)
        for module, channels, reduction in zip(
            features.module_name(), features.channels(), features.reduction(), strict=True
        )
    )
    _check_maps(name, body, info)
    return body, info, (body.pretrained_cfg['mean'], body.pretrained_cfg['std'])


def _drop_unused_blocks(body: Any) -> None:
    """Drops the blocks behind the last map, which networks like EfficientNet would compute."""
    last = re.match(r'blocks\.(\d+)', body.feature_info.module_name()[-1])
    if last and isinstance(getattr(body, 'blocks', None), nn.Sequential):
        body.blocks = body.blocks[: int(last[1]) + 1]


def _module_name(modules: dict[str, nn.Module], name: str) -> str:
    """Name of a module within timm's wrapper: stages.0 becomes stages_0 in most of them."""
    names = (name, name.replace('.', '_', 1), f'model.{name}', f'body.{name}')
    return next((candidate for candidate in names if candidate in modules), name)


@torch.no_grad()
def _check_maps(name: str, body: nn.Module, info: tuple[FeatureInfo, ...]) -> None:
    """Refuses networks for images of a single size, and those whose channels come last."""
    # Prime numbers of features, as some networks pad their input, and more than in pretraining.
    stride, channels = info[-1].stride, info[-1].channels
    rows, cols, body = 11, 43, body.eval()
    try:
        maps = body(torch.zeros(1, 3, rows * stride, cols * stride))
        result: Any = tuple(maps[-1].shape)
    except (AssertionError, IndexError, RuntimeError, ValueError) as error:
        result = first_line(error)
    body.train()
    expected = (1, channels, rows, cols)
    if result != expected:
        raise TinyBevError(
            f'encoder is {name!r}, which turns an image of {cols * stride} x {rows * stride} '
            f'pixels into {result}; expected a map of shape {expected}'
        )


def _timm(name: str) -> Any:
    """Imports timm on demand: with torchvision the import takes seconds."""
    timm, reason = import_optional('timm')
    if timm is None:
        raise TinyBevError(
            f"encoder is {name!r}; expected 'tiny', or timm and a torchvision that fits PyTorch: "
            f'pip install timm ({reason})'
        )
    return timm
