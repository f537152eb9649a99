# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Exit codes and lines of programs that end with an error or an interrupt."""

from __future__ import annotations

import pytest

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.program_exit import reports_errors


def ended_by(error: BaseException, *others: type[Exception]) -> int:
    @reports_errors('name', *others)
    def main() -> int:
        raise error

    return main()


def test_an_error_of_the_user_is_one_line_and_exit_code_1(capsys):
    assert ended_by(TinyBevError('x is 1; expected 2')) == 1
    assert capsys.readouterr().err == 'name: x is 1; expected 2\n'


def test_an_interrupt_has_no_line_and_exit_code_130(capsys):
    assert ended_by(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == ''


def test_other_errors_are_reported_where_they_are_named(capsys):
    with pytest.raises(OSError, match='no space'):
        ended_by(OSError('no space'))
    assert ended_by(OSError('no space'), OSError) == 1
    assert capsys.readouterr().err == 'name: no space\n'


def test_the_exit_code_of_a_program_without_an_error_stays():
    assert reports_errors('name')(lambda: 2)() == 2
