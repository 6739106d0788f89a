"""`make chaos` and `make chaos-push`: one storm or flood by its seed, and its verdict as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.chaos import checker, flood_checker
from tests.chaos.flood import Flood
from tests.chaos.storm import Storm


def main() -> None:
    """Let it come, and print what it did; fails if anything is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--of", choices=["money", "messages"], default="money")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--purchases", type=int, default=None)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        Path(folder).chmod(0o755)
        figures, wrong = (_flood if given.of == "messages" else _storm)(given, Path(folder))
    json.dump(figures, sys.stdout, indent=2)
    sys.stdout.write("\n")
    for finding in wrong:
        sys.stdout.write(f"WRONG: {finding}\n")
    sys.exit(1 if wrong else 0)


def _storm(given: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[str]]:
    with Storm(given.seed, folder).blow(given.seconds, purchases=given.purchases) as report:
        verdict = checker.check(report)
    return verdict.figures, verdict.wrong


def _flood(given: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[str]]:
    with Flood(given.seed, folder).rise(given.seconds) as report:
        return flood_checker.check(report)


main()
