"""Load by wrk (Debian's package `wrk`): closed loop, some connections, some seconds."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

CONNECTIONS, SECONDS = 16, 5

_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True, slots=True)
class Throughput:
    """What came of a load; latencies in milliseconds."""

    per_second: float
    median: float
    slow: float


def load(url: str, token: str | None = None) -> Throughput:
    """Ask for a URL as fast as it answers; all answers have to be 2xx."""
    wrk = shutil.which("wrk")
    assert wrk, "make bench-requests needs wrk: apt-get install wrk"
    header = ["-H", f"Authorization: Bearer {token}"] if token else []
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", *header, url]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in told, told
    return Throughput(
        float(_found(r"Requests/sec:\s+([\d.]+)", told)[0]),
        _milliseconds(*_found(r"50%\s+([\d.]+)(us|ms|s)", told)),
        _milliseconds(*_found(r"99%\s+([\d.]+)(us|ms|s)", told)),
    )


def _found(pattern: str, text: str) -> tuple[str, ...]:
    found = re.search(pattern, text)
    assert found, text
    return found.groups()


def _milliseconds(number: str, unit: str) -> float:
    return float(number) * _UNITS[unit]
