# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
r"""Writes the tables of docs/model_card.md from the JSON of an evaluation.

ros2 run tiny_bev_ros evaluate --weights street --sets all --second-stage both \
    --data path/to/data --output build/evaluation
scripts/with_env.sh python -m experiments.model_card build/evaluation/evaluation.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.document_tables import replace_tables
from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.program_exit import reports_errors
from tiny_bev_ros.training.evaluation_report import (
    VISIBLE,
    accuracy_table,
    second_stage_table,
    summary_table,
)

_CARD = Path(__file__).parents[1] / 'docs/model_card.md'


def card_tables(evaluation: dict[str, Any]) -> dict[str, str]:
    """Renders the tables of the model card, by the name of their marks.

    Args:
        evaluation: content of the JSON file of `evaluate`.
    """
    results = [each for each in evaluation['results'] if each['second_stage'] is not False]
    kitti = [each for each in results if each['set'] == 'kitti']
    stages = second_stage_table(evaluation['results'])
    return {
        'evaluation': (
            f'Measured {evaluation["date"]}, weights of SHA-256 `{evaluation["sha256"][:16]}`. '
            f'In brackets: {evaluation["confidence"]:.0%} intervals by bootstrap over frames.'
        ),
        # Times are those of docs/benchmarks.md, of a machine without other work.
        'sets': summary_table(results, times=False),
        'accuracy': accuracy_table(results, VISIBLE),
        'difficulties': accuracy_table([_without(VISIBLE, each) for each in kitti]),
        'second stage': stages or 'These weights have no second stage.',
    }


def _without(objects: str, result: dict[str, Any]) -> dict[str, Any]:
    """Returns a result without a set of objects."""
    rows = [row for row in result['average_precision'] if row['objects'] != objects]
    return {**result, 'average_precision': rows}


@reports_errors('model_card', OSError, ValueError)
def main() -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(prog='model_card', description=(__doc__ or '').split('\n')[0])
    parser.add_argument('evaluation', help='evaluation.json of evaluate --sets all')
    parser.add_argument('--document', default=str(_CARD), help='path of the model card')
    options = parser.parse_args()
    evaluation = json.loads(Path(options.evaluation).read_text())
    if network := evaluation.get('exported_network'):
        raise TinyBevError(
            f'exported_network is {", ".join(network)}; expected results of the weights alone'
        )
    replace_tables(Path(options.document), card_tables(evaluation))
    print(f'written: {options.document}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
