# SPDX-License-Identifier: Apache-2.0
"""One rule of rounding for all float32 work on CUDA: none is made of TF32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch


class _Settings:
    """PyTorch's settings of TF32, which hold for a whole process: changed while anybody works."""

    def __init__(self) -> None:
        self._lock, self._users = Lock(), 0
        self._before: list[tuple[Any, str, Any]] = []

    def enter(self) -> None:
        with self._lock:
            if self._users == 0:
                # All are read first, as some change others.
                self._before = list(_readable())
                for place, name, value in _exact():
                    setattr(place, name, value)
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                for place, name, value in self._before:
                    setattr(place, name, value)


def _readable() -> Iterator[tuple[Any, str, Any]]:
    for place, name, _ in _exact():
        try:
            yield place, name, getattr(place, name)
        except RuntimeError:  # the old name, where the user set the new ones
            continue


def _exact() -> list[tuple[Any, str, Any]]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    exact: list[tuple[Any, str, Any]] = [(cudnn, 'allow_tf32', False)]
    if hasattr(cudnn, 'conv'):
        # PyTorch 2.9 and later; recurrent layers too, as else the old name is unreadable.
        new: list[Any] = [cudnn.conv, cudnn.rnn, matmul]
        return exact + [(place, 'fp32_precision', 'ieee') for place in new]
    return [*exact, (matmul, 'allow_tf32', False)]


_settings = _Settings()


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Lets convolutions and products of float32 inside be of float32, not of TF32, on CUDA.

    PyTorch's default is TF32, of 10 bits, for convolutions and float32 for products, with which
    the dense and the sparse path would differ. A graph that is recorded inside keeps it.

    Args:
        device: on which is computed; on others than CUDA nothing changes.
    """
    if device.type != 'cuda':
        yield
        return
    _settings.enter()
    try:
        yield
    finally:
        _settings.leave()
