# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Faults around a node: of its neighbours, its process, its files and its parameters."""

from __future__ import annotations

import signal
from functools import partial
from typing import Any

import torch
from fault_registry import Outcome, case, describe_drops
from fault_rig import Rig, cloud, now
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from std_msgs.msg import String

from tiny_bev_ros.messages.point_cloud import encode_cloud
from tiny_bev_ros.models import build_backbone, seeded
from tiny_bev_ros.runtime.node_process import NodeProcess


@case('publisher of another type on the topic')
def other_type(rig: Rig, tries: int) -> Outcome:
    """Publishes std_msgs/String beside the clouds."""
    rig.start()
    outcome = Outcome()
    for _ in range(tries):
        with rig.other_participant() as node:
            publisher = node.create_publisher(String, 'points', 1)
            for _ in range(10):
                publisher.publish(String(data='x' * 1000))
                rig.spin_for(0.05)
            outcome.count_try(rig)
    outcome.did = 'not subscribed to, logged'
    return outcome


@case('publisher gone, back with another reliability')
def publisher(rig: Rig, tries: int) -> Outcome:
    """Alternates between reliable and best effort."""
    rig.start()
    outcome = Outcome()
    for number in range(tries):
        rig.replace_publisher(reliable=bool(number % 2))
        outcome.count_try(rig)
    outcome.did = 'subscribed as the new publisher offers'
    return outcome


@case('subscriber gone, back with another reliability')
def subscriber(rig: Rig, tries: int) -> Outcome:
    """Alternates between reliable and best effort; nothing is computed in between."""
    rig.start()
    outcome = Outcome()
    for number in range(tries):
        rig.replace_subscriber('reliable' if number % 2 else 'best_effort')
        outcome.count_try(rig)
    outcome.did = 'published to the new subscriber'
    return outcome


@case('kill -9, started again by a supervisor')
def killed(rig: Rig, tries: int) -> Outcome:
    """Restarts the node as launch does; the time is that of starting Python and PyTorch."""
    rig.start()
    outcome = Outcome()
    for _ in range(tries):
        assert rig.process is not None
        rig.process.stop(signal.SIGKILL)
        rig.spawn()
        outcome.count_try(rig)
    outcome.did = 'started again, discovered by both ends'
    return outcome


@case('node halted for 2 s (SIGSTOP), then going on')
def halted(rig: Rig, tries: int) -> Outcome:
    """Expects the clouds of the halt to be too old, or replaced by the newest."""
    rig.start()
    before, outcome = rig.counts(), Outcome()
    for _ in range(tries):
        assert rig.process is not None
        rig.process.send(signal.SIGSTOP)
        outcome.lost += rig.stream(2.0)
        rig.process.send(signal.SIGCONT)
        outcome.count_try(rig)
    outcome.did = describe_drops(before, rig.counts(), tries)
    return outcome


@case('stopped in the middle of a frame')
def shut_down(rig: Rig, tries: int) -> Outcome:
    """Sends SIGTERM while a cloud of 2 million points is processed, then starts again."""
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
        outcome.count_try(rig)
    outcome.did = 'ended with exit code 0'
    return outcome


@case('weights truncated, replaced and set again while running')
def weights(rig: Rig, tries: int) -> Outcome:
    """Sets weights of seed 0, those of the start, so that outputs stay as they are."""
    path = rig.folder / 'weights.pt'
    with seeded(0):
        state = build_backbone('tiny').state_dict()
    torch.save(state, path)
    whole = path.read_bytes()
    rig.start({'backbone.checkpoint': str(path)})
    outcome, refused, accepted = Outcome(), 0, 0
    for number in range(tries):
        path.write_bytes(whole[: len(whole) * (number % 7) // 8])
        refused += not set_parameter(rig, 'backbone.checkpoint', str(path))
        outcome.count_try(rig)
        path.write_bytes(whole)
        accepted += set_parameter(rig, 'backbone.checkpoint', str(path))
        outcome.lost += rig.stream(0.2)
    outcome.did = (
        f'{refused} of {tries} truncated files refused, {accepted} of {tries} whole files accepted'
    )
    if refused < tries or accepted < tries:
        rig.problems.append(outcome.did)
    return outcome


def set_parameter(rig: Rig, name: str, value: object) -> bool:
    """Sets a parameter through the node's service; returns whether the node accepted it."""
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
    """Sets valid and invalid values in turn, as fast as possible, beside good clouds."""
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
    outcome, answered, accepted = Outcome(), 0, 0
    for client in clients:
        client.wait_for_service(10.0)
    for _ in range(tries):
        futures = []
        for name, value in changes:
            for client in clients:
                request = SetParametersAtomically.Request()
                request.parameters = [Parameter(name, value=value).to_parameter_msg()]
                futures.append(client.call_async(request))
        rig.send_good()
        rig.spin_until(partial(_all_done, futures), 30.0)
        answers = [each.result().result for each in futures if each.done()]
        answered += len(answers)
        accepted += sum(answer.successful for answer in answers)
        outcome.count_try(rig)
    requested = tries * len(changes) * len(clients)
    outcome.tries = requested
    outcome.did = (
        f'{answered} answered: {accepted} set, {answered - accepted} refused with a reason'
    )
    if answered < requested:
        rig.problems.append(f'{requested - answered} changes were not answered')
    return outcome


def _ended(process: NodeProcess) -> bool:
    return not process.running


def _all_done(futures: list[Any]) -> bool:
    return all(future.done() for future in futures)


@case('two nodes of the same name')
def twins(rig: Rig, tries: int) -> Outcome:
    """Starts a second node, lets both publish equal outputs, and ends it."""
    rig.start()
    first, outcome, reported = rig.process, Outcome(), 0
    for _ in range(tries):
        rig.has_twin = True
        second = rig.spawn()
        rig.spin_until(lambda: rig.node.count_publishers('bev_features') == 2, 30.0)
        # Both nodes report it, except one that is not active yet.
        reported += any('another node has the same name' in rig.status().message for _ in range(5))
        outcome.count_try(rig)
        second.send(signal.SIGINT)
        # Outputs that it has sent before its end are checked as they arrive.
        rig.spin_until(partial(_ended, second), 10.0)
        rig.spin_for(0.5)
        rig.has_twin = False
        rig.process = first
        outcome.count_try(rig)
    outcome.tries = tries
    outcome.did = f'reported in diagnostics {reported} of {tries} times'
    if reported < tries:
        rig.problems.append(outcome.did)
    return outcome
