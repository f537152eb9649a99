# SPDX-License-Identifier: Apache-2.0
"""What became of each message of one camera."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from tiny_bev_ros.runtime.input_stats import InputStats

# Why a message of a camera was of no use to any frame.
CAMERA_CAUSES = {
    'unwanted': 'nobody had subscribed to the result',
    'rejected': 'the message was wrong',
    'failed': 'an error of the node itself',
    'late': 'it came after the frame of its time had gone',
    'unplaced': 'it was not known where the camera was mounted',
    'blind': 'it showed no cell of the map',
    'unpaired': 'there was no frame of its time before newer ones took its place',
    'stopped': 'the node was deactivated before',
}


class CameraStats(InputStats):
    """Counts the messages of a camera by what became of them, and the frames without one.

    Attributes:
        published: messages that were used, however often.
        missing: frames that went on without this camera.
        dropped: messages that were not used, by cause; the keys are CAMERA_CAUSES.

    Args:
        camera: its name, for the log.
        logger, now_ns: of InputStats.
    """

    def __init__(self, camera: str, logger: Any, now_ns: Callable[[], int]) -> None:
        super().__init__(logger, now_ns)
        self.missing = 0
        self.dropped: Counter[str] = Counter(dict.fromkeys(CAMERA_CAUSES, 0))
        self._camera = camera

    def go_without(self, reason: str) -> None:
        """Counts a frame without this camera, and logs why as `reject` does."""
        with self._lock:
            self.missing += 1
        if self._is_news(reason):
            self._logger.warning(f'without {self._camera} ({self.missing} so far): {reason}')

    def __str__(self) -> str:
        return (
            f'received {self.received}, used {self.published}, '
            f'dropped {self._dropped_text()}; missing in {self.missing} frames'
        )
