# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Arguments and nodes that the launch files of the package share; needs launch and launch_ros."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, TimerAction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from tiny_bev_ros import launch_values
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.resources import GRIDS, WEIGHTS, config_file, rviz_file
from tiny_bev_ros.runtime.shared_memory import profile_environment, shortage

_Value = TypeVar('_Value')
# Delay of a bag in seconds: the nodes load PyTorch first.
_NODES_START_S = 4.0
# Delay of a new start in seconds: a node that fails at once leaves the machine idle between.
_RESPAWN_S = 2.0

# For an empty argument the YAML file sets the parameter.
COMMON = (
    DeclareLaunchArgument(
        'params_file',
        default_value=config_file(),
        description='YAML file with parameters; start from a copy of the default one',
    ),
    DeclareLaunchArgument(
        'namespace',
        default_value='',
        description='namespace of the nodes, and of topics without a leading /',
    ),
    DeclareLaunchArgument(
        'device',
        default_value='',
        description='auto, cpu, cuda or cuda:N; empty: as in params_file',
    ),
    DeclareLaunchArgument(
        'use_sim_time',
        default_value='',
        description='true: time comes from /clock, which a bag played here then publishes; '
        'empty: as in params_file',
    ),
    DeclareLaunchArgument(
        'autostart',
        default_value='',
        description='false: a lifecycle manager configures and activates the nodes; '
        'empty: as in params_file',
    ),
    DeclareLaunchArgument(
        'respawn',
        default_value='false',
        description='true: a node that ends by itself, or is killed, is started again',
    ),
    DeclareLaunchArgument(
        'log_level',
        default_value='info',
        description=f'lowest level of messages in the log: {", ".join(launch_values.LEVELS)}',
    ),
    DeclareLaunchArgument(
        'rviz',
        default_value='false',
        description='true: rviz2 shows the cloud, objects, drivable area and bev_image',
    ),
    DeclareLaunchArgument(
        'rviz_frame',
        default_value='lidar',
        description='fixed frame of rviz2: the frame of the clouds, or one that TF connects to it',
    ),
    DeclareLaunchArgument(
        'bag',
        default_value='',
        description='rosbag2 that is played beside the nodes; set input_topic to its topic',
    ),
    DeclareLaunchArgument('rate', default_value='1.0', description='playback speed of the bag'),
    DeclareLaunchArgument(
        'loop',
        default_value='false',
        description='true: the bag is played again and again',
    ),
)
GRID = DeclareLaunchArgument(
    'grid',
    default_value='',
    choices=['', *GRIDS],
    description='preset of the grid, a file of config/grids/; empty: as in params_file',
)

WEIGHTS_ARGUMENT = DeclareLaunchArgument(
    'weights',
    default_value='',
    choices=['', 'auto', 'none', *WEIGHTS],
    description='shipped weights, with their networks and grid; none: random weights; auto: '
    'street, unless a network, a checkpoint or a grid is set; empty: as in '
    'params_file, else auto',
)


def checkpoint(name: str, network: str) -> DeclareLaunchArgument:
    """Returns the argument with the weights file of one network."""
    return DeclareLaunchArgument(
        name, default_value='', description=f'weights file of {network}; empty: as in params_file'
    )


def topic(name: str, default: str, meaning: str) -> DeclareLaunchArgument:
    """Returns the argument that renames a topic."""
    return DeclareLaunchArgument(name, default_value=default, description=meaning)


def node(
    context: LaunchContext,
    executable: str,
    remappings: dict[str, str],
    overrides: dict[str, str],
    *,
    sub_namespace: str = '',
    renamed: Mapping[str, str] = MappingProxyType({}),
    **fixed: Any,
) -> Node:
    """Returns one node of the package with the common arguments applied.

    Args:
        context: context of the launch.
        executable: name of the executable and of the node.
        remappings: launch argument with the new name by topic name in the node; an empty
            argument leaves the name.
        overrides: launch argument that sets a parameter, unless it is empty, by parameter name.
        sub_namespace: namespace of the node within that of the launch.
        renamed: new name by topic name, for further topics.
        **fixed: parameters that the launch file sets, whatever the YAML file contains.
    """
    values: dict[str, Any] = fixed | {
        parameter: ParameterValue(value, value_type=str)
        for parameter, argument in overrides.items()
        if (value := path_value(context, argument))
    }
    if weights := context.launch_configurations.get('weights', ''):
        values['weights'] = weights
    for each in ('use_sim_time', 'autostart'):
        if (is_true := read(context, launch_values.truth, each)) is not None:
            values[each] = is_true
    namespace = read(context, launch_values.namespace, 'namespace')
    params_file = path_value(context, 'params_file')
    if not Path(params_file).is_file():
        # launch_ros would ignore a file that is absent.
        raise TinyBevError(f'params_file is {params_file}; expected an existing file')
    parameters: list[Any] = [params_file]
    grid = context.launch_configurations.get('grid', '')
    if grid:
        parameters.append(config_file(f'grids/{grid}.yaml'))
    if values:
        parameters.append(values)
    return Node(
        package='tiny_bev_ros',
        executable=executable,
        name=executable,
        namespace='/'.join(filter(None, (namespace, sub_namespace))),
        parameters=parameters,
        remappings=[*_remapped(context, remappings), *renamed.items()],
        arguments=_log_arguments(context),
        output='screen',
        respawn=bool(read(context, launch_values.truth, 'respawn')),
        respawn_delay=_RESPAWN_S,
    )


def tools(
    context: LaunchContext, remappings: Mapping[str, str] = MappingProxyType({})
) -> list[Node | TimerAction]:
    """Returns the actions beside the nodes: rviz2 and the player of a bag, where they are set.

    Args:
        context: context of the launch.
        remappings: topics of the nodes that rviz2 shows, as those of `node`.
    """
    return [*_rviz(context, remappings), *_bag_player(context)]


def _rviz(context: LaunchContext, remappings: Mapping[str, str]) -> list[Node]:
    if not read(context, launch_values.truth, 'rviz'):
        return []
    arguments = ['-d', rviz_file(), '-f', argument_value(context, 'rviz_frame')]
    is_sim = read(context, launch_values.truth, 'use_sim_time')
    return [
        Node(
            package='rviz2',
            executable='rviz2',
            name='rviz2',
            namespace=read(context, launch_values.namespace, 'namespace'),
            parameters=[{'use_sim_time': bool(is_sim)}],
            remappings=_remapped(context, remappings),
            arguments=[*arguments, *_log_arguments(context)],
            output='screen',
        )
    ]


def _bag_player(context: LaunchContext) -> list[TimerAction]:
    """Returns `ros2 bag play` of the argument `bag`; nothing if it is empty."""
    if not argument_value(context, 'bag'):
        return []
    command = ['ros2', 'bag', 'play', path_value(context, 'bag')]
    command += ['--rate', read(context, launch_values.number, 'rate')]
    # Without the delay, which each loop repeats, the first large messages leave before
    # anybody has subscribed; without the wait the last ones are cut off.
    command += ['--delay', '1', '--wait-for-all-acked', '5000']
    if read(context, launch_values.truth, 'loop'):
        command.append('--loop')
    if read(context, launch_values.truth, 'use_sim_time'):
        command.append('--clock')
    # The player sends clouds of megabytes and has no profile of its own.
    profile = {} if shortage() else profile_environment()
    player = ExecuteProcess(cmd=command, additional_env=profile, output='screen')
    return [TimerAction(period=_NODES_START_S, actions=[player])]


def _remapped(context: LaunchContext, remappings: Mapping[str, str]) -> list[tuple[str, str]]:
    """Returns old and new name of each topic whose launch argument is not empty."""
    return [
        (inside, outside)
        for inside, argument in remappings.items()
        if (outside := read(context, launch_values.topic, argument))
    ]


def _log_arguments(context: LaunchContext) -> list[str]:
    return ['--ros-args', '--log-level', read(context, launch_values.log_level, 'log_level')]


def read(context: LaunchContext, reader: Callable[[str, str], _Value], name: str) -> _Value:
    """Returns the value of a launch argument, read by a function of launch_values."""
    return reader(name, argument_value(context, name))


def argument_value(context: LaunchContext, name: str) -> str:
    """Returns the text of a launch argument."""
    return LaunchConfiguration(name).perform(context)


def path_value(context: LaunchContext, name: str) -> str:
    """Returns the path in a launch argument with ~ expanded, which shells leave after `:=`."""
    return os.path.expanduser(argument_value(context, name))  # noqa: PTH111 - Path('') is '.'


def description(arguments: tuple[DeclareLaunchArgument, ...], actions: Any) -> LaunchDescription:
    """Returns the launch description of arguments and of a function that makes the actions."""
    return LaunchDescription([*arguments, *COMMON, OpaqueFunction(function=actions)])
