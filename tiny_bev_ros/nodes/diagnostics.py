# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Diagnostics of a node: turns reports of the node into messages on /diagnostics."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos import QoSProfile

from tiny_bev_ros.inference.backbone_runner import FrameStatistics
from tiny_bev_ros.inference.memory import device_memory_mb
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig
from tiny_bev_ros.optional_imports import take_notes
from tiny_bev_ros.runtime.health import (
    IntervalCounter,
    IntervalCounts,
    NodeStatus,
    Thresholds,
    evaluate_status,
)
from tiny_bev_ros.runtime.staleness import NO_CLOCK
from tiny_bev_ros.runtime.stats import CameraStats, InputStats, Percentiles

_LATENCY_PERCENTS, _AGE_PERCENTS = (50, 95, 99), (50, 95)
# Hexadecimal digits of a SHA-256; the diagnostics carry the first twelve.
_DIGEST_LENGTH, _SHOWN_LENGTH = 64, 12


@dataclass(frozen=True)
class NodeReport:
    """State of a node at one moment, as the node reports it.

    Attributes:
        state: lifecycle state, by name.
        fault: '' or the reason why the node is not active.
        parameters: parameters of the node, of which `diagnostics.*` are the thresholds.
        has_subscribers: True if anybody subscribes to an output.
        busy_s: processing time of the input in progress so far, s; 0 without one.
        cameras: statistics of each camera, by name.
        clock_is_missing: True if the clock is simulated and has not begun.
        age_unknown: '' or the reason why the age of outputs is unknown.
        execution: settings by which networks run; None without networks.
        memory_steps: measures against a shortage of memory that are in force.
        digests: SHA-256 of the weight files, by network.
        backbone: statistics of the backbone's last frame; None without one.
    """

    state: str
    fault: str
    parameters: Mapping[str, Any]
    has_subscribers: bool = False
    busy_s: float = 0.0
    cameras: Mapping[str, CameraStats] = field(default_factory=dict)
    clock_is_missing: bool = False
    age_unknown: str = ''
    execution: ExecutionConfig | None = None
    memory_steps: tuple[str, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    backbone: FrameStatistics | None = None


class NodeDiagnostics:
    """Publishes the reports of a node, with rates and percentiles of its frames.

    A plain rclpy node suffices, for its name, clock, logger and publisher; all other state comes
    in a NodeReport.

    Args:
        node: node that publishes.
        stats: counts of the node's input.
    """

    def __init__(self, node: Node, stats: InputStats) -> None:
        self._node, self._stats = node, stats
        self._latency_ms, self._age_ms = Percentiles(), Percentiles()
        self._rates = IntervalCounter(stats, time.monotonic_ns())
        self._last_received, self._silent_since = 0, time.monotonic()
        self._last_missing: dict[str, int] = {}
        self._publisher = node.create_publisher(
            DiagnosticArray, '/diagnostics', QoSProfile(depth=10)
        )

    def reset(self) -> None:
        """Clears the statistics of frames; silence is measured from now on."""
        self._latency_ms.clear()
        self._age_ms.clear()
        self._silent_since = time.monotonic()

    def record_frame(self, latency_ms: float, age_ms: float | None) -> None:
        """Adds the latency of an input that led to an output, and the output's age if known."""
        self._latency_ms.add(latency_ms)
        if age_ms is not None:
            self._age_ms.add(age_ms)

    def publish(self, report: NodeReport) -> None:
        """Publishes a report; logs the notes on optional packages since the last one."""
        for line in take_notes():
            self._node.get_logger().warning(line)
        message = DiagnosticArray(status=[self.status(report)])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def status(self, report: NodeReport) -> DiagnosticStatus:
        """Returns the status of the node, with rates and warnings since the last call."""
        now = time.monotonic()
        interval = self._rates.next_interval(time.monotonic_ns())
        if self._stats.received != self._last_received:
            self._last_received, self._silent_since = self._stats.received, now
        latency_ms = self._latency_ms.at(*_LATENCY_PERCENTS)
        level, message = evaluate_status(
            NodeStatus(
                state=report.state,
                fault=report.fault,
                silent_s=now - self._silent_since,
                has_subscribers=report.has_subscribers,
                latency_ms=latency_ms[_LATENCY_PERCENTS.index(95)],
                rate_hz=interval.rate_out_hz,
                received=interval.received,
                dropped=interval.dropped,
                busy_s=report.busy_s,
                warnings=tuple(self._warnings(report)),
            ),
            Thresholds(
                **{
                    name: report.parameters[f'diagnostics.{name}']
                    for name in Thresholds.__dataclass_fields__
                }
            ),
        )
        values = self._values(report, interval, latency_ms)
        return DiagnosticStatus(
            level=bytes([level]),
            name=f"{self._node.get_fully_qualified_name().lstrip('/')}: bird's-eye view",
            message=message,
            hardware_id=str(report.execution.device) if report.execution else '',
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    def _warnings(self, report: NodeReport) -> Iterator[str]:
        if report.memory_steps:
            yield f'memory was short: computing {", ".join(report.memory_steps)}'
        for name, camera in list(report.cameras.items()):
            missing = camera.missing - self._last_missing.get(name, 0)
            self._last_missing[name] = camera.missing
            if missing:
                yield f'{missing} frames without {name}'
        if report.clock_is_missing:
            yield NO_CLOCK
        yield from self._stats.points.warnings()
        own = (self._node.get_name(), self._node.get_namespace())
        if self._node.get_node_names_and_namespaces().count(own) > 1:
            yield 'another node has the same name'

    def _values(
        self, report: NodeReport, interval: IntervalCounts, latency_ms: list[float]
    ) -> dict[str, str]:
        stats, execution, backbone = self._stats, report.execution, report.backbone
        values = {
            'state': report.state,
            'received': f'{stats.received}',
            'published': f'{stats.published}',
            **{f'dropped_{cause}': f'{count}' for cause, count in stats.dropped.items()},
            'pending': f'{stats.pending}',
            'time_jumps': f'{stats.time_jumps}',
            'bag_restarts': f'{stats.restarts}',
            **stats.points.pairs(),
            'input_rate_hz': f'{interval.rate_in_hz:.1f}',
            'output_rate_hz': f'{interval.rate_out_hz:.1f}',
        }
        for percent, value in zip(_LATENCY_PERCENTS, latency_ms, strict=True):
            values[f'latency_p{percent}_ms'] = f'{value:.1f}'
        age_ms = self._age_ms.at(*_AGE_PERCENTS)
        for percent, value in zip(_AGE_PERCENTS, age_ms, strict=True):
            unknown = report.age_unknown and f'unknown: {report.age_unknown}'
            values[f'output_age_p{percent}_ms'] = unknown or f'{value:.1f}'
        if execution is not None:
            values |= {
                'device': str(execution.device),
                'device_memory_mib': f'{device_memory_mb(execution.device):.0f}',
                'memory_fallback': ', '.join(report.memory_steps) or 'none',
            }
        values |= {
            f'{network}_checkpoint': digest[:_SHOWN_LENGTH]
            if len(digest) == _DIGEST_LENGTH
            else digest
            for network, digest in report.digests.items()
        }
        values |= {f'camera_{name}': str(each) for name, each in list(report.cameras.items())}
        if backbone is not None and execution is not None:
            values |= {
                'precision': backbone.precision,
                'path': backbone.path,
                'active_fraction': f'{backbone.active_fraction:.4f}',
                'work_fraction': f'{backbone.work_fraction:.4f}',
                **{f'frames_{path}': f'{count}' for path, count in sorted(stats.paths.items())},
            }
        return values
