# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Worker of `extract`: surveys bags, and runs the networks on their clouds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tiny_bev_ros.bag.cloud_frames import BagFrame, count_frames, read_clouds
from tiny_bev_ros.bag.reader import Bag, find_cloud_topic
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.extraction.frame_outputs import (
    ExtractedFrame,
    OutputOptions,
    RunWriter,
    make_writers,
)
from tiny_bev_ros.extraction.output_folder import OutputFolder
from tiny_bev_ros.extraction.sensor_history import SensorHistory
from tiny_bev_ros.extraction.work_units import RUN_FRAMES, Run, Survey, Unit
from tiny_bev_ros.inference.memory import NotEnoughMemoryError
from tiny_bev_ros.messages.point_cloud import decode_cloud
from tiny_bev_ros.nodes.detector_factory import make_detector
from tiny_bev_ros.nodes.model_factory import make_cloud_options
from tiny_bev_ros.runtime.process import configure_malloc

_LOGGER = logging.getLogger('tiny_bev_ros')


@dataclass(frozen=True)
class CloudWorkerFactory:
    """Factory of a worker, called in the process of the worker; picklable.

    Attributes:
        values: parameters of pipeline_node, by name.
        topic: PointCloud2 topic; '' for the only one of each bag.
        every: step over the clouds.
        outputs: outputs that are written.
        folder: folder of the outputs.
    """

    values: dict[str, Any]
    topic: str
    every: int
    outputs: OutputOptions
    folder: OutputFolder

    def __call__(self) -> CloudWorker:
        """Makes a worker, which loads the networks.

        Raises:
            TinyBevError: a parameter or a weight file is wrong.
        """
        return CloudWorker(self)


class CloudWorker:
    """Surveys bags and computes runs, see `Worker`, with the detector of pipeline_node.

    Args:
        settings: parameters, topic and outputs.
    """

    def __init__(self, settings: CloudWorkerFactory) -> None:
        configure_malloc()
        values = settings.values
        self._settings = settings
        self._detector = make_detector(values, _LOGGER)
        self._decode = partial(
            decode_cloud,
            options=make_cloud_options(values),
            max_bytes=values['max_message_mb'] * 2**20,
            origin=self._detector.grid.reference,
        )
        self._bag: Bag | None = None

    def __call__(self, unit: Unit, progress: Callable[[int], None]) -> dict[str, Any]:
        """Computes a unit and writes its files and its marker.

        Raises:
            TinyBevError: the bag cannot be read, or has no such clouds.
            OSError: the outputs cannot be written.
        """
        folder = self._settings.folder
        partial_folder = folder.partial_folder(unit)
        if isinstance(unit, Survey):
            result = self._survey(unit)
        else:
            writers = make_writers(self._settings.outputs, partial_folder, unit.name, unit.number)
            result = self._compute(unit, writers, progress)
            for writer in writers:
                writer.close()
        return folder.commit(unit, partial_folder, result)

    def _survey(self, unit: Survey) -> dict[str, Any]:
        """Returns topic, number of frames, remarks, and the mounting before each run."""
        bag = self._open(unit.path)
        topic = find_cloud_topic(bag, self._settings.topic)
        count = count_frames(len(bag.times(topic)), self._settings.every)
        if not count:
            raise TinyBevError(f'{topic} of {bag.path} has 0 clouds; expected at least one')
        result = {'topic': topic, 'count': count, 'remarks': bag.remarks}
        if self._detector.tracker is not None:
            result['mounting'] = self._track(bag, topic, count)
        return result

    def _track(self, bag: Bag, topic: str, count: int) -> list[dict[str, Any]]:
        """Returns the history of the sensor before each run.

        A run that begins with it has the results of a node that received all clouds.
        """
        history = SensorHistory(self._detector)
        states = [history.to_dict()]
        before = (count - 1) // RUN_FRAMES * RUN_FRAMES  # frames before the last run
        clouds = read_clouds(
            bag, topic, every=self._settings.every, count=before, decode=self._decode
        )
        for number, cloud in enumerate(clouds, 1):
            if isinstance(cloud, BagFrame):  # a node drops the others
                history.begin_cloud(cloud)
                self._detector.track_mounting(cloud.points)
            if number % RUN_FRAMES == 0:
                states.append(history.to_dict())
        return states

    def _compute(
        self, unit: Run, writers: list[RunWriter], progress: Callable[[int], None]
    ) -> dict[str, Any]:
        """Writes the results of the clouds of a run; returns their number and the skipped clouds.

        As in a node, a cloud that cannot be used is skipped, and the next one follows.

        Raises:
            TinyBevError: no cloud of the run can be used.
            NotEnoughMemoryError: a cloud needs more memory than is free now.
        """
        history = SensorHistory(self._detector, unit.mounting)
        clouds = read_clouds(
            self._open(unit.path),
            self._settings.topic,
            every=self._settings.every,
            first=unit.first,
            count=unit.count,
            decode=self._decode,
        )
        skipped = []
        for cloud in clouds:
            if isinstance(cloud, BagFrame):
                history.begin_cloud(cloud)
                reason = self._write(cloud, unit.name, writers)
            else:
                reason = cloud.reason
            if reason:
                skipped.append({'index': cloud.index, 'time_ns': cloud.time_ns, 'reason': reason})
            progress(1)
        if len(skipped) == unit.count:
            raise TinyBevError(
                f'run has 0 frames, as all of its {unit.count} clouds are skipped; expected at '
                f'least one; the first cloud: {skipped[0]["reason"]}'
            )
        return {'frames': unit.count - len(skipped), 'skipped': skipped}

    def _write(self, cloud: BagFrame, bag: str, writers: list[RunWriter]) -> str:
        """Writes the results of a cloud; returns the reason where there are none."""
        try:
            result = self._detector.detect_local(cloud.points)
            frame = ExtractedFrame(
                bag, cloud.index, cloud.time_ns, cloud.stamp, cloud.frame_id, result
            )
            for writer in writers:
                writer.add(frame)
        except NotEnoughMemoryError:
            raise  # free memory differs between attempts, and results must not
        except TinyBevError as error:
            return str(error)
        return ''

    def _open(self, path: str) -> Bag:
        """Opens a bag, which stays open for its further runs."""
        if self._bag is not None and self._bag.path != Path(path):
            self._bag.close()
            self._bag = None
        if self._bag is None:
            self._bag = Bag(path, self._settings.folder.scratch_folder())
        return self._bag
