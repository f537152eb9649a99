# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Training of the second stage on the boxes that trained networks detect."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models import RefinementHead, seeded
from tiny_bev_ros.models.heads.box_crops import CROP, BoxCrops, crop_axes
from tiny_bev_ros.models.heads.box_ops import paired_iou_bev
from tiny_bev_ros.models.heads.box_residuals import apply_residuals, residual_targets
from tiny_bev_ros.models.heads.detection import Detections
from tiny_bev_ros.training.box_samples import NOTHING, OBJECT, BoxSamples
from tiny_bev_ros.training.run_files import append_log, read_state, save_state
from tiny_bev_ros.training.second_stage_config import SecondStageConfig
from tiny_bev_ros.training.trainer import learning_rate

_CHECKPOINT, _LOG = 'second_stage.pt', 'second_stage.csv'
_STATE = ('step', 'config', 'network', 'optimizer')
_LOSSES = ('residuals', 'shifts', 'quality')
_SAVE_EVERY, _LOG_STEPS = 500, 100
_MAX_GRADIENT_NORM = 5.0
_WARMUP_FRACTION = 0.03
# Fraction of the boxes of a step that are on an object, and how often those of a class are drawn.
_OBJECTS = 0.625
_CLASS_WEIGHTS = (1.5, 1.0, 2.5)
# Standard deviations of the moves of boxes, in units of the residuals; fraction of the boxes that
# are moved; factor of the shifts of small objects; fraction with a large turn, and its deviation.
_MOVES = (0.24, 0.3, 0.24, 0.18, 0.18, 0.18, 0.14)
_MOVED, _SMALL, _TURNED, _TURN = 0.5, 0.5, 0.12, 1.0
# Ranges of the change of size of vehicles and of the other classes.
_SCALES = ((0.93, 1.12), (0.95, 1.05))
# Fraction of the boxes that lose points, and least number that stays of the object and around it.
_THINNED, _MIN_KEPT = 0.3, 3
# Weights of the residuals in the loss.
_WEIGHTS = (1.0, 1.0, 1.0, 0.7, 0.7, 0.7, 1.0)
# Quality of an overlap: 0 up to the first IoU, 1 from the second on; vehicles and other classes.
_QUALITIES = ((0.3, 0.8), (0.125, 0.75))


class SecondStageTrainer:
    """Trains a RefinementHead; a run that was stopped is resumed from its checkpoint.

    Args:
        config: settings.
        samples: detected boxes.
        folder: folder of checkpoint and log.
        seed: seed of weights and augmentation.

    Attributes:
        head: the network.

    Raises:
        TinyBevError: there are no boxes on objects, or the checkpoint is damaged or of another
            run.
    """

    def __init__(
        self, config: SecondStageConfig, samples: BoxSamples, folder: Path, seed: int
    ) -> None:
        self._config, self._samples, self._folder, self._seed = config, samples, folder, seed
        self._starts = samples.counts.cumsum(0) - samples.counts
        self._objects = (samples.states == OBJECT).nonzero()[:, 0]
        self._others = (samples.states == NOTHING).nonzero()[:, 0]
        for name, chosen in (('objects', self._objects), ('nothing', self._others)):
            if not len(chosen):
                raise TinyBevError(f'boxes on {name} are 0; expected some: train on more frames')
        self._weights = torch.tensor(_CLASS_WEIGHTS)[samples.labels[self._objects]]
        with seeded(seed):
            self.head = RefinementHead()
        self._optimizer = torch.optim.AdamW(
            self.head.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        self.step = 0
        if (folder / _CHECKPOINT).is_file():
            self._resume()

    def run(self) -> RefinementHead:
        """Trains to the last step; returns the network in eval mode."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.head.train()
        sums, began = torch.zeros(3), time.monotonic()
        bar = tqdm(
            total=self._config.steps, initial=self.step, unit='step', disable=None, desc='training'
        )
        while self.step < self._config.steps:
            sums += self._update()
            bar.update()
            if self.step % _LOG_STEPS == 0:
                self._log(sums / _LOG_STEPS, time.monotonic() - began)
                sums, began = torch.zeros(3), time.monotonic()
            if self.step % _SAVE_EVERY == 0 or self.step == self._config.steps:
                self._save()
        bar.close()
        return self.head.eval()

    def _update(self) -> Tensor:
        """Makes one step; returns the parts of the loss: residuals, shifts among them, quality."""
        config = self._config
        # A step depends on its number alone, so that a resumed run continues as if not stopped.
        with seeded((self._seed << 32) + self.step):
            chosen = self._draw()
            detections, wanted, crops = self._augmented(chosen)
        for group in self._optimizer.param_groups:
            group['lr'] = learning_rate(
                self.step, config.steps, config.learning_rate, _WARMUP_FRACTION
            )
        outputs = self.head.predict(crops, detections)
        on = self._samples.states[chosen] == OBJECT
        targets = residual_targets(detections.boxes[on], wanted[on])
        errors = F.smooth_l1_loss(outputs.residuals[on], targets, beta=0.2, reduction='none')
        errors = errors.mean(0)
        quality = torch.zeros(len(on))
        with torch.no_grad():
            refined = apply_residuals(detections.boxes[on], outputs.residuals[on])
            quality[on] = _quality(refined, wanted[on], detections.labels[on])
        quality_loss = F.binary_cross_entropy_with_logits(outputs.quality, quality)
        loss = (errors * torch.tensor(_WEIGHTS)).sum() + quality_loss
        if not loss.isfinite():
            raise TinyBevError(f'loss is {float(loss)} in step {self.step}; expected a number')
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.head.parameters(), _MAX_GRADIENT_NORM)
        self._optimizer.step()
        self.step += 1
        return torch.stack([errors.sum(), errors[:2].sum(), quality_loss]).detach()

    def _draw(self) -> Tensor:
        """Draws the indices of the boxes of a step."""
        count = round(self._config.batch * _OBJECTS)
        on = self._objects[torch.multinomial(self._weights, count, replacement=True)]
        off = self._others[torch.randint(len(self._others), (self._config.batch - count,))]
        return torch.cat([on, off])

    def _augmented(self, chosen: Tensor) -> tuple[Detections, Tensor, BoxCrops]:
        """Returns boxes (B,7) that were moved, wanted boxes (B,7), and points near the former."""
        samples = self._samples
        labels, counts = samples.labels[chosen], samples.counts[chosen]
        box = torch.repeat_interleave(counts)
        first = counts.cumsum(0) - counts
        rows = torch.arange(len(box)) - first[box] + self._starts[chosen][box]
        points = samples.points[rows]
        low, high = torch.tensor(_SCALES)[(labels > 0).long()].unbind(1)
        scale = (low + (high - low) * torch.rand(len(chosen)))[:, None]
        boxes, wanted = (
            torch.cat([each[:, :6] * scale, each[:, 6:]], 1)
            for each in (samples.boxes[chosen], samples.wanted[chosen])
        )
        points = points * scale[box]
        boxes = apply_residuals(boxes, _moves(samples.states[chosen] == OBJECT, labels))
        crops = _crop(points, box, boxes)
        return Detections(boxes, samples.scores[chosen], labels), wanted, crops

    def _log(self, means: Tensor, seconds: float) -> None:
        row = {'step': self.step, 'seconds': f'{seconds:.1f}'}
        losses = zip(_LOSSES, means.tolist(), strict=True)
        append_log(self._folder / _LOG, {**row, **{name: f'{x:.5f}' for name, x in losses}})

    def _save(self) -> None:
        state = {
            'step': self.step,
            'config': self._values(),
            'network': self.head.state_dict(),
            'optimizer': self._optimizer.state_dict(),
        }
        save_state(self._folder / _CHECKPOINT, state)

    def _values(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self._config), 'seed': self._seed}

    def _resume(self) -> None:
        path = self._folder / _CHECKPOINT
        state = read_state(path, _STATE)
        if state['config'] != self._values():
            raise TinyBevError(f'{path} is of another run; expected the same, or a new folder')
        self.head.load_state_dict(state['network'])
        self._optimizer.load_state_dict(state['optimizer'])
        self.step = state['step']


def _moves(on: Tensor, labels: Tensor) -> Tensor:
    """Draws residuals (B,7) by which boxes on objects are moved."""
    moves = torch.randn(len(on), len(_MOVES)) * torch.tensor(_MOVES)
    turned = torch.rand(len(on)) < _TURNED
    moves[:, 6] = torch.where(turned, torch.randn(len(on)) * _TURN, moves[:, 6])
    moves[:, :2] *= torch.where(labels > 0, _SMALL, 1.0)[:, None]
    return moves * (on & (torch.rand(len(on)) < _MOVED))[:, None]


def _crop(points: Tensor, box: Tensor, boxes: Tensor) -> BoxCrops:
    """Samples points (M,3) near boxes, of some boxes only a few.

    Args:
        points: (M,3) stored points, in the frame of the sensor.
        box: (M,) index of the box of each point.
        boxes: (B,7) boxes.
    """
    origin = torch.cat([boxes[:, :2], (boxes[:, 2] - boxes[:, 5] / 2)[:, None]], 1)
    offset = points - origin[box]
    local = (crop_axes(boxes)[box] * offset[:, None, :2]).sum(2)
    beyond = local.abs() - (boxes[:, 3:5] / 2)[box]
    half = (boxes[:, 5] / 2)[box]
    near = (beyond < CROP.margin).all(1)
    near &= (offset[:, 2] - half).abs() < half + CROP.height_margin
    around = (beyond >= CROP.object_margin).any(1) | (offset[:, 2] <= CROP.object_floor)
    local = torch.cat([local, offset[:, 2:]], 1)[near]
    # Two parts of each box: its object, then what is around it.
    part = (2 * box + around)[near]
    # A random order within each part, of which the first are kept.
    part, order = (part + torch.rand(len(part), dtype=torch.float64)).sort()
    part = part.long()
    counts = torch.bincount(part, minlength=2 * len(boxes)).view(-1, 2)
    thinned = (counts * torch.rand(len(boxes), 1)).long().clamp(min=_MIN_KEPT)
    most = torch.where(torch.rand(len(boxes), 1) < _THINNED, thinned, counts)
    sizes = torch.tensor([CROP.object_points, CROP.surrounding_points])
    kept = counts.minimum(most).minimum(sizes)
    counts, of_parts = counts.flatten(), kept.flatten()
    rank = torch.arange(len(part)) - (counts.cumsum(0) - counts)[part]
    return BoxCrops(local[order][rank < of_parts[part]], kept.sum(1))


def _quality(refined: Tensor, wanted: Tensor, labels: Tensor) -> Tensor:
    """Computes the quality (N,) 0 to 1 of refined boxes (N,7)."""
    bev = paired_iou_bev(refined, wanted)
    low, high = torch.tensor(_QUALITIES)[(labels > 0).long()].unbind(1)
    return ((bev - low) / (high - low)).clamp(0, 1)
