# SPDX-License-Identifier: Apache-2.0
"""The training loop."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.models import seeded
from tiny_bev_ros.models.bev_detector import BevDetector, build_detector
from tiny_bev_ros.models.checkpoint.weight_files import refuse_other_files
from tiny_bev_ros.models.heads.head_registry import compute_losses, map_tensors
from tiny_bev_ros.optional_imports import one_line
from tiny_bev_ros.training.dataset import Batch, collate
from tiny_bev_ros.training.training_config import TrainConfig

LARGEST_GRADIENT = 10.0
# Steps over which the log takes means.
_LOG_STEPS = 20
CHECKPOINT = 'last.pt'
_STATE = ('step', 'config', 'network', 'optimizer')


@dataclasses.dataclass(frozen=True)
class DistributedContext:
    """Which of several processes this one is, and where it computes."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files."""
        return self.rank == 0


def find_distributed_context(device: torch.device | None = None) -> DistributedContext:
    """That of this process, as torchrun says, or alone."""
    rank, world = int(os.environ.get('RANK', '0')), int(os.environ.get('WORLD_SIZE', '1'))
    if device is None:
        device = torch.device('cpu')
        if torch.cuda.is_available():
            device = torch.device('cuda', int(os.environ.get('LOCAL_RANK', '0')))
            torch.cuda.set_device(device)
    if world > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group('nccl' if device.type == 'cuda' else 'gloo')
    return DistributedContext(rank, world, device)


def lay_channels_last(network: nn.Module) -> None:
    """Lays the weights of convolutions so that they are faster."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def learning_rate(step: int, steps: int, highest: float, warm_up: float) -> float:
    """Of one step of many: rises for a part of them, then falls along a cosine."""
    rising = max(1, round(steps * warm_up))
    if step < rising:
        return highest * (step + 1) / rising
    share = (step - rising) / max(1, steps - rising)
    return highest * (1 + math.cos(math.pi * share)) / 2


class Trainer:
    """A run that can be stopped and taken up again.

    Args:
        config: what to do.
        frames: the dataset, at least steps * batch * processes items.
        folder: for checkpoint and log; a checkpoint that lies there is taken up.
        place: of this process.

    Attributes:
        network: what is trained.
        step: how many steps are done.

    Raises:
        TinyBevError: the checkpoint in the folder is of another configuration.
    """

    def __init__(
        self,
        config: TrainConfig,
        frames: Dataset,
        folder: Path,
        place: DistributedContext | None = None,
    ) -> None:
        self._config, self._frames, self._folder = config, frames, folder
        self._place = place or find_distributed_context()
        with seeded(config.seed):
            network: BevDetector = build_detector(**dataclasses.asdict(config.network))
        self.network = network.to(self._place.device)
        lay_channels_last(self.network)
        self._model: nn.Module = self.network
        if self._place.world > 1:
            if self._place.device.type == 'cuda':
                self.network = nn.SyncBatchNorm.convert_sync_batchnorm(self.network)
            self._model = nn.parallel.DistributedDataParallel(self.network)
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        self.step = 0
        if (folder / CHECKPOINT).is_file():
            self._take_up(folder / CHECKPOINT)

    def run(self, until: int | None = None) -> None:
        """Trains to a step, the last one by default, and leaves a checkpoint."""
        config, last = self._config, min(until or self._config.steps, self._config.steps)
        self._folder.mkdir(parents=True, exist_ok=True)
        self.network.train()
        bar = tqdm(
            total=last, initial=self.step, unit='step', disable=None if self._place.first else True
        )
        every = min(_LOG_STEPS, config.steps)
        began, sums = time.monotonic(), dict.fromkeys(('total',), 0.0)
        for batch in self._batches(last):
            parts = self._update(batch)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value / every
            bar.update()
            if self.step % every == 0:
                bar.set_postfix(loss=f'{sums["total"]:.3f}', rate=f'{self._rate():.1e}')
                self._log(sums, time.monotonic() - began)
                began, sums = time.monotonic(), dict.fromkeys(sums, 0.0)
            if self.step % config.save_every == 0:
                self._save()
        bar.close()
        self._save()

    def _batches(self, last: int) -> Iterator[Batch]:
        config, place = self._config, self._place
        # The frames of a step are known from its number: a run taken up goes on with the next.
        indices = [
            (step * place.world + place.rank) * config.batch + each
            for step in range(self.step, last)
            for each in range(config.batch)
        ]
        return iter(
            DataLoader(
                self._frames,
                batch_size=config.batch,
                sampler=indices,
                num_workers=config.workers,
                collate_fn=collate,
                prefetch_factor=4 if config.workers else None,
            )
        )

    def _update(self, batch: Batch) -> dict[str, float]:
        for group in self._optimizer.param_groups:
            group['lr'] = self._rate()
        parts = self._losses(batch)
        total = torch.stack(list(parts.values())).sum()
        if not total.isfinite():
            raise TinyBevError(
                f'the loss is {float(total)} in step {self.step}; expected a finite number'
            )
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self._optimizer.step()
        self.step += 1
        parts['total'] = total
        return {name: float(value.detach()) for name, value in parts.items()}

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        device = self._place.device
        piece = self._config.piece
        grids = [piece.grid(*low) for low in batch.low.tolist()]
        points = [cloud.to(device) for cloud in batch.points]
        dtype = getattr(torch, self._config.precision)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            maps = self._model(points, grids)
        return compute_losses(maps, map_tensors(lambda each: each.to(device), batch.targets))

    def _rate(self) -> float:
        config = self._config
        return learning_rate(self.step, config.steps, config.learning_rate, config.warm_up)

    # Files.

    def _log(self, means: dict[str, float], seconds: float) -> None:
        if not self._place.first:
            return
        path = self._folder / 'log.csv'
        new = not path.exists()
        with path.open('a', newline='') as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(['step', 'rate', 'seconds', *means])
            writer.writerow(
                [self.step, f'{self._rate():.3e}', f'{seconds:.1f}']
                + [f'{value:.5f}' for value in means.values()]
            )

    def _save(self) -> None:
        if not self._place.first:
            return
        path = self._folder / CHECKPOINT
        state = {
            'step': self.step,
            'config': dataclasses.asdict(self._config),
            'network': self.network.state_dict(),
            'optimizer': self._optimizer.state_dict(),
        }
        torch.save(state, path.with_suffix('.new'))
        path.with_suffix('.new').replace(path)

    def _take_up(self, path: Path) -> None:
        refuse_other_files(path)
        try:
            state: Any = torch.load(path, map_location='cpu', weights_only=True)
        except Exception as error:  # what broken bytes raise is not documented
            raise TinyBevError(
                f'{path} cannot be read ({one_line(error)}); expected the state of a training, '
                'or a new folder'
            ) from None
        missing = [name for name in _STATE if not isinstance(state, dict) or name not in state]
        if missing:
            raise TinyBevError(
                f'{path} has no {", ".join(missing)}; expected the state of a training, or a new '
                'folder'
            )
        ours = dataclasses.asdict(self._config)
        other = [name for name in ours if ours[name] != state['config'].get(name)]
        if other:
            raise TinyBevError(
                f'{path} is of another {", ".join(other)}; expected the same, or a new folder'
            )
        self.network.load_state_dict(state['network'])
        self._optimizer.load_state_dict(state['optimizer'])
        self.step = state['step']
