# SPDX-License-Identifier: Apache-2.0
"""The networks that one node runs, as what a memory ladder builds."""

from __future__ import annotations

from dataclasses import dataclass

from tiny_bev_ros.engine.cameras import CameraStage
from tiny_bev_ros.engine.engine import BackboneEngine
from tiny_bev_ros.engine.fusion import FusionStage
from tiny_bev_ros.engine.heads import HeadStage
from tiny_bev_ros.engine.stages import PillarStage


@dataclass(frozen=True)
class NodeNetworks:
    """Those that a node has; None for the others."""

    stage: PillarStage | None = None
    engine: BackboneEngine | None = None
    heads: HeadStage | None = None
    camera: CameraStage | None = None
    fusion: FusionStage | None = None

    def release(self, kept: NodeNetworks | None = None) -> None:
        """Lets go of the buffers of the backbone, unless ``kept`` goes on with it.

        The other networks have none.
        """
        if self.engine is not None and (kept is None or kept.engine is not self.engine):
            self.engine.release()
