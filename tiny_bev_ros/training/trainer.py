# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""The training loop, of networks with and without cameras."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.precision import auto_dtype
from tiny_bev_ros.models.heads.head_registry import compute_losses
from tiny_bev_ros.training.dataset import Batch, collate, repeat_targets
from tiny_bev_ros.training.distributed import DistributedContext, init_distributed
from tiny_bev_ros.training.run_files import append_log, read_state, save_state
from tiny_bev_ros.training.start_weights import StartWeights
from tiny_bev_ros.training.trainable_detector import TrainableDetector, build_network
from tiny_bev_ros.training.training_config import TrainConfig
from tiny_bev_ros.training.weight_average import WeightAverage

CHECKPOINT = 'last.pt'
LOG = 'log.csv'
_MAX_GRADIENT_NORM = 10.0
# Number of steps whose means make one row of the log.
_LOG_STEPS = 20
_STATE = ('step', 'config', 'network', 'optimizer', 'average')


def use_channels_last(network: nn.Module) -> None:
    """Stores the weights of convolutions with channels last, which is faster."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def learning_rate(step: int, steps: int, peak: float, warmup_fraction: float) -> float:
    """Returns the learning rate of a step: a linear rise to the peak, then half a cosine to 0.

    Args:
        step: number of the step, from 0.
        steps: number of all steps.
        peak: highest learning rate.
        warmup_fraction: fraction of the steps in which the learning rate rises.
    """
    rising = max(1, round(steps * warmup_fraction))
    if step < rising:
        return peak * (step + 1) / rising
    progress = (step - rising) / max(1, steps - rising)
    return peak * (1 + math.cos(math.pi * progress)) / 2


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Returns the compute dtype of training.

    Args:
        precision: bfloat16, float32, or auto for the `auto_dtype` of the device; float32 in place
            of float16, in which small gradients would vanish.
        device: device of the computation.
    """
    dtype: torch.dtype = auto_dtype(device) if precision == 'auto' else getattr(torch, precision)
    return torch.float32 if dtype == torch.float16 else dtype


class Trainer:
    """Trains a network; a run that was stopped is resumed from its checkpoint.

    Args:
        config: the run.
        dataset: items are lists of samples (`Crops`, `CameraSamples`); at least
            steps * batch * processes items.
        folder: folder of checkpoint and log; a checkpoint in it is resumed.
        context: position of this process among several; by default that of `init_distributed`.
        model: detector to train; by default the network of the configuration.
        start: weights that `model` holds; None for random ones.

    Attributes:
        network: the network that is trained.
        average: average of its weights over the steps, which is the result of the run.
        step: number of finished steps.

    Raises:
        TinyBevError: the checkpoint in the folder is damaged, or has another configuration or
            other start weights.
    """

    def __init__(
        self,
        config: TrainConfig,
        dataset: Dataset,
        folder: Path,
        context: DistributedContext | None = None,
        model: TrainableDetector | None = None,
        start: StartWeights | None = None,
    ) -> None:
        self._config, self._dataset, self._folder = config, dataset, folder
        self._context = context or init_distributed()
        self._settings = {**dataclasses.asdict(config), 'start_from': start and start._asdict()}
        device = self._context.device
        self._dtype = compute_dtype(config.precision, device)
        model = model or TrainableDetector(build_network(config.network, config.seed))
        use_channels_last(model.to(device))
        self._model: nn.Module = model
        if self._context.world_size > 1:
            if device.type == 'cuda':
                model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
            self._model = nn.parallel.DistributedDataParallel(model)
        self.network = model.network
        self.average = WeightAverage(self.network, config.ema_decay)
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        self.step = 0
        if (folder / CHECKPOINT).is_file():
            self._resume(folder / CHECKPOINT)

    def run(self, until: int | None = None) -> None:
        """Trains up to a step, the last one by default, and leaves a checkpoint."""
        config, last = self._config, min(until or self._config.steps, self._config.steps)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._model.train()
        # None hides the bar where the output is no terminal.
        disable = None if self._context.is_main else True
        bar = tqdm(total=last, initial=self.step, unit='step', disable=disable)
        log_steps = min(_LOG_STEPS, config.steps)
        began, means = time.monotonic(), {'total': 0.0}
        for batch in self._batches(last):
            for name, value in self._update(batch.to(self._context.device)).items():
                means[name] = means.get(name, 0.0) + value / log_steps
            bar.update()
            if self.step % log_steps == 0:
                bar.set_postfix(loss=f'{means["total"]:.3f}', rate=f'{self._rate():.1e}')
                self._log(means, time.monotonic() - began)
                began, means = time.monotonic(), dict.fromkeys(means, 0.0)
            if self.step % config.save_every == 0:
                self._save()
        bar.close()
        self._save()

    def _batches(self, last: int) -> Iterator[Batch]:
        config, context = self._config, self._context
        # The items of a step follow from its number, so that a resumed run continues with the next
        # step.
        items = [
            (step * context.world_size + context.rank) * config.batch + index
            for step in range(self.step, last)
            for index in range(config.batch)
        ]
        return iter(
            DataLoader(
                self._dataset,
                batch_size=config.batch,
                sampler=items,
                num_workers=config.workers,
                collate_fn=collate,
                prefetch_factor=4 if config.workers else None,
            )
        )

    def _update(self, batch: Batch) -> dict[str, float]:
        """Makes one step; returns the parts of the loss and their total."""
        for group in self._optimizer.param_groups:
            group['lr'] = self._rate()
        losses = self._losses(batch)
        total = torch.stack(list(losses.values())).sum()
        if not total.isfinite():
            raise TinyBevError(
                f'the loss is {float(total)} in step {self.step}; expected a finite number'
            )
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), _MAX_GRADIENT_NORM)
        self._optimizer.step()
        self.average.update(self.network, self.step)
        self.step += 1
        losses['total'] = total
        return {name: float(value.detach()) for name, value in losses.items()}

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        device = self._context.device
        grids = [self._config.crop.grid(*low) for low in batch.low.tolist()]
        with torch.autocast(device.type, self._dtype, enabled=self._dtype != torch.float32):
            features, outputs = self._model(batch.points, grids, batch.images, batch.cameras)
        # With cameras the heads predict twice for each frame.
        targets = repeat_targets(batch.targets, len(features) // len(grids))
        return compute_losses(outputs, targets)

    def _rate(self) -> float:
        config = self._config
        return learning_rate(self.step, config.steps, config.learning_rate, config.warmup_fraction)

    def _log(self, means: dict[str, float], seconds: float) -> None:
        if not self._context.is_main:
            return
        row = {'step': self.step, 'rate': f'{self._rate():.3e}', 'seconds': f'{seconds:.1f}'}
        losses = {name: f'{value:.5f}' for name, value in means.items()}
        append_log(self._folder / LOG, {**row, **losses})

    def _save(self) -> None:
        if not self._context.is_main:
            return
        state = {
            'step': self.step,
            'config': self._settings,
            'network': self.network.state_dict(),
            'optimizer': self._optimizer.state_dict(),
            'average': self.average.network.state_dict(),
        }
        save_state(self._folder / CHECKPOINT, state)

    def _resume(self, path: Path) -> None:
        state = read_state(path, _STATE)
        own = dict(self._settings)
        for name in ('second_stage', 'start_weights_fraction'):  # have no effect on this training
            del own[name]
        # A key that is younger than the checkpoint had its default.
        saved = {**dataclasses.asdict(TrainConfig()), **state['config']}
        differing = [name for name in own if own[name] != saved.get(name)]
        if differing:
            raise TinyBevError(
                f'{path} is of another {", ".join(differing)}; expected the same, or a new folder'
            )
        self.network.load_state_dict(state['network'])
        self._optimizer.load_state_dict(state['optimizer'])
        self.average.network.load_state_dict(state['average'])
        self.step = state['step']
