# SPDX-License-Identifier: Apache-2.0
"""The networks that one node runs, as what a memory ladder builds."""

from __future__ import annotations

from dataclasses import dataclass

from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.camera_runner import CameraRunner
from tiny_bev_ros.inference.fusion_runner import FusionRunner
from tiny_bev_ros.inference.head_runner import HeadRunner
from tiny_bev_ros.inference.pillar_runner import PillarRunner


@dataclass(frozen=True)
class ModelRunner:
    """Those that a node has; None for the others."""

    stage: PillarRunner | None = None
    engine: BackboneRunner | None = None
    heads: HeadRunner | None = None
    camera: CameraRunner | None = None
    fusion: FusionRunner | None = None

    def release(self, kept: ModelRunner | None = None) -> None:
        """Lets go of the buffers of the backbone, unless ``kept`` goes on with it.

        The other networks have none.
        """
        if self.engine is not None and (kept is None or kept.engine is not self.engine):
            self.engine.release()
