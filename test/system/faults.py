# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Tries faults on running nodes and prints a table of the outcomes."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import fault_inputs  # noqa: F401 - registers its faults
import fault_load  # noqa: F401
import fault_processes  # noqa: F401
import fault_system  # noqa: F401
from fault_registry import CASES, Outcome
from fault_rig import Rig
from tqdm import tqdm

from tiny_bev_ros.runtime.node_process import private_graph

_BEGIN, _END = '<!-- faults: begin -->', '<!-- faults: end -->'


def run_case(name: str, folder: Path, tries: int) -> Outcome:
    """Tries one fault some times, in a graph of its own."""
    with private_graph() as context:
        rig = Rig(context, folder)
        outcome = Outcome()
        try:
            outcome = CASES[name](rig, tries)
        finally:
            rig.close()
    outcome.problems = list(dict.fromkeys(rig.problems))
    return outcome


def table(outcomes: dict[str, Outcome]) -> str:
    """Writes all outcomes as a Markdown table."""
    lines = [
        '| fault | tried | what the node did | good frames lost | next good output after, s |',
        '|---|---|---|---|---|',
    ]
    for name, outcome in outcomes.items():
        did = outcome.did
        if outcome.problems:
            did = f'**FAILED**: {"; ".join(outcome.problems)}'
        lines.append(
            f'| {name} | {outcome.tries} | {did} | {outcome.lost} | {outcome.seconds:.2f} |'
        )
    return '\n'.join(lines)


def replace_table(document: Path, text: str) -> None:
    """Replaces the text between the marks in a document."""
    before, _, rest = document.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    document.write_text(f'{before}{_BEGIN}\n{text}\n{_END}{after}')


def main() -> None:
    """Runs the program; exits with 1 where a node had problems."""
    parser = argparse.ArgumentParser(prog='faults', description=__doc__)
    parser.add_argument('--tries', type=int, default=20, help='number of tries of each fault')
    parser.add_argument('--only', default='', help='text in the names of the faults to try')
    parser.add_argument('--output', default='build/faults', help='folder of logs')
    parser.add_argument('--document', default='', help='Markdown file whose table is replaced')
    parser.add_argument('--json', action='store_true', help='print JSON instead of a table')
    options = parser.parse_args()
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = {}
    # Faults in brackets are parts of others.
    names = [name for name in CASES if options.only in name and (options.only or name[0] != '(')]
    with tqdm(names, unit='fault', disable=None) as bar:
        for name in bar:
            bar.set_description(name[:40])
            outcomes[name] = run_case(name, folder, options.tries)
    text = table(outcomes)
    as_json = json.dumps({name: asdict(each) for name, each in outcomes.items()})
    print(as_json if options.json else text)
    if options.document:
        replace_table(Path(options.document), text)
    sys.exit(any(outcome.problems for outcome in outcomes.values()))


if __name__ == '__main__':
    main()
