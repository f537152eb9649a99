# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Arguments of the programs that are whole numbers."""

from __future__ import annotations

import argparse

import pytest

from tiny_bev_ros.whole_number import whole_number


def test_numbers_from_the_least_on_are_taken():
    assert [whole_number(2)(text) for text in ('2', '70')] == [2, 70]


@pytest.mark.parametrize('text', ['1', '-3', 'word', '2.5', ''])
def test_other_texts_are_refused_with_what_is_expected(text, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--count', type=whole_number(2))
    with pytest.raises(SystemExit):
        parser.parse_args([f'--count={text}'])
    line = f'argument --count: {text}; expected a whole number of 2 or more'
    assert line in capsys.readouterr().err
