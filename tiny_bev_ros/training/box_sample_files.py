# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Files of samples for the second stage, made by several processes, resumable."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from tiny_bev_ros.detector import Detector
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.file_replacement import replacing
from tiny_bev_ros.models.heads.detection import CLASSES
from tiny_bev_ros.models.heads.refinement import MIN_CANDIDATE_SCORE
from tiny_bev_ros.training.augment import transform
from tiny_bev_ros.training.box_samples import BoxSamples, join_samples, make_box_samples
from tiny_bev_ros.training.evaluation_run import build_evaluation_detector
from tiny_bev_ros.training.labelled_frame import Frame
from tiny_bev_ros.training.second_stage_config import SecondStageConfig

# Frames of one file.
_FRAMES = 25


@dataclass(frozen=True)
class SampleSource:
    """Way in which samples are made.

    Attributes:
        weights: file of the trained networks.
        frame: function that makes labelled frame i; can be pickled.
        config: settings.
        seed: seed of the augmentation.
    """

    weights: Path
    frame: Callable[[int], Frame]
    config: SecondStageConfig
    seed: int


def write_samples(source: SampleSource, folder: Path, origin: dict[str, Any]) -> None:
    """Writes the files of all frames that are not in a folder yet.

    Args:
        source: way in which samples are made.
        folder: folder of the files.
        origin: values on which samples depend; those of a folder are equal.

    Raises:
        TinyBevError: the files in the folder are of another origin.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _check_origin(folder / 'origin.json', origin)
    config = source.config
    missing = [first for first in _firsts(config) if not _path(folder, first, config).exists()]
    write = partial(_write_file, source, folder)
    bar = tqdm(missing, unit='file', desc='samples', disable=None)
    if source.config.workers == 1:
        for first in bar:
            write(first)
        return
    # Not forked: the threads of PyTorch do not survive in a forked process.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(source.config.workers, context) as pool:
        for _ in zip(bar, pool.map(write, missing), strict=True):
            pass


def read_samples(folder: Path, config: SecondStageConfig) -> BoxSamples:
    """Reads the samples of all frames."""
    return join_samples(list(_read_files(folder, config)))


def _read_files(folder: Path, config: SecondStageConfig) -> Iterator[BoxSamples]:
    for first in _firsts(config):
        with np.load(_path(folder, first, config)) as file:
            yield BoxSamples(*(torch.from_numpy(file[name]) for name in BoxSamples._fields))


def _firsts(config: SecondStageConfig) -> range:
    return range(0, config.frames, _FRAMES)


def _last(first: int, config: SecondStageConfig) -> int:
    return min(first + _FRAMES, config.frames)


def _path(folder: Path, first: int, config: SecondStageConfig) -> Path:
    return folder / f'frames_{first:06d}_{_last(first, config):06d}.npz'


def _check_origin(path: Path, origin: dict[str, Any]) -> None:
    text = json.dumps(origin, indent=1, sort_keys=True)
    if not path.exists():
        with replacing(path) as new:
            new.write_text(text, encoding='utf-8')
        return
    if path.read_text(encoding='utf-8') != text:
        raise TinyBevError(f'{path} has other values; expected the same run, or a new folder')


# Detectors of this process by their weights, on the map of evaluation.
_DETECTORS: dict[Path, Detector] = {}


def _write_file(source: SampleSource, folder: Path, first: int) -> None:
    detector = _detector(source)
    last = _last(first, source.config)
    samples = join_samples([_make(source, detector, index) for index in range(first, last)])
    arrays = {name: getattr(samples, name).numpy() for name in BoxSamples._fields}
    with replacing(_path(folder, first, source.config)) as new, new.open('wb') as file:
        np.savez(file, **arrays)


def _detector(source: SampleSource) -> Detector:
    if source.weights not in _DETECTORS:
        if source.config.workers > 1:
            torch.set_num_threads(1)
        _DETECTORS[source.weights] = build_evaluation_detector(source.weights, second_stage=False)
    return _DETECTORS[source.weights]


def _make(source: SampleSource, detector: Detector, index: int) -> BoxSamples:
    config, random = source.config, np.random.default_rng((source.seed, index, 3))
    is_rotated = random.random() < config.rotated
    angle = random.uniform(0, 2 * np.pi) if is_rotated else 0.0
    frame = source.frame(index)
    if not frame.whole:  # labelled ahead of the sensor alone
        angle = 0.0
    low, high = config.scaling
    frame = transform(frame, angle, 1 + random.uniform(low, high))
    # The networks alone, as the mounting of the sensor differs from frame to frame.
    scores = (MIN_CANDIDATE_SCORE,) * len(CLASSES)
    found = detector.runner(frame.points, scores).heads.detections
    assert found is not None
    if not frame.whole:
        ahead = found.boxes[:, 0] > found.boxes[:, 1].abs()
        found = type(found)(*(values[ahead] for values in found))
    return make_box_samples(frame, found)
