# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Triton's kernels compiled for GPUs that are not there: their registers and shared memory."""

from __future__ import annotations

import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from optional_packages import require_packages

require_packages('triton')

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from tiny_bev_ros.inference.sparse import triton_layer
from tiny_bev_ros.inference.sparse.background import backgrounds
from tiny_bev_ros.inference.sparse.layer_chain import ConvLayer
from tiny_bev_ros.inference.sparse.triton_chain import TritonChain

if 'constexprs' not in inspect.signature(ASTSource).parameters:
    pytest.skip('this triton is compiled by another interface', allow_module_level=True)

CPU = torch.device('cpu')
CAPABILITIES = [80, 86, 90]
# Three programs of 128 threads share the 65536 registers and 100 KiB of a multiprocessor of sm_86,
# of which each program takes one KiB more than it asks for.
MAX_REGISTERS = 65536 // (3 * 128)
MAX_SHARED = 100 * 1024 // 3 - 1024
POINTERS = {
    torch.float32: '*fp32', torch.float16: '*fp16', torch.bfloat16: '*bf16',
    torch.int32: '*i32', torch.int64: '*i64',
}  # fmt: skip
PTXAS = Path(triton.__file__).parent / 'backends' / 'nvidia' / 'bin' / 'ptxas'
_OPTIONS = ('num_warps', 'num_stages')


def launches_of(
    dtype: torch.dtype, kernel: int, stride: int, channels: tuple[int, int]
) -> Iterator[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    """Yields kernel, arguments and options of the launches of a chain of one layer."""
    weight = torch.zeros(channels[1], channels[0], kernel, kernel)
    layer = ConvLayer(weight, torch.zeros(channels[1]), stride, relu=True)
    found = []

    def launch(kernel: Any, grid: tuple[int, ...], /, *arguments: Any, **options: Any) -> None:
        found.append((kernel, arguments, options))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triton_layer.triton_launch, 'launch', launch)
        chain = TritonChain((layer,), (64, 64), dtype, CPU)
        chain.find(torch.zeros(5, 2, dtype=torch.long))
        chain.compute(torch.zeros(5, channels[0]))
        (table,) = backgrounds((layer,), (64, 64))
        each = triton_layer.TritonLayer(layer, table, dtype, CPU)
        steps = chain._steps
        index = triton_layer.new_index_map((64, 64), CPU)
        sites = triton_layer.SiteList(index, index, index)
        each.compute(steps.rows[0], index, sites, steps.rows[0], into_map=False)
    yield from found


def compiled(
    kernel: Any, arguments: tuple[Any, ...], options: dict[str, Any], capability: int
) -> Any:
    """Compiles a kernel as for a launch with these arguments."""
    names = kernel.arg_names
    signature = dict.fromkeys(names, 'constexpr')
    attributes = {}
    plain = {kernel.params[index].name for index in range(len(names))
             if kernel.params[index].do_not_specialize}  # fmt: skip
    for index, (name, value) in enumerate(zip(names, arguments, strict=False)):
        is_pointer = isinstance(value, torch.Tensor)
        signature[name] = POINTERS[value.dtype] if is_pointer else 'i32'
        if is_pointer and name not in plain and value.numel() > 1:
            attributes[(index,)] = [['tt.divisibility', 16]]
    constants = {name: value for name, value in options.items() if name not in _OPTIONS}
    return triton.compile(
        ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes),
        target=GPUTarget('cuda', capability, 32),
        options={name: value for name, value in options.items() if name in _OPTIONS},
    )


def assembled(ptx: str, folder: Path) -> tuple[int, int]:
    """Returns the registers of a thread, and the bytes of them that are spilled."""
    (folder / 'kernel.ptx').write_text(ptx)
    target = re.search(r'\.target (\w+)', ptx)
    assert target is not None
    command = [PTXAS, '-v', f'--gpu-name={target[1]}', 'kernel.ptx', '-o', 'kernel.cubin']
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    registers = re.search(r'Used (\d+) registers', done.stderr)
    assert registers is not None, done.stderr
    spilled = re.findall(r'(\d+) bytes spill', done.stderr)
    assert spilled
    return int(registers[1]), sum(map(int, spilled))


@pytest.mark.skipif(not PTXAS.is_file(), reason='this triton has no ptxas')
@pytest.mark.parametrize('capability', CAPABILITIES)
@pytest.mark.parametrize(
    ('dtype', 'kernel', 'stride', 'channels'),
    [
        (torch.float32, 3, 1, (64, 64)),
        (torch.float16, 3, 1, (64, 64)),
        (torch.float16, 3, 2, (64, 128)),
        (torch.bfloat16, 1, 1, (64, 64)),
    ],
)
def test_three_programs_share_a_multiprocessor(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capability: int,
    dtype: torch.dtype,
    kernel: int,
    stride: int,
    channels: tuple[int, int],
):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path / 'cache'))
    seen = set()
    for function, arguments, options in launches_of(dtype, kernel, stride, channels):
        key = function.__name__, options.get('into_map')
        is_product = function.__name__ == 'convolve_sites'
        if key in seen or (dtype != torch.float32 and not is_product):
            continue
        seen.add(key)
        result = compiled(function, arguments, options, capability)
        registers, spilled = assembled(result.asm['ptx'], tmp_path)
        # The assembler spills a value or two to fit a fourth program.
        assert spilled <= 16, key
        assert registers <= MAX_REGISTERS, key
        assert result.metadata.shared <= (MAX_SHARED if capability < 90 else 2 * MAX_SHARED), key
        if is_product:
            # Half precision runs on tensor cores; float32 never does, as TF32 would round.
            products = re.findall(r'(?:mma|wgmma)\S*\.(?:f16|bf16|tf32)\b', result.asm['ptx'])
            assert bool(products) == (dtype != torch.float32), key
            assert 'tf32' not in result.asm['ptx']
    assert len(seen) == (5 if dtype == torch.float32 else 2)
