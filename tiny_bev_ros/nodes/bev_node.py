# SPDX-License-Identifier: Apache-2.0
"""The parameters, networks, input and outputs that all nodes of the package share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import Lock
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.exceptions import InvalidHandle

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.backbone_paths import FrameStatistics
from tiny_bev_ros.inference.device_timer import timestamp_on
from tiny_bev_ros.inference.loaded_models import LoadedModels
from tiny_bev_ros.inference.memory import NotEnoughMemoryError, limit_device_memory
from tiny_bev_ros.inference.memory_fallback import MemoryFallback
from tiny_bev_ros.inference.model_builder import ModelBuilder
from tiny_bev_ros.inference.model_runner import ModelRunner
from tiny_bev_ros.nodes import model_factory, model_reload, parameters
from tiny_bev_ros.nodes.diagnostics import NodeDiagnostics
from tiny_bev_ros.nodes.managed_node import ManagedNode
from tiny_bev_ros.nodes.parameter_server import ParameterServer
from tiny_bev_ros.runtime.process import trim_malloc
from tiny_bev_ros.runtime.staleness import StalenessCheck, Stamp
from tiny_bev_ros.runtime.stats import CameraStats, FrameTimes, InputStats

_P = ParamSpec('_P')
_Result = TypeVar('_Result')


class BevNode(ManagedNode):
    """A managed node with one input, some outputs, and networks between them.

    configure loads weights, makes the networks and warms them up; activate subscribes;
    deactivate ends the subscription and frees buffers; cleanup gives everything back.

    Callbacks are in three groups: the input, diagnostics, and all the rest. With threads for
    each the node answers while it computes.

    Attributes:
        stats: what became of its input.
        weights, ladder: the networks, and what runs them; None while unconfigured.
        statistics: of the last frame, of nodes with a backbone.
        cameras: what became of the messages of each, by name.

    Args:
        name: of the node; a key of parameters.NODES.
        **node_options: of rclpy's Node.
    """

    def __init__(self, name: str, **node_options: Any) -> None:
        super().__init__(name, **node_options)
        self.stats = InputStats(self.get_logger(), time.monotonic_ns)
        self.staleness = StalenessCheck(lambda: self.get_clock().now().nanoseconds, self.stats)
        self.weights: LoadedModels | None = None
        self.ladder: MemoryFallback[ModelRunner] | None = None
        self.statistics: FrameStatistics | None = None
        self.cameras: dict[str, CameraStats] = {}
        self._outputs: list[Any] = []
        self._inputs: list[Any] = []
        self._input_group = MutuallyExclusiveCallbackGroup()
        self._frame_lock = Lock()
        self._times, self._stamp = FrameTimes(0), (0, 0)
        self._parameters_of_node = ParameterServer(
            self, parameters.NODES[name], lambda: self.ladder is not None, self._change
        )
        self.telemetry = NodeDiagnostics(self)

    # What a node is made of.

    def load(self, values: dict[str, Any]) -> LoadedModels:
        """The networks and their weights."""
        raise NotImplementedError

    def make_outputs(self, values: dict[str, Any], networks: Any) -> list[Any]:
        """The outputs of the node, each an Output."""
        raise NotImplementedError

    def make_inputs(self, values: dict[str, Any]) -> list[Any]:
        """Makes the inputs, with `sources` and `destroy`; they end in this order."""
        raise NotImplementedError

    def map_shape(self) -> tuple[int, int] | None:
        """(H,W) of the maps that come, if it is known."""
        raise NotImplementedError

    # For the nodes' use.

    @property
    def values(self) -> dict[str, Any]:
        """The parameters by name."""
        return self._parameters_of_node.values

    @property
    def wanted(self) -> bool:
        """True if anybody subscribes to what the node publishes, be it times alone."""
        return self._output_wanted or self.telemetry.times_wanted

    @property
    def only_times_wanted(self) -> bool:
        """True if times are subscribed to and nothing else: then they are of all its work."""
        return not self._output_wanted and self.telemetry.times_wanted

    @property
    def _output_wanted(self) -> bool:
        try:
            return any(output.wanted for output in self._outputs)
        except InvalidHandle:  # diagnostics may ask while the outputs end
            return False

    def input_options(self) -> dict[str, Any]:
        """Options of a LatestInput."""
        return {
            'reliability': self.values['input_reliability'],
            'wanted': lambda: self.wanted,
            'stats': self.stats,
            'group': self._input_group,
            'frame': self._frame,
            'silence_s': lambda: self.values['diagnostics.input_timeout_s'],
        }

    def run(
        self,
        stage: str,
        work: Callable[Concatenate[ModelRunner, _P], _Result],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _Result:
        """Does work on the networks, with less memory if need be, and times it.

        Args:
            stage: name of the stage.
            work: method of ModelRunner, or another function of one.
            *args: arguments of the method.
            **kwargs: arguments of the method.
        """
        ladder = self.ladder
        assert ladder is not None
        try:
            # The device may become the CPU meanwhile.
            with self._times.stage(stage, lambda: timestamp_on(ladder.config.device)):
                result = ladder.run(work, *args, **kwargs)
        except TinyBevError:
            raise
        except Exception as error:
            self.notice(error, stage)
            raise
        self.breakdown.worked(stage)
        return result

    def timed(self, stage: str) -> AbstractContextManager[None]:
        """A context for what else is done for an input; times it."""
        return self._times.stage(stage)

    def begin(self, stamp: Stamp) -> None:
        """Notes the stamp of an input; refuses one that is not fresh."""
        self._stamp = stamp
        self.staleness.check_input(stamp)

    def computed(self) -> None:
        """Notes how a backbone has just computed."""
        assert self.ladder is not None
        backbone = self.ladder.runner.backbone
        assert backbone is not None
        statistics = backbone.statistics
        self.statistics = statistics
        self.stats.count_path(statistics.path)

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """A context for what is published of an input; refuses what is no longer fresh."""
        self.staleness.check(self._stamp)
        with self._times.stage('publish'):
            yield

    # Transitions.

    def destroy_node(self) -> None:
        """Says what became of the input, and ends."""
        self._transition(self._release, 'finalized')
        self.get_logger().info(str(self.stats))
        for name, stats in self.cameras.items():
            self.get_logger().info(f'camera {name}: {stats}')
        self.telemetry.destroy()
        super().destroy_node()

    @property
    def _sources(self) -> list[str]:
        return [source for each in self._inputs for source in each.sources]

    @property
    def _device(self) -> torch.device | None:
        return self.ladder.config.device if self.ladder is not None else None

    def _tell(self) -> None:
        self.telemetry.tell()

    def _configured_text(self) -> str:
        assert self.ladder is not None and self.weights is not None
        how = model_factory.describe(self.weights, self.ladder.config, self.map_shape())
        return f'configured: {how}'

    def _configure(self) -> None:
        self._parameters_of_node.check()
        values = self.values
        device = model_factory.make_device(values, self.get_logger())
        limit_device_memory(device, values['memory_budget_mb'])
        self.weights = self.load(values)
        self.ladder = MemoryFallback(
            self._builder(self.weights),
            model_factory.make_config(values, device),
            self.get_logger().warning,
            allow_lower_precision=values.get('memory_fallback.allow_bfloat16', False),
            allow_cpu=values['memory_fallback.allow_cpu'],
        )
        self._outputs = self.make_outputs(values, self.ladder.runner)
        self.telemetry.configure(self.weights)
        self.staleness.max_age_ms = values['max_age_ms']

    def _activate(self) -> None:
        assert self.ladder is not None
        self.ladder.ensure_built()  # again after a deactivation
        self.telemetry.activate()
        self._inputs = self.make_inputs(self.values)

    def _deactivate(self) -> None:
        # An input that does not end, for which destroy raises, is not kept either.
        inputs, self._inputs = self._inputs, []
        with ExitStack() as stack:
            for output in self._outputs:
                stack.callback(output.withdraw)
            for each in reversed(inputs):
                stack.callback(each.destroy)
        if self.ladder is not None:
            self.ladder.release()
        trim_malloc()

    def _release(self) -> None:
        try:
            self._deactivate()
        finally:
            outputs, self._outputs = self._outputs, []
            for output in outputs:
                output.destroy()
            self.telemetry.clean_up()
            self.ladder = self.weights = None
            trim_malloc()

    # Inputs, in the thread that works on them.

    @contextmanager
    def _frame(self, times: FrameTimes) -> Iterator[None]:
        with self._frame_lock, self.telemetry.frame(times):
            self._times = times
            try:
                yield
                times.synchronize()
            except NotEnoughMemoryError:
                if self.ladder is not None and self.ladder.exhausted:
                    self.fail(self.ladder.exhausted)
                raise
            except TinyBevError:
                raise
            except Exception as error:
                self.notice(error)
                raise
            self.telemetry.published(self._stamp)

    # Changes at run time.

    def _change(self, values: dict[str, Any], names: set[str]) -> None:
        with self._answering():
            self._apply(values, names)

    def _apply(self, values: dict[str, Any], names: set[str]) -> None:
        """Makes everything new first, so that a change that is refused changes nothing."""
        assert self.ladder is not None and self.weights is not None
        adopt: list[Callable[[], None]] = [
            each for output in self._outputs for each in output.prepare(values, names)
        ]
        weights = model_reload.reload_models(
            self.weights, values, self.values, names, self.get_logger()
        )
        networks = model_reload.prepare(
            self.ladder, self.weights, weights, values, self.values, names, self._builder
        )
        adopt += networks
        with self._frame_lock:
            try:
                for each in adopt:
                    each()
            except TinyBevError:
                for output in self._outputs:
                    for undo in output.prepare(self.values, names):
                        undo()
                raise
            self.weights = weights
            self.staleness.max_age_ms = values['max_age_ms']
        adopt.clear()  # with what it holds of the old ones
        if networks:
            networks.clear()
            trim_malloc()  # what they have left, in pieces between the new ones

    def _builder(self, models: LoadedModels, reuse: ModelRunner | None = None) -> ModelBuilder:
        return ModelBuilder(models, self.map_shape, self.get_logger(), reuse)
