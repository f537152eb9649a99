# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
"""Run of the shipped weights with a limit of device memory, as by `memory_budget_mb`."""

from __future__ import annotations

from benchmarks.engine.benchmark_inputs import CPU
from benchmarks.engine.detection_costs import MIN_SCORES
from benchmarks.gpu.backbone_parity import TOLERANCES
from benchmarks.gpu.check_inputs import relative_error, shipped_models, shipped_runner
from benchmarks.gpu.check_section import CheckSettings, SectionResult
from tiny_bev_ros.inference.memory import device_memory_mb, free_caches, limit_device_memory
from tiny_bev_ros.inference.memory_fallback import ExecutionConfig, MemoryFallback
from tiny_bev_ros.inference.model_builder import ModelBuilder
from tiny_bev_ros.inference.model_runner import ModelRunner

BUDGET_MB = 256


def check_memory(settings: CheckSettings) -> SectionResult:
    """Runs frames under the limit; results must be those of the CPU after any fallback step."""
    result = SectionResult()
    steps: list[str] = []
    free_caches(settings.device)
    limit_device_memory(settings.device, BUDGET_MB)
    try:
        build = ModelBuilder(shipped_models(settings), lambda: settings.grid.shape)
        fallback: MemoryFallback[ModelRunner] = MemoryFallback(
            build,
            ExecutionConfig(settings.device, 'float32'),
            steps.append,
            allow_lower_precision=True,
            allow_cpu=True,
        )
        for cloud in settings.clouds:
            found = fallback.run(ModelRunner.__call__, cloud, MIN_SCORES)
        held = device_memory_mb(settings.device)
        config = fallback.config
        wanted = shipped_runner(settings, CPU)(settings.clouds[-1], MIN_SCORES)
        error = relative_error(found.features, wanted.features)
    finally:
        limit_device_memory(settings.device, 0)
    if held > BUDGET_MB:
        result.failures.append(f'PyTorch holds {held:.0f} MiB; expected at most {BUDGET_MB}')
    if not error <= TOLERANCES[config.precision]:
        result.failures.append(
            f'error is {error:.1e}; expected at most {TOLERANCES[config.precision]:g}'
        )
    result.text = '\n'.join(
        [
            f'With {BUDGET_MB} MiB the frames ran on {config.device} in {config.precision}, '
            f'sparsity {config.sparsity}; PyTorch then held {held:.0f} MiB, largest error of the '
            f'features {error:.1e}. Fallback steps: {"" if steps else "none."}',
            '',
            *(f'- {step}' for step in steps),
        ]
    )
    return result
