# SPDX-License-Identifier: Apache-2.0
"""What a node tells of itself: /diagnostics, and times of its inputs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidHandle
from rclpy.qos import QoSProfile

from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory import device_memory_mb
from tiny_bev_ros.nodes.debug_publisher import DebugPublisher, stages_of
from tiny_bev_ros.nodes.model_factory import CHECKPOINTS
from tiny_bev_ros.optional_imports import take_notes
from tiny_bev_ros.runtime.health import (
    IntervalCounter,
    IntervalCounts,
    NodeStatus,
    Thresholds,
    evaluate_status,
)
from tiny_bev_ros.runtime.staleness import NO_CLOCK, Stamp
from tiny_bev_ros.runtime.stats import FrameTimes, Percentiles

if TYPE_CHECKING:
    from tiny_bev_ros.nodes.bev_node import BevNode

_PERIOD_S = 1.0


class NodeDiagnostics:
    """Publishes diagnostics once a second, in all states, and times while there are networks.

    Args:
        node: whose.
    """

    def __init__(self, node: BevNode) -> None:
        self._node = node
        self._latency, self._age = Percentiles(), Percentiles()
        self._rates = IntervalCounter(node.stats, time.monotonic_ns())
        self._last_received, self._silent_since = 0, time.monotonic()
        self._last_missing: dict[str, int] = {}
        self._frame: FrameTimes | None = None
        self._times: DebugPublisher | None = None
        self._diagnostics = node.create_publisher(
            DiagnosticArray, '/diagnostics', QoSProfile(depth=10)
        )
        # Steady, as simulated time may stand still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(
            _PERIOD_S, self.tell, MutuallyExclusiveCallbackGroup(), clock=steady
        )

    def destroy(self) -> None:
        """Ends the timer."""
        self._node.destroy_timer(self._timer)

    @property
    def times_wanted(self) -> bool:
        """True if anybody subscribes to times."""
        times = self._times
        try:
            return times is not None and times.wanted
        except InvalidHandle:  # diagnostics may ask while the publishers end
            return False

    def configure(self, weights: LoadedModels) -> None:
        """Offers the times of the stages that a node with these networks has."""
        self._times = DebugPublisher(self._node, stages_of(weights))

    def clean_up(self) -> None:
        """Ends what `configure` began."""
        times, self._times = self._times, None
        if times is not None:
            times.destroy()

    def activate(self) -> None:
        """Forgets the times of before: from now on input is expected."""
        self._latency.clear()
        self._age.clear()
        self._silent_since = time.monotonic()

    @contextmanager
    def frame(self, times: FrameTimes) -> Iterator[None]:
        """A context for the work on an input."""
        self._frame = times
        try:
            yield
        finally:
            self._frame = None
        if self._times is not None:
            self._times.publish_times(times)

    def published(self, stamp: Stamp) -> None:
        """Notes that there is an output of the input that is worked on."""
        if self._frame is not None:
            self._latency.add(self._frame.latency_ms())
        age = self._node.staleness.age_ms(stamp)
        if age is not None:
            self._age.add(age)
            self._publish_debug('pipeline_latency_ms', age)

    def status(self) -> DiagnosticStatus:
        """How the node is now, with what happened since the last call."""
        node, now = self._node, time.monotonic()
        since = self._rates.next_interval(time.monotonic_ns())
        if node.stats.received != self._last_received:
            self._last_received, self._silent_since = node.stats.received, now
        frame, values = self._frame, node.values
        latency = self._latency.at(50, 95, 99)
        level, message = evaluate_status(
            NodeStatus(
                state=node.state,
                fault=node.fault,
                silent_s=now - self._silent_since,
                wanted=node.wanted,
                latency_ms=latency[1],
                rate_hz=since.rate_out_hz,
                received=since.received,
                dropped=since.dropped,
                busy_s=frame.processing_ms() / 1e3 if frame else 0.0,
                warnings=tuple(self._warnings()),
            ),
            Thresholds(
                **{name: values[f'diagnostics.{name}'] for name in Thresholds.__dataclass_fields__}
            ),
        )
        ladder = node.ladder
        pairs = self._pairs(since, latency)
        return DiagnosticStatus(
            level=bytes([level]),
            name=f"{node.get_fully_qualified_name().lstrip('/')}: bird's-eye view",
            message=message,
            hardware_id=str(ladder.config.device) if ladder else '',
            values=[KeyValue(key=key, value=value) for key, value in pairs.items()],
        )

    def _warnings(self) -> Iterator[str]:
        node, ladder = self._node, self._node.ladder
        if ladder is not None and ladder.steps:
            yield f'memory was short: computing {", ".join(ladder.steps)}'
        for name, stats in list(node.cameras.items()):
            missing = stats.missing - self._last_missing.get(name, 0)
            self._last_missing[name] = stats.missing
            if missing:
                yield f'{missing} frames without {name}'
        if node.staleness.clock_is_missing:
            yield NO_CLOCK
        yield from node.stats.points.warnings()
        own = (node.get_name(), node.get_namespace())
        if node.get_node_names_and_namespaces().count(own) > 1:
            yield 'another node has the same name'

    def _pairs(self, since: IntervalCounts, latency: list[float]) -> dict[str, str]:
        node, stats = self._node, self._node.stats
        ladder, weights = node.ladder, node.weights  # a cleanup may take them meanwhile
        pairs = {
            'state': node.state,
            'received': f'{stats.received}',
            'published': f'{stats.published}',
            **{f'dropped, {cause}': f'{count}' for cause, count in stats.dropped.items()},
            'pending': f'{stats.pending}',
            'stamps that went back': f'{stats.time_jumps}',
            'times a bag began again': f'{stats.restarts}',
            **stats.points.pairs(),
            'rate in, Hz': f'{since.rate_in_hz:.1f}',
            'rate out, Hz': f'{since.rate_out_hz:.1f}',
        }
        for percent, value in zip((50, 95, 99), latency, strict=True):
            pairs[f'latency {percent} %, ms'] = f'{value:.1f}'
        unknown_age_reason = node.staleness.unknown_age_reason
        for percent, value in zip((50, 95), self._age.at(50, 95), strict=True):
            pairs[f'age of output {percent} %, ms'] = (
                f'unknown: {unknown_age_reason}' if unknown_age_reason else f'{value:.1f}'
            )
        if ladder is not None:
            settings = ladder.config
            pairs |= {
                'device': str(settings.device),
                'device memory, MiB': f'{device_memory_mb(settings.device):.0f}',
                'when memory was short': ', '.join(ladder.steps) or 'nothing',
            }
        if weights is not None:
            pairs |= {
                CHECKPOINTS[part].replace('.', ' ').replace('_', ' '): digest[:12]
                if len(digest) == 64
                else digest
                for part, digest in weights.digests.items()
            }
        pairs |= {f'camera {name}': str(each) for name, each in list(node.cameras.items())}
        statistics = node.statistics
        if statistics is not None and ladder is not None:
            pairs |= {
                'precision': ladder.config.precision,
                'path': statistics.path,
                'active share': f'{statistics.active_fraction:.4f}',
                'work share': f'{statistics.work_fraction:.4f}',
                **{f'frames {path}': f'{count}' for path, count in sorted(stats.paths.items())},
            }
        return pairs

    def tell(self) -> None:
        """Publishes how the node is now; logs what there is to tell of optional packages."""
        for line in take_notes():
            self._node.get_logger().warning(line)
        message = DiagnosticArray(status=[self.status()])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _publish_debug(self, name: str, value: float) -> None:
        if self._times is not None:
            self._times.publish(name, value)
