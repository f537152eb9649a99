# SPDX-License-Identifier: Apache-2.0
"""What detections and drivable areas are worth, over many frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from tiny_bev_ros.models.heads.box_ops import iou_3d, iou_bev
from tiny_bev_ros.models.heads.detection import CLASSES, Detections
from tiny_bev_ros.training.average_precision import Ranking
from tiny_bev_ros.training.dataset import FEWEST_POINTS
from tiny_bev_ros.training.kitti import IMAGE_SIZE, Calibration, KittiFolder, KittiObject
from tiny_bev_ros.training.labelled_frame import Frame

MIN_IOUS = (0.25, 0.5, 0.7)
_VIEWS = {'bev': iou_bev, '3d': iou_3d}
# Part of a detection that must lie in an area that nobody labelled to be excused.
_IN_AREA = 0.5
_CORNERS = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])


@dataclass(frozen=True)
class Truth:
    """What is to be found in one frame, of one class.

    Attributes:
        boxes: (M,7) float32.
        counts: (M,) bool: whether it must be found; of the others it is left open.
    """

    boxes: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class EvalFrame:
    """One frame with the answers.

    Attributes:
        name: of the frame.
        frame: its points.
        truths: for each set of objects (a difficulty, say) and class.
        inside: which detections (N,7) lie where objects are labelled at all.
        excused: which detections (N,7) are not wrong although nothing labelled is there.
    """

    name: str
    frame: Frame
    truths: dict[str, list[Truth]]
    inside: _Area
    excused: _Area


class _Area:
    """A part of the world in which every box lies, or none."""

    def __init__(self, answer: bool) -> None:
        self._answer = answer

    def __call__(self, boxes: np.ndarray) -> np.ndarray:
        """(N,7) to (N,) bool."""
        return np.full(len(boxes), self._answer)


class _View(_Area):
    """What a camera sees, up to a distance ahead."""

    def __init__(self, calibration: Calibration, reach: float) -> None:
        self._calibration, self._reach = calibration, reach

    def __call__(self, boxes: np.ndarray) -> np.ndarray:
        return self._calibration.in_image(boxes[:, :3]) & (boxes[:, 0] < self._reach)


class _Unlabelled(_Area):
    """Parts of an image in which objects are, but not labelled."""

    def __init__(self, calibration: Calibration, areas: np.ndarray) -> None:
        self._calibration, self._areas = calibration, areas

    def __call__(self, boxes: np.ndarray) -> np.ndarray:
        rectangles = np.array([self._rectangle(box) for box in boxes]).reshape(-1, 4)
        low = np.maximum(rectangles[:, None, :2], self._areas[None, :, :2])
        high = np.minimum(rectangles[:, None, 2:], self._areas[None, :, 2:])
        shared = (high - low).clip(0).prod(axis=2)
        own = (rectangles[:, 2:] - rectangles[:, :2]).prod(axis=1)
        return (shared > _IN_AREA * own[:, None]).any(axis=1)

    def _rectangle(self, box: np.ndarray) -> np.ndarray:
        corners = _CORNERS * box[3:6]
        cos, sin = np.cos(box[6]), np.sin(box[6])
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        pixels, _ = self._calibration.pixels(corners @ turn.T + box[:3])
        pixels = pixels.clip(0, IMAGE_SIZE)
        return np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])


def kitti_eval_frames(folder: KittiFolder, reach: float = 50.0) -> Iterator[EvalFrame]:
    """Frames of a KITTI folder, its difficulties, and ``seen``: of at least five points.

    Vans, trucks and trams are vehicles too: whether they are found is left open. The same holds
    for people who sit, beside pedestrians.
    """
    for name in folder.names:
        frame, calibration = folder.frame(name), folder.calibration(name)
        everything = folder.objects(name)
        objects = [each for each in everything if each.kind != 'DontCare']
        areas = [each.image_box for each in everything if each.kind == 'DontCare']
        view = _View(calibration, reach)
        near = (
            np.array([each.box[0] < reach for each in objects], np.bool_)
            if objects
            else np.zeros(0, np.bool_)
        )
        truths = {
            level: [_kitti_truth(objects, frame, near, level, kind) for kind in CLASSES]
            for level in ('seen', 'easy', 'moderate', 'hard')
        }
        unlabelled = _Unlabelled(calibration, np.array(areas).reshape(-1, 4))
        yield EvalFrame(name, frame, truths, view, unlabelled)


_KITTI_KINDS = {
    'vehicle': ('Car', ('Van', 'Truck', 'Tram', 'Misc')),
    'pedestrian': ('Pedestrian', ('Person_sitting',)),
    'cyclist': ('Cyclist', ()),
}


def _kitti_truth(
    objects: list[KittiObject], frame: Frame, near: np.ndarray, level: str, kind: str
) -> Truth:
    own, others = _KITTI_KINDS[kind]
    levels = ('easy', 'moderate', 'hard')
    boxes, counts = [], []
    for each, points, is_near in zip(objects, frame.counts, near, strict=True):
        if each.kind != own and each.kind not in others:
            continue
        if level == 'seen':
            asked = points >= FEWEST_POINTS
        else:
            asked = each.difficulty() <= levels.index(level)
        boxes.append(each.box)
        counts.append(each.kind == own and asked and is_near)
    return Truth(np.array(boxes, np.float32).reshape(-1, 7), np.array(counts, np.bool_))


def simulated_eval_frame(name: str, frame: Frame, reach: float = 50.0) -> EvalFrame:
    """A simulated frame: objects of at least five points, ahead and beside, up to a distance."""
    far = np.abs(frame.boxes[:, :2]).max(axis=1, initial=0) >= reach
    truths = []
    for label in range(len(CLASSES)):
        mine = frame.labels == label
        counts = (frame.counts >= FEWEST_POINTS) & ~far
        truths.append(Truth(frame.boxes[mine], counts[mine]))
    return EvalFrame(name, frame, {'seen': truths}, _Square(reach), _Area(answer=False))


class _Square(_Area):
    """A square around the sensor."""

    def __init__(self, reach: float) -> None:
        self._reach = reach

    def __call__(self, boxes: np.ndarray) -> np.ndarray:
        return np.abs(boxes[:, :2]).max(axis=1, initial=0) < self._reach


def mistakes(exam: EvalFrame, found: Detections) -> tuple[int, np.ndarray]:
    """How many objects of one frame are wrong or missed, and (M,7) boxes of the missed ones.

    Of the first set of objects, at an overlap of 0.5 for vehicles and 0.25 for others.
    """
    wrong, missed = 0, [np.empty((0, 7), np.float32)]
    inside, excused = exam.inside(found.boxes.numpy()), exam.excused(found.boxes.numpy())
    for label, truth in enumerate(next(iter(exam.truths.values()))):
        mine = inside & (found.labels.numpy() == label)
        iou = iou_bev(found.boxes[mine], torch.from_numpy(truth.boxes)).numpy()
        least = MIN_IOUS[1] if label == 0 else MIN_IOUS[0]
        outcome = Ranking().add(
            found.scores.numpy()[mine], iou, truth.counts, least, excused[mine]
        )
        wrong += int((outcome == 0).sum())
        hit = (iou >= least).any(axis=0) if len(iou) else np.zeros(len(truth.boxes), np.bool_)
        missed.append(truth.boxes[truth.counts & ~hit])
    boxes = np.concatenate(missed)
    return wrong + len(boxes), boxes


@dataclass
class Score:
    """What a network is worth, frame after frame.

    Attributes:
        rankings: by set of objects, class, view ('bev' or '3d') and least overlap.
        shared, both: cells of drivable area that are right, and that are either.
        frames: how many there were.
    """

    rankings: dict[tuple[str, str, str, float], Ranking] = field(default_factory=dict)
    shared: int = 0
    both: int = 0
    frames: int = 0

    def add(self, exam: EvalFrame, found: Detections) -> None:
        """Takes the detections of one frame."""
        self.frames += 1
        all_boxes = found.boxes.cpu().numpy()
        inside = exam.inside(all_boxes)
        excused = exam.excused(all_boxes)
        labels, scores = found.labels.cpu().numpy(), found.scores.cpu().numpy()
        for label, kind in enumerate(CLASSES):
            mine = inside & (labels == label)
            boxes = torch.from_numpy(all_boxes[mine])
            for level, truths in exam.truths.items():
                truth = truths[label]
                for view, measure in _VIEWS.items():
                    iou = measure(boxes, torch.from_numpy(truth.boxes)).numpy()
                    for least in MIN_IOUS:
                        ranking = self.rankings.setdefault((level, kind, view, least), Ranking())
                        ranking.add(scores[mine], iou, truth.counts, least, excused[mine])

    def add_area(self, said: np.ndarray, drivable: np.ndarray, seen: np.ndarray) -> None:
        """Takes the drivable area (h,w) of one frame, where it is known."""
        self.shared += int((said & drivable & seen).sum())
        self.both += int(((said | drivable) & seen).sum())

    @property
    def drivable_iou(self) -> float:
        """Of all frames together; NaN where nobody knows any."""
        return self.shared / self.both if self.both else float('nan')

    def table(self) -> Iterable[tuple[str, str, str, float, int, float]]:
        """Set, class, view, least overlap, objects, average precision."""
        for (level, kind, view, least), ranking in self.rankings.items():
            yield level, kind, view, least, ranking.positives, ranking.average_precision()
