# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Managed ROS 2 node: reports its transitions and leaves the active state in order on a fault.

States and transitions are those of managed nodes: design.ros2.org/articles/node_lifecycle.html
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.inference.device_errors import device_is_lost, is_device_error
from tiny_bev_ros.inference.memory import shortage
from tiny_bev_ros.optional_imports import one_line

# A stage that fails this many times in a row does not fail because of its inputs.
_MAX_FAILURES = 10


class FaultPolicy:
    """Decides whether an error is a fault of the node or belongs to one input.

    A TinyBevError names something wrong in an input and is never passed here. An error of the
    device is a fault at once, because the next input would meet it again. Any other error is a
    fault once one stage has failed ten times in a row.

    Attributes:
        device_lost: True if the process can use its device no more: only a new process can.
        failures: number of failures in a row by stage; a stage without failures is absent.
    """

    def __init__(self) -> None:
        self.device_lost = False
        self.failures: Counter[str] = Counter()

    def record_success(self, stage: str) -> None:
        """Ends the row of failures of a stage."""
        del self.failures[stage]

    def evaluate(self, error: Exception, stage: str, device: torch.device | None) -> str:
        """Returns the fault of the node in one line, or '' if the node can go on.

        Args:
            error: exception that was raised.
            stage: inference stage that raised it; '' for anything else.
            device: device of the networks; None without networks.
        """
        line = one_line(error)
        if is_device_error(error) and not shortage(error):
            self.device_lost = self.device_lost or device_is_lost(error, device)
            return f'{line} (the device is lost to this process)' if self.device_lost else line
        if not stage:
            return ''
        self.failures[stage] += 1
        if self.failures[stage] < _MAX_FAILURES:
            return ''
        return f'{stage} failed {self.failures[stage]} times in a row: {line}'


class ManagedNode(LifecycleNode):
    """Lifecycle node whose subclasses do the work of transitions in plain methods.

    A fault of the active node leads through error processing to unconfigured. Where the device
    is lost to the process, the process must end as well.

    Attributes:
        state: lifecycle state, by name.
        fault: '' or the reason why the node is not active.
        device_lost: True if the process must end, because it can use its device no more.
        fault_policy: decides which errors are faults of the node.

    Args:
        name: name of the node.
        **node_options: options of rclpy's Node.
    """

    def __init__(self, name: str, **node_options: Any) -> None:
        super().__init__(name, **node_options)
        reject_invalid_transitions(self)
        self.state, self.fault, self.device_lost = 'unconfigured', '', False
        self.fault_policy = FaultPolicy()
        self._fault_guard = self.create_guard_condition(self._deactivate_on_fault)

    # Actions of the transitions; each may raise.

    def _configure(self) -> None:
        raise NotImplementedError

    def _activate(self) -> None:
        raise NotImplementedError

    def _deactivate(self) -> None:
        raise NotImplementedError

    def _release(self) -> None:
        """Frees everything that `_configure` made, in any state."""
        raise NotImplementedError

    # Properties of the node that appear in its log and diagnostics.

    def _describe_configuration(self) -> str:
        raise NotImplementedError

    @property
    def _sources(self) -> list[str]:
        """Topics and types to which the active node subscribes."""
        raise NotImplementedError

    @property
    def _device(self) -> torch.device | None:
        """Device of the networks; None without networks."""
        raise NotImplementedError

    def _publish_diagnostics(self) -> None:
        """Publishes diagnostics at once."""
        raise NotImplementedError

    # Lifecycle callbacks.

    def start(self) -> bool:
        """Configures and activates the node; returns True if both succeeded."""
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads weights, builds networks, warms them up; on failure logs why and frees all."""
        result = self._transition(self._configure, 'inactive', self._describe_configuration)
        if result != TransitionCallbackReturn.SUCCESS:
            self._release()
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribes to the input."""
        return self._transition(
            self._activate, 'active', lambda: f'active, waiting for {", ".join(self._sources)}'
        )

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ends the subscription after the input in progress, and frees buffers."""
        if self.fault:
            return TransitionCallbackReturn.ERROR
        return self._transition(self._deactivate, 'inactive', lambda: 'deactivated')

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees networks, publishers and device memory."""
        return self._transition(self._release, 'unconfigured', lambda: 'cleaned up')

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees everything for good."""
        return self._transition(self._release, 'finalized', lambda: 'shut down')

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees everything, so that configure may be tried again."""
        fault = self.fault
        result = self._transition(self._release, 'unconfigured')
        if result != TransitionCallbackReturn.SUCCESS:
            self.state = 'finalized'
        self.fault = fault or self.fault
        self.get_logger().error(f'{self.state} after an error: {self.fault}')
        return result

    def _transition(
        self, work: Callable[[], None], state: str, describe: Callable[[], str] | None = None
    ) -> TransitionCallbackReturn:
        # rclpy logs neither transitions nor what they raise.
        try:
            work()
        except TinyBevError as error:
            self.fault = str(error)
            self.get_logger().error(f'not {state}: {self.fault}')
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self.fault = f'{type(error).__name__}: {error}'
            self.get_logger().error(traceback.format_exc().strip())
            self.handle_error(error)
            return TransitionCallbackReturn.ERROR
        self.state, self.fault = state, ''
        if describe is not None:
            self.get_logger().info(describe())
        return TransitionCallbackReturn.SUCCESS

    # Faults.

    def handle_error(self, error: Exception, stage: str = '') -> None:
        """Makes the node fail if an error that is no TinyBevError is a fault of the node.

        Args:
            error: exception that was raised.
            stage: inference stage that raised it; '' for anything else.
        """
        fault = self.fault_policy.evaluate(error, stage, self._device)
        if fault:
            self.fail(fault)

    def fail(self, fault: str) -> None:
        """Starts error processing of the node, with a reason; callable from any thread."""
        self.fault = fault
        self._fault_guard.trigger()

    def refuse_on_error(self, change: Callable[..., None]) -> Callable[..., None]:
        """Returns ``change``, whose errors all become TinyBevError and so refuse the change."""

        def guarded(*arguments: Any) -> None:
            try:
                change(*arguments)
            except TinyBevError:
                raise
            except Exception as error:
                self.get_logger().error(traceback.format_exc().strip())
                self.handle_error(error)
                raise TinyBevError(f'the change failed: {one_line(error)}') from error

        return guarded

    def _deactivate_on_fault(self) -> None:
        # Runs in the executor: the end of the thread that processes inputs is awaited.
        if self.fault and self.state == 'active':
            self.trigger_deactivate()
        if self.fault_policy.device_lost and not self.device_lost:
            self.get_logger().fatal('ending, as only another process can use the device')
            self._publish_diagnostics()
            self.device_lost = True


def reject_invalid_transitions(node: LifecycleNode) -> None:
    """Makes a node respond with failure to a transition that its state does not have.

    In rclpy, up to Kilted at least, such a request raises in the executor and so ends the node.
    """
    service = getattr(node, '_service_change_state', None)
    if service is None:  # a node without a communication interface
        return
    change = service.callback

    def respond(request: Any, response: Any) -> Any:
        try:
            return change(request, response)
        except Exception as error:  # RCLError, whose module is private
            transition = request.transition
            node.get_logger().error(
                f'transition {transition.label or transition.id} is not possible now: '
                f'{str(error).splitlines()[0]}'
            )
            response.success = False
            return response

    service.callback = respond
