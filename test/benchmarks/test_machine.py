# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.

from pathlib import Path

from benchmarks import machine


def test_the_machine_has_a_processor_and_the_versions_of_packages(monkeypatch):
    monkeypatch.setattr(machine, '_PACKAGES', {'PyTorch': 'torch', 'No': 'tiny-bev-no-package'})
    found = machine.machine()
    assert found['processor'].strip()
    assert found['instructions'].strip()
    assert found['PyTorch'][0].isdigit()
    assert found['No'] == 'not installed'


def test_instructions_are_those_of_linux(monkeypatch):
    text = 'processor\t: 0\nmodel name\t: CPU X\nflags\t\t: fpu avx2 avx512f avx amx_bf16\n\n'
    monkeypatch.setattr(Path, 'read_text', lambda _: 2 * text)
    assert machine.instructions() == ['avx2', 'avx512f', 'amx_bf16']
    assert machine.processor() == 'CPU X'
    monkeypatch.setattr(Path, 'read_text', lambda _: 'Features\t: fp asimd bf16\n')
    assert machine.instructions() == ['asimd', 'bf16']


def test_without_proc_the_processor_is_the_architecture(monkeypatch):
    def fail(_: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, 'read_text', fail)
    assert machine.processor()
    assert machine.instructions() == []
