# SPDX-License-Identifier: Apache-2.0
"""Faults of what is around a node: its neighbours, its process, its files and parameters."""

from __future__ import annotations

import signal
from functools import partial
from typing import Any

import torch
from fault_registry import Outcome, case, difference
from fault_rig import Rig, cloud, now
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from std_msgs.msg import String

from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.models import build_backbone, seeded
from tiny_bev_ros.runtime.node_process import NodeProcess


@case('publisher of another type on the topic')
def other_type(rig: Rig, tries: int) -> Outcome:
    """A std_msgs/String beside the clouds."""
    rig.start()
    outcome = Outcome()
    for _ in range(tries):
        with rig.stranger() as node:
            publisher = node.create_publisher(String, 'points', 1)
            for _ in range(10):
                publisher.publish(String(data='x' * 1000))
                rig.spin_for(0.05)
            outcome.tried(rig)
    outcome.did = 'not subscribed to, told'
    return outcome


@case('publisher gone, back with another reliability')
def publisher(rig: Rig, tries: int) -> Outcome:
    """Reliable and best effort in turn."""
    rig.start()
    outcome = Outcome()
    for number in range(tries):
        rig.publish_from(reliable=bool(number % 2))
        outcome.tried(rig)
    outcome.did = 'subscribed as the new publisher offers'
    return outcome


@case('subscriber gone, back with another reliability')
def subscriber(rig: Rig, tries: int) -> Outcome:
    """Reliable and best effort in turn; meanwhile nothing is computed."""
    rig.start()
    outcome = Outcome()
    for number in range(tries):
        rig.listen_anew('reliable' if number % 2 else 'best_effort')
        outcome.tried(rig)
    outcome.did = 'published to the new subscriber'
    return outcome


@case('kill -9, started again by a supervisor')
def killed(rig: Rig, tries: int) -> Outcome:
    """As by launch with respawn; the time is that of a start of Python and PyTorch."""
    rig.start()
    outcome = Outcome()
    for _ in range(tries):
        assert rig.process is not None
        rig.process.stop(signal.SIGKILL)
        rig.spawn()
        outcome.tried(rig)
    outcome.did = 'started anew, found by both ends'
    return outcome


@case('node halted for 2 s (SIGSTOP), then going on')
def halted(rig: Rig, tries: int) -> Outcome:
    """What came meanwhile is too old, or replaced by the newest."""
    rig.start()
    before, outcome = rig.counts(), Outcome()
    for _ in range(tries):
        assert rig.process is not None
        rig.process.send(signal.SIGSTOP)
        outcome.lost += rig.stream(2.0)
        rig.process.send(signal.SIGCONT)
        outcome.tried(rig)
    outcome.did = difference(before, rig.counts(), tries)
    return outcome


@case('stopped in the middle of a frame')
def shut_down(rig: Rig, tries: int) -> Outcome:
    """SIGTERM while a cloud of 2 million points is worked on, then a new start."""
    rig.start()
    outcome, large = Outcome(), cloud(0, 2_000_000)
    for number in range(tries):
        rig.send(encode_cloud(large, now(), 'lidar'), may_answer=True)
        rig.spin_for(0.02 * (number % 4))
        assert rig.process is not None
        code = rig.process.stop(signal.SIGTERM)
        if code != 0:
            rig.problems.append(f'exit code {code} after SIGTERM')
        rig.check_log()
        rig.spawn()
        outcome.tried(rig)
    outcome.did = 'ended with exit code 0'
    return outcome


@case('weights truncated, replaced and set again while running')
def weights(rig: Rig, tries: int) -> Outcome:
    """The same weights as those of seed 0, so that outputs stay what they are."""
    path = rig.folder / 'weights.pt'
    with seeded(0):
        state = build_backbone('tiny').state_dict()
    torch.save(state, path)
    whole = path.read_bytes()
    rig.start({'backbone.checkpoint': str(path)})
    outcome, refused, taken = Outcome(), 0, 0
    for number in range(tries):
        path.write_bytes(whole[: len(whole) * (number % 7) // 8])
        refused += not set_parameter(rig, 'backbone.checkpoint', str(path))
        outcome.tried(rig)
        path.write_bytes(whole)
        taken += set_parameter(rig, 'backbone.checkpoint', str(path))
        outcome.lost += rig.stream(0.2)
    outcome.did = (
        f'{refused} of {tries} truncated ones refused, {taken} of {tries} whole ones taken'
    )
    if refused < tries or taken < tries:
        rig.problems.append(outcome.did)
    return outcome


def set_parameter(rig: Rig, name: str, value: object) -> bool:
    """Sets a parameter through the node's service; whether the node took it."""
    client = rig.node.create_client(
        SetParametersAtomically, 'pipeline_node/set_parameters_atomically'
    )
    client.wait_for_service(10.0)
    request = SetParametersAtomically.Request()
    request.parameters = [Parameter(name, value=value).to_parameter_msg()]
    future = client.call_async(request)
    if not rig.spin_until(future.done, 20.0):
        rig.problems.append(f'setting {name} was not answered')
        return False
    rig.node.destroy_client(client)
    return bool(future.result().result.successful)


@case('parameters set in a storm by two clients')
def storm(rig: Rig, tries: int) -> Outcome:
    """Right and wrong values in turn, as fast as they are answered, beside good clouds."""
    rig.start()
    changes: list[tuple[str, object]] = [
        ('max_age_ms', 900.0),
        ('max_age_ms', -1.0),
        ('bev_image.channel', 5),
        ('bev_image.channel', 500),
        ('grid.resolution', 0.1),
        ('diagnostics.latency_warn_ms', 70.0),
        ('backbone.sparsity', 'always'),
        ('backbone.checkpoint', '/nowhere.pt'),
        ('backbone.sparsity', 'auto'),
    ]
    clients = [
        rig.node.create_client(SetParametersAtomically, 'pipeline_node/set_parameters_atomically')
        for _ in range(2)
    ]
    outcome, answered, taken = Outcome(), 0, 0
    for client in clients:
        client.wait_for_service(10.0)
    for _ in range(tries):
        futures = []
        for name, value in changes:
            for client in clients:
                request = SetParametersAtomically.Request()
                request.parameters = [Parameter(name, value=value).to_parameter_msg()]
                futures.append(client.call_async(request))
        rig.good()
        rig.spin_until(partial(_all_done, futures), 30.0)
        answers = [each.result().result for each in futures if each.done()]
        answered += len(answers)
        taken += sum(answer.successful for answer in answers)
        outcome.tried(rig)
    asked = tries * len(changes) * len(clients)
    outcome.tries = asked
    outcome.did = f'{answered} answered: {taken} set, {answered - taken} refused with a reason'
    if answered < asked:
        rig.problems.append(f'{asked - answered} changes were not answered')
    return outcome


def _ended(process: NodeProcess) -> bool:
    return not process.running


def _all_done(futures: list[Any]) -> bool:
    return all(future.done() for future in futures)


@case('two nodes of the same name')
def twins(rig: Rig, tries: int) -> Outcome:
    """A second node comes, both publish the same, and goes."""
    rig.start()
    first, outcome, told = rig.process, Outcome(), 0
    for _ in range(tries):
        rig.twins = True
        second = rig.spawn()
        rig.spin_until(lambda: rig.node.count_publishers('bev_features') == 2, 30.0)
        # Both tell it, but for one that is not active yet.
        told += any('another node has the same name' in rig.status().message for _ in range(5))
        outcome.tried(rig)
        second.send(signal.SIGINT)
        # What it has still sent is looked at as it comes.
        rig.spin_until(partial(_ended, second), 10.0)
        rig.spin_for(0.5)
        rig.twins = False
        rig.process = first
        outcome.tried(rig)
    outcome.tries = tries
    outcome.did = f'told in diagnostics {told} of {tries} times'
    if told < tries:
        rig.problems.append(outcome.did)
    return outcome
