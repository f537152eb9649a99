# SPDX-License-Identifier: Apache-2.0
"""An executable of the package as a child process with a log file."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from types import TracebackType

from tiny_bev_ros.errors import TinyBevError
from tiny_bev_ros.resources import command

_START_S = 300.0
_GRACE_S = 60.0
# What a node says that does not become inactive, the state before active.
_NOT_CONFIGURED = ': not inactive: '


class NodeProcess:
    """Runs an executable until the `with` block ends, then stops it with SIGINT.

    Args:
        name: of the executable.
        ros_args: what follows `--ros-args`.
        log: file that gets its output.
    """

    def __init__(self, name: str, ros_args: list[str], log: Path) -> None:
        self.name, self.log = name, log
        with log.open('wb') as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own executable
                [*command(name), '--ros-args', *ros_args],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raises TinyBevError, with its log, when the process has ended or is not configured."""
        told = self.log.read_text(errors='replace')
        if _NOT_CONFIGURED in told:
            reason = told.partition(_NOT_CONFIGURED)[2].partition('\n')[0]
            raise TinyBevError(f'{self.name} is not configured: {reason}')
        code = self._process.poll()
        if code is not None:
            said = told.strip().splitlines()
            raise TinyBevError(
                f'{self.name} ended with exit code {code}: {said[-1] if said else "no output"} '
                f'(all of it in {self.log})'
            )

    def wait(self) -> int:
        """Waits for the process to end by itself and returns its exit code."""
        return self._process.wait(_START_S)

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self._process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGINT, times: int = 1) -> int:
        """Stops the process with a signal and returns its exit code."""
        for _ in range(times):
            if self.running:
                self._process.send_signal(number)
        try:
            return self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
