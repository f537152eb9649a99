# SPDX-License-Identifier: Apache-2.0
"""What rclpy's managed nodes lack."""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode


def answer_wrong_transitions(node: LifecycleNode) -> None:
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
