# SPDX-License-Identifier: Apache-2.0
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
from tiny_bev_ros.resources import GRIDS, WEIGHTS, config_file
from tiny_bev_ros.runtime.shared_memory import profile_environment, shortage

_Value = TypeVar('_Value')
# A bag waits this long for the nodes, which load PyTorch first.
_NODES_START_S = 4.0
# Not to try at full speed what fails at once.
_RESPAWN_S = 2.0

# A launch argument that is left empty leaves the parameter to the YAML file.
COMMON = (
    DeclareLaunchArgument(
        'params_file',
        default_value=config_file(),
        description='YAML file with the parameters; start from a copy of the default one',
    ),
    DeclareLaunchArgument(
        'namespace',
        default_value='',
        description='of the nodes, and of topics without a leading /',
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
        description=f'how much the nodes tell: {", ".join(launch_values.LEVELS)}',
    ),
    DeclareLaunchArgument(
        'bag',
        default_value='',
        description='rosbag2 to play beside the nodes; name its topic in input_topic',
    ),
    DeclareLaunchArgument('rate', default_value='1.0', description='speed of the bag'),
    DeclareLaunchArgument(
        'loop',
        default_value='false',
        description='true: play the bag again and again',
    ),
)
GRID = DeclareLaunchArgument(
    'grid',
    default_value='',
    choices=['', *GRIDS],
    description='preset of the map; empty: as in params_file',
)

WEIGHTS_ARGUMENT = DeclareLaunchArgument(
    'weights',
    default_value='',
    choices=['', 'auto', 'none', *WEIGHTS],
    description='shipped weights, with their network and map; none: random ones; auto: street, '
    'unless a network, a checkpoint or a grid of yours is given; empty: as in params_file, else '
    'auto',
)


def checkpoint(name: str, of: str) -> DeclareLaunchArgument:
    """The argument that names the weights of one network."""
    return DeclareLaunchArgument(
        name, default_value='', description=f'weights of {of}; empty: as in params_file'
    )


def topic(name: str, default: str, what: str) -> DeclareLaunchArgument:
    """The argument that renames a topic."""
    return DeclareLaunchArgument(name, default_value=default, description=what)


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
    """One node of the package with the common arguments applied.

    Args:
        context: of the launch.
        executable: also the node's name.
        remappings: topic name in the node to launch argument with its new name; empty: as it is.
        overrides: parameter name to the launch argument that overrides it when not empty.
        sub_namespace: namespace of the node within that of the launch.
        renamed: further topic names to their new ones.
        **fixed: parameters that the launch file sets whatever the YAML file says.
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
    log_level = read(context, launch_values.log_level, 'log_level')
    params_file = path_value(context, 'params_file')
    if not Path(params_file).is_file():
        # launch_ros would go on without it.
        raise TinyBevError(f'params_file is {params_file}, which is no file')
    parameters: list[Any] = [params_file]
    grid = context.launch_configurations.get('grid', '')
    if grid:
        parameters.append(config_file(f'grid_{grid}.yaml'))
    if values:
        parameters.append(values)
    return Node(
        package='tiny_bev_ros',
        executable=executable,
        name=executable,
        namespace='/'.join(filter(None, (namespace, sub_namespace))),
        parameters=parameters,
        remappings=[
            (inside, outside)
            for inside, argument in remappings.items()
            if (outside := read(context, launch_values.topic, argument))
        ]
        + list(renamed.items()),
        arguments=['--ros-args', '--log-level', log_level],
        output='screen',
        respawn=bool(read(context, launch_values.truth, 'respawn')),
        respawn_delay=_RESPAWN_S,
    )


def bag_player(context: LaunchContext) -> list[TimerAction]:
    """`ros2 bag play` of the `bag` argument, or nothing when it is empty."""
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
    # It sends clouds of megabytes, and has no profile of its own.
    profile = {} if shortage() else profile_environment()
    player = ExecuteProcess(cmd=command, additional_env=profile, output='screen')
    return [TimerAction(period=_NODES_START_S, actions=[player])]


def read(context: LaunchContext, reader: Callable[[str, str], _Value], name: str) -> _Value:
    """The value of a launch argument that one of launch_values reads."""
    return reader(name, argument_value(context, name))


def argument_value(context: LaunchContext, name: str) -> str:
    """What a launch argument was set to."""
    return LaunchConfiguration(name).perform(context)


def path_value(context: LaunchContext, name: str) -> str:
    """The path in a launch argument, with ~ expanded, which shells leave alone after `:=`."""
    return os.path.expanduser(argument_value(context, name))  # noqa: PTH111 - Path('') is '.'


def description(arguments: tuple[DeclareLaunchArgument, ...], actions: Any) -> LaunchDescription:
    """Arguments, and the actions that a function makes of their values."""
    return LaunchDescription([*arguments, *COMMON, OpaqueFunction(function=actions)])
