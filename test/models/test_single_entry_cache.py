# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 the tiny_bev_ros authors
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0 Unless required by applicable law or agreed to in
# writing, software distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
# language governing permissions and limitations under the License.
import torch

from tiny_bev_ros.models.single_entry_cache import SingleEntryCache


def test_only_another_key_computes_again():
    cache, computed = SingleEntryCache(), []

    def compute(value):
        return lambda: computed.append(value) or value

    assert [cache.get(key, compute(key)) for key in 'aabba'] == list('aabba')
    assert computed == ['a', 'b', 'a']


def test_a_value_computed_in_inference_mode_serves_training():
    cache = SingleEntryCache()
    with torch.inference_mode():
        kept = cache.get(1, lambda: torch.ones(2))
    weight = torch.ones(2, requires_grad=True)
    (weight * kept).sum().backward()
    assert weight.grad.tolist() == [1, 1]
