"""The bounded cache: never more than it may hold, and the oldest goes first."""

from __future__ import annotations

from app.cache import BoundedCache


def test_the_oldest_entry_goes() -> None:
    kept: BoundedCache[str, int] = BoundedCache(2)
    kept["a"], kept["b"], kept["c"] = 1, 2, 3
    assert dict(kept) == {"b": 2, "c": 3}
    assert kept.oldest == 2


def test_setting_an_entry_again_makes_it_the_newest() -> None:
    kept: BoundedCache[str, int] = BoundedCache(2)
    kept["a"], kept["b"], kept["a"], kept["c"] = 1, 2, 3, 4
    assert dict(kept) == {"a": 3, "c": 4}


def test_an_entry_that_was_read_may_be_made_the_newest() -> None:
    kept: BoundedCache[str, int] = BoundedCache(2)
    kept["a"], kept["b"] = 1, 2
    kept.move_to_end("a")
    kept["c"] = 3
    assert list(kept) == ["a", "c"]
