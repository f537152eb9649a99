# SPDX-License-Identifier: Apache-2.0
"""Pseudo-images, dense or as pillars, in, bird's-eye-view features out."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import torch

from tiny_bev_ros.client import BevSubscriber
from tiny_bev_ros.messages.labels import TensorLabels
from tiny_bev_ros.messages.pillars import PillarTensor, decode_pillars
from tiny_bev_ros.messages.tensor import BevTensor, decode_tensor
from tiny_bev_ros.nodes import build
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.outputs import FeatureOutput

# Topic and reader for each value of the parameter `input`.
_INPUTS: dict[str, tuple[str, Any]] = {
    'dense': ('pseudo_image', decode_tensor),
    'pillars': ('pillars', decode_pillars),
}


class BackboneNode(BevNode):
    """`pseudo_image` or `pillars` (multi-arrays) to `bev_features` and `bev_image`."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__('backbone_node', **node_options)
        self._engine = build.make_backbone_engine(self.values, self.device, self.get_logger())
        self._output = FeatureOutput(self, self.values, self._engine.channels)
        topic, decode = _INPUTS[self.values['input']]
        limits = {
            'channels': self._engine.in_channels,
            'max_bytes': self.values['max_message_mb'] * 2**20,
        }
        self._input = BevSubscriber(
            self, topic, self.work, decode=partial(decode, **limits), **self.input_options()
        )

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to features or picture."""
        return self._output.wanted

    def work(self, image: BevTensor | PillarTensor) -> None:
        """Publishes the features of one pseudo-image."""
        labels = self._complete(image.labels).strided(self._engine.stride)
        if isinstance(image, PillarTensor):
            features, cells = torch.from_numpy(image.features), torch.from_numpy(image.cells)
            bev = self._engine.from_pillars(features, cells, image.canvas)
        else:
            bev = self._engine(image.tensor)
        self._output.publish(bev, labels)
        self.tally.computed(self._engine.statistics.path)

    def _complete(self, labels: TensorLabels) -> TensorLabels:
        """With the time of arrival and the parameter frame_id where the message says none."""
        if labels.stamp is None:
            received = self.get_clock().now().seconds_nanoseconds()
            labels = dataclasses.replace(labels, stamp=received)
        if labels.frame_id is None:
            labels = dataclasses.replace(labels, frame_id=self.values['frame_id'])
        return labels
