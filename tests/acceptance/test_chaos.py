"""Short storms: random journeys while calls fail, gateways are killed and Postgres crashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.checker import check
from tests.chaos.storm import Storm

SECONDS = 20.0


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_or_charged_twice(seed: int, tmp_path: Path) -> None:
    with Storm(seed, tmp_path).blow(SECONDS) as report:
        verdict = check(report)
    assert verdict.wrong == [], verdict.figures
    assert verdict.figures["bought"] > 10
    assert verdict.figures["unknown"] > 5
    assert verdict.figures["kills"] > 0
