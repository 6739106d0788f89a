"""`make chaos SECONDS=… SEED=…`: one storm, and its verdict as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.chaos.checker import check
from tests.chaos.storm import Storm


def main() -> None:
    """Run a storm and print what it did; fails if anything is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--purchases", type=int, default=None)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        Path(folder).chmod(0o755)
        storm = Storm(given.seed, Path(folder))
        with storm.blow(given.seconds, purchases=given.purchases) as report:
            verdict = check(report)
    json.dump(verdict.figures, sys.stdout, indent=2)
    sys.stdout.write("\n")
    for finding in verdict.wrong:
        sys.stdout.write(f"WRONG: {finding}\n")
    sys.exit(1 if verdict.wrong else 0)


main()
