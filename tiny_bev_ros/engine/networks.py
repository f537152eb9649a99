# SPDX-License-Identifier: Apache-2.0
"""The networks that one node runs, as what a memory ladder builds."""

from __future__ import annotations

from tiny_bev_ros.engine.engine import BackboneEngine
from tiny_bev_ros.engine.heads import HeadStage
from tiny_bev_ros.engine.stages import PillarStage


class PfnNetworks:
    """A pillar feature net alone, which has no buffers to let go of."""

    can_be_sparse = False

    def __init__(self, stage: PillarStage) -> None:
        self.stage = stage

    def release(self) -> None:
        """Nothing."""


class BackboneNetworks:
    """A backbone alone."""

    def __init__(self, engine: BackboneEngine) -> None:
        self.engine = engine

    @property
    def can_be_sparse(self) -> bool:
        """Whether the backbone has a sparse path."""
        return not self.engine.why_dense

    def release(self) -> None:
        """Lets go of the engine's buffers."""
        self.engine.release()


class HeadNetworks:
    """Heads alone, which have no buffers to let go of."""

    can_be_sparse = False

    def __init__(self, heads: HeadStage) -> None:
        self.heads = heads

    def release(self) -> None:
        """Nothing."""


class PipelineNetworks(BackboneNetworks):
    """All of them, one after the other."""

    def __init__(self, stage: PillarStage, engine: BackboneEngine, heads: HeadStage) -> None:
        super().__init__(engine)
        self.stage = stage
        self.heads = heads
