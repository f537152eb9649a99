# SPDX-License-Identifier: Apache-2.0
"""The life of a node: its transitions, and the way out of a fault.

States and transitions are those of managed nodes: design.ros2.org/articles/node_lifecycle.html
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.nodes.fault_policy import FaultPolicy


class ManagedNode(LifecycleNode):
    """A managed node that tells of its transitions, and breaks down in good order.

    What goes wrong while the node is active, and does not go away, leads through error
    processing to unconfigured. Where the device is lost to the process, that must end as well.

    Attributes:
        state: of the lifecycle, by name.
        fault: '' or why the node is not active.
        lost: whether the process must end: it can use its device no more.
        breakdown: tells whether an error breaks the node.

    Args:
        name: of the node.
        **node_options: of rclpy's Node.
    """

    def __init__(self, name: str, **node_options: Any) -> None:
        super().__init__(name, **node_options)
        reject_invalid_transitions(self)
        self.state, self.fault, self.lost = 'unconfigured', '', False
        self.breakdown = FaultPolicy()
        self._alarm = self.create_guard_condition(self._break_down)

    # The work of a transition; any of it may raise.

    def _configure(self) -> None:
        raise NotImplementedError

    def _activate(self) -> None:
        raise NotImplementedError

    def _deactivate(self) -> None:
        raise NotImplementedError

    def _release(self) -> None:
        """Gives back what `_configure` made, in any state."""
        raise NotImplementedError

    # What is told of the node.

    def _configured_text(self) -> str:
        raise NotImplementedError

    @property
    def _sources(self) -> list[str]:
        """Topics and types that the active node waits for."""
        raise NotImplementedError

    @property
    def _device(self) -> torch.device | None:
        """The device of the networks, if there are any."""
        raise NotImplementedError

    def _tell(self) -> None:
        """Publishes diagnostics at once."""
        raise NotImplementedError

    # Transitions.

    def start(self) -> bool:
        """Configures and activates; whether both succeeded."""
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads, builds, warms up; on failure says why, and leaves nothing behind."""
        done = self._transition(self._configure, 'inactive', self._configured_text)
        if done != TransitionCallbackReturn.SUCCESS:
            self._release()
        return done

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribes."""
        return self._transition(
            self._activate, 'active', lambda: f'active, waiting for {", ".join(self._sources)}'
        )

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ends the subscription after the input that is worked on, and frees buffers."""
        if self.fault:
            return TransitionCallbackReturn.ERROR
        return self._transition(self._deactivate, 'inactive', lambda: 'deactivated')

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Gives networks, publishers and device memory back."""
        return self._transition(self._release, 'unconfigured', lambda: 'cleaned up')

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Gives everything back for good."""
        return self._transition(self._release, 'finalized', lambda: 'shut down')

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Gives everything back, so that configure may be tried again."""
        fault = self.fault
        done = self._transition(self._release, 'unconfigured')
        if done != TransitionCallbackReturn.SUCCESS:
            self.state = 'finalized'
        self.fault = fault or self.fault
        self.get_logger().error(f'{self.state} after an error: {self.fault}')
        return done

    def _transition(
        self, work: Callable[[], None], state: str, told: Callable[[], str] | None = None
    ) -> TransitionCallbackReturn:
        # rclpy says nothing of a transition, nor of what it raises.
        try:
            work()
        except TinyBevError as error:
            self.fault = str(error)
            self.get_logger().error(f'not {state}: {self.fault}')
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self.fault = f'{type(error).__name__}: {error}'
            self.get_logger().error(traceback.format_exc().strip())
            self.notice(error)
            return TransitionCallbackReturn.ERROR
        self.state, self.fault = state, ''
        if told is not None:
            self.get_logger().info(told())
        return TransitionCallbackReturn.SUCCESS

    # Faults.

    def notice(self, error: Exception, stage: str = '') -> None:
        """Judges an error that is no TinyBevError: the node may be broken.

        Args:
            error: that was raised.
            stage: whose work on the networks raised it.
        """
        fault = self.breakdown.fault(error, stage, self._device)
        if fault:
            self.fail(fault)

    def fail(self, fault: str) -> None:
        """Lets the node go through error processing, for this reason; from any thread."""
        self.fault = fault
        self._alarm.trigger()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Lets any error be an answer to who asked for a change."""
        try:
            yield
        except TinyBevError:
            raise
        except Exception as error:
            self.get_logger().error(traceback.format_exc().strip())
            self.notice(error)
            reason = f'{type(error).__name__}: {error}'.partition('\n')[0]
            raise TinyBevError(f'the change failed: {reason}') from error

    def _break_down(self) -> None:
        # Not by the thread that works on inputs: its end is waited for.
        if self.fault and self.state == 'active':
            self.trigger_deactivate()
        if self.breakdown.lost and not self.lost:
            self.get_logger().fatal('ending, as only another process can use the device')
            self._tell()
            self.lost = True


def reject_invalid_transitions(node: LifecycleNode) -> None:
    """Lets a request for a transition that its state does not have be answered with failure.

    In rclpy, up to Kilted at least, it raises in the executor and so ends the node.
    """
    service = getattr(node, '_service_change_state', None)
    if service is None:  # without a communication interface
        return
    change = service.callback

    def answer(request: Any, response: Any) -> Any:
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

    service.callback = answer
