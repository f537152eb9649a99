# SPDX-License-Identifier: Apache-2.0
"""Point clouds in; features, objects and drivable area out, in one process."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tiny_bev_ros.engine.heads import Seen
from tiny_bev_ros.nodes import build
from tiny_bev_ros.nodes.bev_node import BevNode
from tiny_bev_ros.nodes.cloud_input import CloudInput, LabelledCloud
from tiny_bev_ros.nodes.head_output import HeadOutput
from tiny_bev_ros.nodes.outputs import FeatureOutput, PillarOutput


class PipelineNode(BevNode):
    """`points` (PointCloud2) to `bev_features`, `detections` and all else that nodes publish.

    The pillars go from one network to the other as they are: a pseudo-image is laid out only
    for those who subscribe to it.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__('pipeline_node', **node_options)

    def load(self, values: dict[str, Any]) -> build.Weights:
        """Pillar feature net and backbone, which must fit each other."""
        build.check_channels(values)
        build.make_cloud_options(values)  # is wrong now rather than with the first cloud
        logger = self.get_logger()
        return build.load_weights(values, logger, pfn=True, backbone=True, heads=True)

    def make_outputs(self, values: dict[str, Any], networks: Any) -> list[Any]:
        """Pillars, features, picture, objects and drivable area."""
        self._grid, self._stride = networks.stage.grid, networks.engine.stride
        self._pillars = PillarOutput(self, values, self._grid)
        self._fine = self._grid.strided(self._stride)
        self._features = FeatureOutput(self, values, networks.engine.channels, self._fine)
        self._seen = HeadOutput(self, values)
        return [self._pillars, self._features, self._seen]

    def make_input(self, values: dict[str, Any]) -> CloudInput:
        """Clouds."""
        return CloudInput(self, self._grid, self.work)

    def map_shape(self) -> tuple[int, int]:
        """That of the grid."""
        return build.make_grid(self.values).shape

    def work(self, cloud: LabelledCloud) -> None:
        """Publishes what is wanted of one cloud."""
        self.begin(cloud.labels.stamp or (0, 0))
        pillars = self.run('pillars', lambda networks: networks.stage.pillars(cloud.points))
        if self._pillars.wanted:
            with self.publishing():
                self._pillars.publish(pillars, cloud.labels)
        if self._features.wanted or self._seen.wanted:
            shape = self._grid.shape
            features = self.run(
                'backbone', lambda networks: networks.engine.from_pillars(*pillars, shape)
            )
            self.computed()
            labels = cloud.labels.strided(self._stride)
            with self.publishing():
                self._features.publish(features, labels)
            seen = self._look(features)
            with self.publishing():
                if seen is not None:
                    self._seen.publish(seen, labels)
                # Of heads that are not trained nothing is drawn.
                drawn = seen if self.values['heads_checkpoint'] else None
                places = self._places(pillars[1])
                self._features.publish_picture(features, labels, drawn, places)

    def _look(self, features: torch.Tensor) -> Seen | None:
        """What the heads see, if somebody wants it."""
        drawn = self._features.picture_wanted and self.values['heads_checkpoint']
        if not (self._seen.wanted or drawn):
            return None
        scores = self._seen.min_scores
        return self.run('heads', lambda networks: networks.heads(features, self._fine, scores))

    def _places(self, cells: torch.Tensor) -> np.ndarray | None:
        """(N,2) x and y of the pillars, for the picture."""
        if not self._features.picture_wanted:
            return None
        row, col = cells.cpu().numpy().T
        return np.column_stack([self._grid.x_axis.centre(col), self._grid.y_axis.centre(row)])
