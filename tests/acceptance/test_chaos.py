"""Short storms and floods: random journeys while calls fail, processes are killed and Postgres crashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import flood_checker
from tests.chaos.checker import check
from tests.chaos.flood import Flood
from tests.chaos.storm import Storm

SECONDS = 20.0
FLOOD_SECONDS = 15.0


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_or_charged_twice(seed: int, tmp_path: Path) -> None:
    with Storm(seed, tmp_path).blow(SECONDS) as report:
        verdict = check(report)
    assert verdict.wrong == [], verdict.figures
    assert verdict.figures["bought"] > 10
    assert verdict.figures["unknown"] > 5
    assert verdict.figures["kills"] > 0


def test_no_message_is_lost_invented_or_out_of_order(tmp_path: Path) -> None:
    with Flood(3, tmp_path).rise(FLOOD_SECONDS) as report:
        figures, wrong = flood_checker.check(report)
    assert wrong == [], figures
    assert figures["messages"] > 20
    assert figures["worker kills"] > 0
    assert figures["endpoint failures"] > 0
