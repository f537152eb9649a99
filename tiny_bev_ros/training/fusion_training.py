# SPDX-License-Identifier: Apache-2.0
"""What a camera adds to a LiDAR: the same network trained with one, the other, and both.

All of them see the same frames in the same order, for as many steps. With both, what the heads
say is judged twice: with what the camera told, and without, so that the LiDAR stays enough where
the camera is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models import CameraEncoder, FuTrFusion, seeded
from tiny_bev_ros.models.bev_detector import BevDetector, build_detector
from tiny_bev_ros.models.camera.geometry import Camera
from tiny_bev_ros.models.heads.box_ops import iou_bev
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.models.heads.head_registry import (
    DecodeOptions,
    compute_losses,
    compute_targets,
    head_class,
    map_tensors,
    stack_targets,
)
from tiny_bev_ros.training.average_precision import Ranking
from tiny_bev_ros.training.dataset import FEWEST_POINTS, frame_labels
from tiny_bev_ros.training.labelled_frame import Frame
from tiny_bev_ros.training.simulated_camera import (
    CLASSES,
    GRID,
    CameraFrame,
    as_input,
    camera,
    mirrored,
    sighted,
)
from tiny_bev_ros.training.trainer import LARGEST_GRADIENT, lay_channels_last, learning_rate

MODES = ('lidar', 'camera', 'fused')
# From which overlap, seen from above, on an object is found; people are small.
MIN_IOU = (0.5, 0.25, 0.5)
# Seeds of frames for the examination; training begins at 0.
EXAM_SEED = 1_000_000
# Arguments of `build_detector`.
NETWORK: dict[str, Any] = {'out_channels': 64, 'heads': ('detection',)}
_CAMERA_CHANNELS, _CAMERA_STRIDE = 64, 4
_STRIDE = 2
_BATCH = 4
_LEARNING_RATE, _WEIGHT_DECAY, _WARM_UP = 3e-3, 0.01, 0.05
_FLOOR = 0.05


class Batch(NamedTuple):
    """Some frames as a network takes them."""

    points: list[Tensor]
    images: Tensor
    cameras: list[list[Camera | None]]
    targets: dict[str, Any]


class CameraFrames(Dataset):
    """Frames of some seeds, each made once and kept in a folder.

    Args:
        folder: for them.
        seeds: of the frames.
    """

    def __init__(self, folder: Path, seeds: range) -> None:
        self._folder, self._seeds = folder, seeds
        folder.mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        return len(self._seeds)

    def __getitem__(self, index: int) -> CameraFrame:
        path = self._folder / f'{self._seeds[index]}.npz'
        if path.is_file():
            with np.load(path) as kept:
                frame = Frame(kept['points'], kept['owner'], kept['boxes'], kept['labels'])
                return CameraFrame(frame, kept['image'], bool(kept['dark']))
        made = sighted(self._seeds[index])
        frame = made.frame
        new = path.with_suffix('.new.npz')
        np.savez(
            new,
            points=frame.points,
            owner=frame.owner,
            boxes=frame.boxes,
            labels=frame.labels,
            image=made.image,
            dark=made.dark,
        )
        new.replace(path)
        return made


def build_network(mode: str, seed: int) -> BevDetector:
    """The network of a mode, with fresh weights; all modes have the same parts.

    But for the channels of the fusion in 'camera', where it stands before the backbone.
    """
    if mode not in MODES:
        raise TinyBevError(f'mode is {mode!r}; expected one of {", ".join(MODES)}')
    with seeded(seed):
        detector = build_detector(**NETWORK)
        encoder = CameraEncoder('tiny', _CAMERA_CHANNELS, _CAMERA_STRIDE)
        behind = detector.backbone.feature_info[-1].channels
        channels = detector.pfn.out_channels if mode == 'camera' else behind
        detector.add_cameras(encoder, FuTrFusion(channels, _CAMERA_CHANNELS))
        return detector


def as_batch(frames: list[CameraFrame], mode: str, unplugged: bool = False) -> Batch:
    """Frames as a network of a mode is shown them.

    Args:
        frames: some.
        mode: of MODES; 'camera' sees no points, 'lidar' no pictures.
        unplugged: whether the camera is missing.
    """
    # As many as there are to look at.
    eyes = [] if mode == 'lidar' else [camera()]
    fine = GRID.strided(_STRIDE)
    targets = []
    for frame in (sight.frame for sight in frames):
        labels = frame_labels(frame, frame.points, frame.owner == -2)
        targets.append(compute_targets(NETWORK['heads'], labels, fine))
    return Batch(
        [
            torch.from_numpy(sight.frame.points[: 0 if mode == 'camera' else None])
            for sight in frames
        ],
        torch.stack([as_input(sight.image) for sight in frames])[:, None][:, : len(eyes)],
        [[None if unplugged else eye for eye in eyes]] * len(frames),
        stack_targets(targets),
    )


def maps_of(network: BevDetector, batch: Batch, mode: str) -> list[Tensor]:
    """Maps (B,C,h,w) for the heads: that of the mode comes last.

    In 'fused' that of the clouds alone stands before it. In 'camera' it is the backbone that
    stands behind the fusion: a cell sees all that lies on its ray, and what is nearest can be
    told from its neighbours alone (as in "Simple-BEV", Harley et al., ICRA 2023).
    """
    if mode == 'camera':
        assert network.fusion is not None
        empty = torch.zeros(len(batch.images), network.fusion.channels, *GRID.shape)
        return [network.backbone(network.fuse_cameras(empty, GRID, batch.images, batch.cameras))]
    bev = network.encode_bev(batch.points, [GRID] * len(batch.points))
    fused = network.fuse_cameras(bev, GRID.strided(_STRIDE), batch.images, batch.cameras)
    return [bev, fused] if mode == 'fused' else [fused]


def train(
    mode: str,
    seed: int,
    frames: Dataset,
    steps: int,
    workers: int = 1,
    dtype: torch.dtype = torch.float32,
) -> tuple[BevDetector, list[float]]:
    """A network of a mode, trained; and the loss of each step.

    Args:
        mode: of MODES.
        seed: of weights, order and variation.
        frames: at least one.
        steps: of four frames each.
        workers: processes that read frames.
        dtype: of the products.
    """
    network = build_network(mode, seed).train()
    lay_channels_last(network)
    optimizer = torch.optim.AdamW(network.parameters(), _LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    losses = []
    bar = tqdm(
        _batches(mode, seed, frames, steps, workers), total=steps, unit='step', disable=None
    )
    for step, batch in enumerate(bar):
        for group in optimizer.param_groups:
            group['lr'] = learning_rate(step, steps, _LEARNING_RATE, _WARM_UP)
        with torch.autocast('cpu', dtype, enabled=dtype != torch.float32):
            maps = maps_of(network, batch, mode)
            together = torch.cat(maps)
            predicted = {name: head(together) for name, head in network.heads.items()}
        times = len(maps)
        targets = map_tensors(lambda each, n=times: torch.cat([each] * n), batch.targets)  # type: ignore[misc]
        total = torch.stack(list(compute_losses(predicted, targets).values())).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        losses.append(float(total.detach()))
        bar.set_postfix(loss=f'{losses[-1]:.3f}')
    return network.eval(), losses


@torch.inference_mode()
def detect(
    network: BevDetector, sight: CameraFrame, mode: str, unplugged: bool = False
) -> Detections:
    """What a network finds in one frame, with its camera or without."""
    (name,) = NETWORK['heads']
    predicted = network.heads[name](maps_of(network, as_batch([sight], mode, unplugged), mode)[-1])
    options = DecodeOptions((_FLOOR,) * len(CLASSES))
    return head_class(name).decode(predicted, GRID.strided(_STRIDE), options)[0]


@dataclass
class ClassAP:
    """Average precision by class, seen from above."""

    rankings: list[Ranking] = field(default_factory=lambda: [Ranking() for _ in CLASSES])

    def add(self, frame: Frame, found: Detections) -> None:
        """Takes one frame; objects of fewer than five points, or off the map, are left open."""
        boxes = frame.boxes
        (x_low, x_high), (y_low, y_high) = GRID.x_range, GRID.y_range
        x, y = boxes[:, 0], boxes[:, 1]
        here = (x >= x_low) & (x < x_high) & (y >= y_low) & (y < y_high)
        counts = here & (frame.counts >= FEWEST_POINTS)
        for label, ranking in enumerate(self.rankings):
            mine = frame.labels == label
            of_class = found.labels == label
            iou = iou_bev(found.boxes[of_class], torch.from_numpy(boxes[mine])).numpy()
            scores = found.scores[of_class].numpy()
            ranking.add(scores, iou, counts[mine], MIN_IOU[label], np.zeros(len(scores), bool))

    def precisions(self) -> list[float]:
        """Of each class."""
        return [ranking.average_precision() for ranking in self.rankings]

    def mean(self) -> float:
        """Over the classes."""
        return float(np.mean(self.precisions()))


def _batches(mode: str, seed: int, frames: Dataset, steps: int, workers: int) -> Iterator[Batch]:
    random = np.random.default_rng(seed)
    order = [int(i) for i in random.integers(0, len(frames), steps * _BATCH)]  # type: ignore[arg-type]
    flips = random.random((steps, _BATCH)) < 0.5
    loader = DataLoader(
        frames, batch_size=_BATCH, sampler=order, num_workers=workers, collate_fn=list
    )
    for step, group in enumerate(loader):
        shown = [mirrored(s) if flip else s for s, flip in zip(group, flips[step], strict=True)]
        yield as_batch(shown, mode)
