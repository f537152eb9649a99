# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Command line of bag_player."""

from __future__ import annotations

import argparse
import math

from tiny_bev_ros.bag.schedule import LONGEST_GAP_S

# Discovery of a fresh publisher by subscribers takes Fast DDS 0.1 to 3 s on one machine.
# Without this wait the first messages would be lost.
DISCOVERY_S = 5.0


def _positive(text: str) -> float:
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f'{text} is not a number above 0')
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if not (value >= 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f'{text} is not a number from 0')
    return value


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Returns the argument parser of bag_player."""
    parser = argparse.ArgumentParser(
        prog='bag_player',
        description=description,
        epilog='The options but --longest-gap are those of `ros2 bag play`. Playing begins when '
        f'something has subscribed, or after {DISCOVERY_S:g} s.',
    )
    parser.add_argument('bag', help='rosbag2 folder, .mcap or .db3 file')
    parser.add_argument(
        '-r', '--rate', type=_positive, default=1.0, help='speed; 2 is twice as fast'
    )
    parser.add_argument('-l', '--loop', action='store_true', help='play again and again')
    parser.add_argument('--topics', nargs='+', default=[], metavar='TOPIC', help='play only these')
    parser.add_argument(
        '-m', '--remap', nargs='+', default=[], metavar='FROM:=TO', help='publish under new names'
    )
    parser.add_argument(
        '--longest-gap',
        type=_positive,
        default=LONGEST_GAP_S,
        metavar='SECONDS',
        help='longest gap between messages that is played in full; longer gaps are skipped '
        f'(default: {LONGEST_GAP_S:g})',
    )
    parser.add_argument(
        '--clock',
        nargs='?',
        type=_positive,
        const=40.0,
        metavar='HZ',
        help='publish the recorded time on /clock, 40 Hz if not given; '
        'a recorded /clock is then not played',
    )
    parser.add_argument(
        '-d',
        '--delay',
        type=_not_negative,
        default=0.0,
        metavar='SECONDS',
        help='wait before playing',
    )
    parser.add_argument(
        '--wait-for-all-acked',
        type=_not_negative,
        default=5000.0,
        metavar='MS',
        help='at the end, wait this long until reliable subscribers have every message; '
        '0 waits without limit (default: 5000)',
    )
    return parser
