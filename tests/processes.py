"""rentgate's commands, each in a process of its own, forked from one that has imported them already.

To start Python and import everything takes two seconds of a core, and the tests start processes by the
hundred. A forked one runs the very same command from its first line on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tests.conftest import PROJECT

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["app.cli", "tests.processes"])


class Command(Protocol):
    """A command that runs; a part of what `subprocess.Popen` can."""

    pid: int

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it."""


class Forked:
    """A command in a forked process."""

    def __init__(self, arguments: tuple[str, ...], environment: Mapping[str, str], output: Path) -> None:
        """Start it; what it says, on either stream, is added to a file."""
        given = arguments, dict(environment), str(output), str(output)
        self._process = _forks.Process(target=_run, args=given)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("rentgate", timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, sig: int) -> None:
        """Send it a signal, unless it has ended."""
        if self._process.exitcode is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def fresh(arguments: tuple[str, ...], environment: Mapping[str, str], output: Path) -> Command:
    """The command in a process that starts from nothing, as its users start it."""
    with output.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "app.cli", *arguments],
            env=dict(environment),
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=PROJECT,
        )


def done(
    arguments: tuple[str, ...], environment: Mapping[str, str], folder: Path, *, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """What came of a command that ends by itself."""
    output, complaints = folder / "stdout", folder / "stderr"
    output.unlink(missing_ok=True)
    complaints.unlink(missing_ok=True)
    process = _forks.Process(target=_run, args=(arguments, dict(environment), str(output), str(complaints)))
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        raise subprocess.TimeoutExpired(" ".join(arguments), seconds)
    return subprocess.CompletedProcess(
        arguments, process.exitcode, output.read_text(), complaints.read_text()
    )


def _run(arguments: tuple[str, ...], environment: dict[str, str], output: str, complaints: str) -> None:
    """Become the command."""
    for path, descriptor in ((output, 1), (complaints, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(PROJECT)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["rentgate", *arguments]
    from app.cli import main  # noqa: PLC0415  the forked process has it, who starts it needs it not

    main()
