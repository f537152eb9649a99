# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Base of all nodes: parameters, networks, input, outputs, and the frame of one input."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import Lock
from typing import Any, TypeVar

import torch
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.backbone_paths import FrameStatistics
from tiny_bev_ros.inference.device_timer import timestamp_on
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.messages.message_fields import Stamp
from tiny_bev_ros.nodes import parameters
from tiny_bev_ros.nodes.debug_publisher import DebugPublisher, stages_of
from tiny_bev_ros.nodes.diagnostics import NodeDiagnostics, NodeReport
from tiny_bev_ros.nodes.managed_node import ManagedNode
from tiny_bev_ros.nodes.node_models import NodeModels
from tiny_bev_ros.nodes.output_publisher import OutputPublisher, Subscribers, apply_change
from tiny_bev_ros.nodes.parameter_server import ParameterServer
from tiny_bev_ros.runtime.process import trim_malloc
from tiny_bev_ros.runtime.staleness import StalenessCheck
from tiny_bev_ros.runtime.stats import CameraStats, FrameTimes, InputStats

_Result = TypeVar('_Result')
_PERIOD_S = 1.0


class BevNode(ManagedNode):
    """Managed node with one input, some outputs, and networks between them.

    configure loads weights, builds networks and warms them up; activate subscribes; deactivate
    ends the subscription and frees buffers; cleanup frees everything.

    Callbacks are in three groups: input, diagnostics, and the rest. With one thread for each the
    node answers while it computes.

    Attributes:
        stats: counts of the input.
        staleness: checks stamps of inputs against the clock.
        models: weights and networks.
        backbone_statistics: statistics of the backbone's last frame; None before the first.
        cameras: counts of each camera's messages, by name.
        subscribers: topics that had subscribers when the input in progress arrived.
        diagnostics: publishes reports of the node.

    Args:
        name: name of the node; a key of parameters.NODES.
        **node_options: options of rclpy's Node.
    """

    def __init__(self, name: str, **node_options: Any) -> None:
        super().__init__(name, **node_options)
        self.stats = InputStats(self.get_logger(), time.monotonic_ns)
        self.staleness = StalenessCheck(lambda: self.get_clock().now().nanoseconds, self.stats)
        self.models = NodeModels(self.get_logger(), self.map_shape)
        self.backbone_statistics: FrameStatistics | None = None
        self.cameras: dict[str, CameraStats] = {}
        self.subscribers = self._next_subscribers = Subscribers()
        self._outputs: list[OutputPublisher] = []
        self._debug: DebugPublisher | None = None
        self._inputs: list[Any] = []
        self._input_group = MutuallyExclusiveCallbackGroup()
        self._frame_lock, self._in_frame = Lock(), False
        self._times, self._stamp = FrameTimes(0), (0, 0)
        own, change = parameters.NODES[name], self.refuse_on_error(self._change)
        self._parameter_server = ParameterServer(
            self, own, lambda: self.models.fallback is not None, change
        )
        self.diagnostics = NodeDiagnostics(self, self.stats)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # simulated time may stand still
        group = MutuallyExclusiveCallbackGroup()
        self._timer = self.create_timer(_PERIOD_S, self._publish_diagnostics, group, clock=steady)

    # Parts of a node, which subclasses make.

    def load(self, values: dict[str, Any]) -> LoadedModels:
        """Loads the networks' weights."""
        raise NotImplementedError

    def make_outputs(self, values: dict[str, Any], networks: ModelRunner) -> list[OutputPublisher]:
        """Makes the publishers of the node's results."""
        raise NotImplementedError

    def make_inputs(self, values: dict[str, Any]) -> list[Any]:
        """Makes the inputs, with `sources` and `destroy`; they end in this order."""
        raise NotImplementedError

    def map_shape(self) -> tuple[int, int] | None:
        """Returns (H,W) of the maps to process; None if it is unknown in advance."""
        raise NotImplementedError

    # Services for subclasses and their inputs.

    @property
    def values(self) -> dict[str, Any]:
        """Values of the parameters, by name."""
        return self._parameter_server.values

    @property
    def has_subscribers(self) -> bool:
        """True if an output, or a debug topic, has a subscriber at this moment."""
        return bool(Subscribers.of(self._outputs))

    def input_options(self) -> dict[str, Any]:
        """Returns the options of a LatestInput."""
        return {
            'reliability': self.values['input_reliability'],
            'is_active': self._note_subscribers,
            'stats': self.stats,
            'group': self._input_group,
            'frame': self._frame,
            'silence_s': lambda: self.values['diagnostics.input_timeout_s'],
        }

    def run(self, stage: str, work: Callable[..., _Result], *args: Any) -> _Result:
        """Runs a method of ModelRunner, with less memory if that is short, and times the stage."""
        fallback = self.models.fallback
        assert fallback is not None
        try:
            # The clock of the host suffices for the CPU, to which a fallback may switch.
            on_cpu = fallback.config.device.type == 'cpu'
            timestamp = () if on_cpu else (lambda: timestamp_on(fallback.config.device),)
            with self._times.stage(stage, *timestamp):
                result = fallback.run(work, *args)
        except TinyBevError:
            raise
        except Exception as error:
            self.handle_error(error, stage)
            raise
        if self.fault_policy.failures:
            self.fault_policy.record_success(stage)
        return result

    def run_backbone(self, work: Callable[..., torch.Tensor], *args: Any) -> torch.Tensor:
        """Runs the stage 'backbone' as `run` does, and records the statistics of the backbone."""
        features = self.run('backbone', work, *args)
        backbone = self.models.fallback.runner.backbone if self.models.fallback else None
        assert backbone is not None
        self.backbone_statistics = statistics = backbone.statistics
        self.stats.count_path(statistics.path)
        return features

    def timed(self, stage: str) -> AbstractContextManager[None]:
        """Context manager: times a stage that runs no networks."""
        return self._times.stage(stage)

    def start_frame(self, stamp: Stamp | None) -> None:
        """Records the stamp of an input; raises StaleInputError if it is not fresh."""
        self._stamp = stamp or (0, 0)
        self.staleness.check_input(self._stamp)

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Context manager: times publishing; raises StaleInputError if it is not fresh."""
        self.staleness.check(self._stamp)
        with self._times.stage('publish'):
            yield

    # Lifecycle.

    def destroy_node(self) -> None:
        """Frees everything, logs the counts of the inputs, and ends the node."""
        self._transition(self._release, 'finalized')
        self.get_logger().info(str(self.stats))
        for name, stats in self.cameras.items():
            self.get_logger().info(f'camera {name}: {stats}')
        self.destroy_timer(self._timer)
        super().destroy_node()

    @property
    def _sources(self) -> list[str]:
        return [source for each in self._inputs for source in each.sources]

    @property
    def _device(self) -> torch.device | None:
        execution = self.models.execution
        return execution.device if execution is not None else None

    def _describe_configuration(self) -> str:
        return f'configured: {self.models.describe()}'

    def _configure(self) -> None:
        self._parameter_server.check()
        values = self.values
        loaded, networks = self.models.configure(values, self.load)
        self._debug = DebugPublisher(self, stages_of(loaded))
        self._outputs = [self._debug]
        self._outputs += self.make_outputs(values, networks)
        self.staleness.max_age_ms = values['max_age_ms']

    def _activate(self) -> None:
        self.models.rebuild()
        self.diagnostics.reset()
        self._inputs = self.make_inputs(self.values)

    def _deactivate(self) -> None:
        # An input whose destroy raises, as its thread does not end, is dropped as well.
        inputs, self._inputs = self._inputs, []
        with ExitStack() as stack:
            for output in self._outputs:
                stack.callback(output.withdraw)
            for each in reversed(inputs):
                stack.callback(each.destroy)
        self.models.release()
        trim_malloc()

    def _release(self) -> None:
        try:
            self._deactivate()
        finally:
            outputs, self._outputs = self._outputs, []
            for output in outputs:
                output.destroy()
            self._debug = None
            self.models.clear()
            trim_malloc()

    # Frames, in the thread that processes inputs.

    def _note_subscribers(self) -> bool:
        # The middleware is queried once for each input, when it arrives. An input that is
        # dropped leaves the topics of the input that waits.
        subscribers = Subscribers.of(self._outputs)
        if subscribers:
            self._next_subscribers = subscribers
        return bool(subscribers)

    @contextmanager
    def _frame(self, times: FrameTimes) -> Iterator[None]:
        with self._frame_lock:
            self._times, self.subscribers, self._in_frame = times, self._next_subscribers, True
            try:
                yield
                times.synchronize()
            except TinyBevError:
                if self.models.exhausted:
                    self.fail(self.models.exhausted)
                raise
            except Exception as error:
                self.handle_error(error)
                raise
            finally:
                self._in_frame = False
            age_ms = self.staleness.age_ms(self._stamp)
            self.diagnostics.record_frame(times.latency_ms(), age_ms)
            if self._debug is not None:
                self._debug.publish_times(times, age_ms, self.subscribers.debug)

    # Diagnostics.

    def report(self) -> NodeReport:
        """Returns the state of the node for diagnostics."""
        return NodeReport(
            state=self.state,
            fault=self.fault,
            parameters=self.values,
            has_subscribers=self.has_subscribers,
            busy_s=self._times.processing_ms() / 1e3 if self._in_frame else 0.0,
            cameras=self.cameras,
            clock_is_missing=self.staleness.clock_is_missing,
            age_unknown=self.staleness.unknown_age_reason,
            execution=self.models.execution,
            memory_steps=self.models.memory_steps,
            digests=self.models.digests,
            backbone=self.backbone_statistics,
        )

    def _publish_diagnostics(self) -> None:
        self.diagnostics.publish(self.report())

    # Changes of parameters while configured.

    def _change(self, values: dict[str, Any], names: set[str]) -> None:
        """Prepares everything new first, so that a refused change changes nothing."""
        callbacks = [each for output in self._outputs for each in output.prepare(values, names)]
        networks = self.models.prepare(values, self.values, names)
        callbacks += networks
        with self._frame_lock:
            apply_change(callbacks, self._outputs, self.values, names)
            self.staleness.max_age_ms = values['max_age_ms']
        callbacks.clear()  # frees the old networks, which they reference
        if networks:
            networks.clear()
            trim_malloc()  # returns memory of the old networks, in pieces between the new ones
