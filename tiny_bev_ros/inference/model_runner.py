# SPDX-License-Identifier: Apache-2.0
"""The one object that runs the networks: points to pillars to BEV features to head outputs."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor, nn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.grid import BevGrid
from tiny_bev_ros.inference.backbone_runner import BackboneRunner
from tiny_bev_ros.inference.camera_runner import CameraRunner
from tiny_bev_ros.inference.device_timer import StageTimer
from tiny_bev_ros.inference.fusion_runner import FusionRunner, View
from tiny_bev_ros.inference.head_runner import HeadOutputs, HeadRunner
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory import NotEnoughMemoryError, translate_oom
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig
from tiny_bev_ros.inference.pillar_runner import PillarRunner
from tiny_bev_ros.models.camera.encoder import CameraEncoder
from tiny_bev_ros.models.camera.geometry import Camera

# Memory of a backbone, in bytes, from which on its first run takes seconds.
_LONG_START = 2**30


class Logger(Protocol):
    """Logger of ROS or of Python."""

    def info(self, message: str, /) -> object:
        """Logs a line of information."""

    def warning(self, message: str, /) -> object:
        """Logs a warning."""


LOGGER: Logger = logging.getLogger('tiny_bev_ros')


class EncodedPillars(NamedTuple):
    """Pillars of one cloud that hold a point.

    Attributes:
        features: (P,C) float32 pillar features.
        cells: (P,2) int64 [row, col] on the grid.
        inside: number of points that lie on the grid.
    """

    features: Tensor
    cells: Tensor
    inside: int


class FrameOutputs(NamedTuple):
    """Results of one pass through all networks.

    Attributes:
        pillars: pillars of the cloud.
        features: (1,C,h,w) float32 BEV features on the device, fused where there were images;
            overwritten by the second next pass.
        heads: objects and drivable area.
        seconds: time of each stage, by the device's clock: pillars, backbone, with images
            encoder and fusion, heads.
    """

    pillars: EncodedPillars
    features: Tensor
    heads: HeadOutputs
    seconds: dict[str, float]


@dataclass(frozen=True)
class ModelRunner:
    """Networks that are ready to run on one device, any of which may be missing.

    Each stage is a method; a call runs all stages. Stages of networks that are missing must not
    be called. The attributes are named as those of LoadedModels.

    Attributes:
        pfn: points to pillars.
        backbone: pillars or pseudo-images to BEV features.
        heads: BEV features to objects and drivable area.
        camera: images to camera features.
        fusion: BEV features and camera features to fused BEV features.
        grid: grid of the pseudo-image; None without a pillar feature net.
    """

    pfn: PillarRunner | None = None
    backbone: BackboneRunner | None = None
    heads: HeadRunner | None = None
    camera: CameraRunner | None = None
    fusion: FusionRunner | None = None
    grid: BevGrid | None = None

    @classmethod
    def build(
        cls,
        models: LoadedModels,
        config: ExecutionConfig,
        *,
        shape: tuple[int, int] | None = None,
        reuse: ModelRunner | None = None,
        logger: Logger = LOGGER,
    ) -> ModelRunner:
        """Prepares copies of networks for a device and warms them up.

        The networks themselves stay as they are, so that other runners can be built from them.

        Args:
            models: networks with their weights.
            config: device, precision and sparsity.
            shape: (H,W) of the pseudo-image for which the backbone is warmed up; None where it
                is unknown, and then the first frame takes longer.
            reuse: runners of networks that are taken as they are.
            logger: receives a line for each setting that has no effect, and one before a warm-up
                that takes long.

        Raises:
            TinyBevError: a setting is not possible; the message begins with its name.
            NotEnoughMemoryError: memory is short.
        """
        reuse = reuse or cls()
        pfn, backbone, heads = reuse.pfn, reuse.backbone, reuse.heads
        camera, fusion = reuse.camera, reuse.fusion
        with translate_oom('the networks'):
            if pfn is None and models.pfn is not None and models.grid is not None:
                pfn = PillarRunner(copy.deepcopy(models.pfn), models.grid.near, config.device)
                pfn.warm_up()
            if backbone is None and models.backbone is not None:
                backbone = _build_backbone(models.backbone, config, logger)
                if shape is not None:
                    _announce_long_start(backbone.needed_bytes(shape), shape, logger)
                    backbone.warm_up(shape)
            if heads is None and models.heads is not None:
                heads = HeadRunner(dict(models.heads.items()), config.device, config.precision)
            if camera is None and models.camera is not None:
                camera = _build_camera(models.camera, config)
            if fusion is None and models.fusion is not None:
                fusion = FusionRunner(models.fusion, config.device, config.precision)
        return cls(pfn, backbone, heads, camera, fusion, models.grid)

    @property
    def feature_grid(self) -> BevGrid:
        """Grid of the BEV features, the fused features and the drivable area."""
        assert self.grid is not None and self.backbone is not None
        return self.grid.strided(self.backbone.stride)

    def __call__(
        self,
        points: np.ndarray,
        min_scores: tuple[float, ...],
        images: Sequence[tuple[np.ndarray, Camera] | None] = (),
    ) -> FrameOutputs:
        """Runs all stages on one cloud and, where there are any, on its images.

        Args:
            points: (N,4) or (N,5) float32, see `encode_points`.
            min_scores: least score of an object, for each class.
            images: for each camera its (H,W,3) uint8 image and its intrinsics and pose in the
                frame of the points; None for one that is missing.

        Raises:
            TinyBevError: see the stages.
        """
        assert self.pfn is not None and self.grid is not None
        timer = StageTimer(self.pfn.device)
        pillars = self.encode_points(points)
        timer.lap('pillars')
        features = self.extract_features(pillars.features, pillars.cells, self.grid.shape)
        timer.lap('backbone')
        grid = self.feature_grid
        if images:
            views = [image and self.encode_image(*image) for image in images]
            timer.lap('encoder')
            features = self.fuse(features, grid, views)
            timer.lap('fusion')
        outputs = self.detect(features, grid, min_scores)
        timer.lap('heads')
        return FrameOutputs(pillars, features, outputs, timer.seconds())

    def encode_points(self, points: np.ndarray) -> EncodedPillars:
        """Encodes a cloud as pillars; stage 'pillars'. See `PillarRunner.pillars`."""
        assert self.pfn is not None
        return EncodedPillars(*self.pfn.pillars(points), self.pfn.points_inside)

    def extract_features(self, features: Tensor, cells: Tensor, shape: tuple[int, int]) -> Tensor:
        """Computes BEV features (1,C,h,w) of pillars on a grid of (H,W); stage 'backbone'.

        See `BackboneRunner.from_checked`.
        """
        assert self.backbone is not None
        return self.backbone.from_checked(features, cells, shape)

    def extract_features_dense(self, pseudo_image: Tensor) -> Tensor:
        """Computes BEV features (B,C,h,w) of pseudo-images; stage 'backbone'.

        See `BackboneRunner`.
        """
        assert self.backbone is not None
        return self.backbone(pseudo_image)

    def encode_image(self, rgb: np.ndarray, camera: Camera) -> View:
        """Computes features of one image; stage 'encoder'. See `CameraRunner`."""
        assert self.camera is not None
        return self.camera(rgb, camera)

    def fuse(self, bev: Tensor, grid: BevGrid, views: Sequence[View | None]) -> Tensor:
        """Fuses BEV features with camera features; stage 'fusion'. See `FusionRunner`."""
        assert self.fusion is not None
        return self.fusion(bev, grid, views)

    def detect(
        self, features: Tensor, grid: BevGrid, min_scores: tuple[float, ...]
    ) -> HeadOutputs:
        """Finds objects and drivable area in BEV features; stage 'heads'. See `HeadRunner`."""
        assert self.heads is not None
        return self.heads(features, grid, min_scores)

    def release(self, successor: ModelRunner | None = None) -> None:
        """Frees the buffers of the backbone, unless ``successor`` goes on with it.

        The other networks keep none.
        """
        shared = successor is not None and successor.backbone is self.backbone
        if self.backbone is not None and not shared:
            self.backbone.release()


def _build_backbone(network: nn.Module, config: ExecutionConfig, logger: Logger) -> BackboneRunner:
    with _prefix('backbone.'):
        runner = BackboneRunner(
            copy.deepcopy(network),
            config.device,
            precision=config.precision,
            sparsity=config.sparsity,
            threads=config.threads,
        )
    if runner.dense_reason and config.sparsity == 'auto':
        logger.warning(
            f'backbone.sparsity has no effect, every cell is computed: {runner.dense_reason}'
        )
    if runner.float32_reason:
        logger.warning(
            f'backbone.precision is {config.precision}, but the compute dtype is float32: '
            f'{runner.float32_reason}'
        )
    return runner


def _build_camera(encoder: CameraEncoder, config: ExecutionConfig) -> CameraRunner:
    with _prefix('camera.'):
        runner = CameraRunner(
            encoder,
            config.device,
            config.precision,
            resize_width=config.resize_width,
            crop_height=config.crop_height,
        )
    if config.resize_width and config.crop_height:
        runner.warm_up((config.resize_width, config.crop_height))
    return runner


def _announce_long_start(needed: int, shape: tuple[int, int], logger: Logger) -> None:
    if needed > _LONG_START:
        logger.info(
            f'warming up for a grid of {shape[0]} x {shape[1]} cells, which takes about '
            f'{needed / 2**20:.0f} MiB and some time'
        )


@contextmanager
def _prefix(name: str) -> Iterator[None]:
    """Lets the message of an error begin with the network that it is about."""
    try:
        yield
    except NotEnoughMemoryError:
        raise
    except TinyBevError as error:
        raise TinyBevError(f'{name}{error}') from None
