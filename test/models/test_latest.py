# SPDX-License-Identifier: Apache-2.0
import torch

from tiny_bev_ros.models.latest import Latest


def test_it_is_made_again_for_another_key_alone():
    latest, made = Latest(), []

    def make(value):
        return lambda: made.append(value) or value

    assert [latest.get(key, make(key)) for key in 'aabba'] == list('aabba')
    assert made == ['a', 'b', 'a']


def test_what_is_made_in_inference_serves_training():
    latest = Latest()
    with torch.inference_mode():
        kept = latest.get(1, lambda: torch.ones(2))
    weight = torch.ones(2, requires_grad=True)
    (weight * kept).sum().backward()
    assert weight.grad.tolist() == [1, 1]
