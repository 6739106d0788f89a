"""The cache: one fetch at a time, the old answer while a new one is fetched, and when the source is down."""

from __future__ import annotations

import asyncio

import pytest

from app.catalog.cache import Cache
from app.errors import UpstreamUnavailable


class Source:
    """A source that counts, waits to be let go, and can fail."""

    def __init__(self) -> None:
        self.fetches = 0
        self.go = asyncio.Event()
        self.go.set()
        self.down = False

    async def fetch(self) -> int:
        self.fetches += 1
        await self.go.wait()
        if self.down:
            raise UpstreamUnavailable
        return self.fetches


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_however_many_miss_at_once_one_fetch_is_made() -> None:
    async def scenario() -> None:
        source, cache = Source(), Cache[str, int](10)
        source.go.clear()
        askers = [asyncio.ensure_future(cache.get("a", source.fetch)) for _ in range(100)]
        await asyncio.sleep(0)
        source.go.set()
        assert {found.value for found in await asyncio.gather(*askers)} == {1}
        assert source.fetches == 1

    asyncio.run(scenario())


def test_one_impatient_asker_does_not_take_the_answer_from_the_others() -> None:
    async def scenario() -> None:
        source, cache = Source(), Cache[str, int](10)
        source.go.clear()
        impatient = asyncio.ensure_future(cache.get("a", source.fetch))
        patient = asyncio.ensure_future(cache.get("a", source.fetch))
        await asyncio.sleep(0)
        impatient.cancel()
        source.go.set()
        assert (await patient).value == 1

    asyncio.run(scenario())


def test_an_old_answer_comes_at_once_while_a_new_one_is_fetched() -> None:
    async def scenario() -> None:
        clock, source = Clock(), Source()
        cache = Cache[str, int](10, clock=clock)
        assert (await cache.get("a", source.fetch)).age == 0
        clock.now = 12
        source.go.clear()
        stale = await cache.get("a", source.fetch)
        assert (stale.value, stale.age) == (1, 12)
        source.go.set()
        assert (await cache.fresh("a", source.fetch)).value == 2
        assert (await cache.get("a", source.fetch)).value == 2
        assert source.fetches == 2

    asyncio.run(scenario())


def test_a_very_old_answer_is_not_given_if_a_new_one_can_be_had() -> None:
    async def scenario() -> None:
        clock, source = Clock(), Source()
        cache = Cache[str, int](10, clock=clock)
        await cache.get("a", source.fetch)
        clock.now = 100
        assert (await cache.get("a", source.fetch)).value == 2

    asyncio.run(scenario())


def test_an_old_answer_is_given_while_the_source_is_down() -> None:
    async def scenario() -> None:
        clock, source = Clock(), Source()
        cache = Cache[str, int](10, clock=clock)
        await cache.get("a", source.fetch)
        clock.now, source.down = 3600, True
        for _ in range(3):
            found = await cache.get("a", source.fetch)
            assert (found.value, found.age) == (1, 3600)
            await asyncio.sleep(0)
        with pytest.raises(UpstreamUnavailable):
            await cache.get("b", source.fetch)

    asyncio.run(scenario())


def test_the_longest_unused_goes_when_it_is_full() -> None:
    async def scenario() -> None:
        source, cache = Source(), Cache[str, int](10, capacity=2)
        for key in ("a", "b", "a", "c"):
            await cache.get(key, source.fetch)
        assert source.fetches == 3
        await cache.get("a", source.fetch)
        assert source.fetches == 3
        await cache.get("b", source.fetch)
        assert source.fetches == 4

    asyncio.run(scenario())


def test_how_long_a_value_is_fresh_may_hang_on_the_value() -> None:
    async def scenario() -> None:
        clock, source = Clock(), Source()
        cache = Cache[str, int](lambda value: 1 if value == 1 else 1000, clock=clock)
        await cache.get("a", source.fetch)
        clock.now = 0.5
        assert (await cache.get("a", source.fetch)).value == 1
        assert source.fetches == 1
        clock.now = 10  # very old for the first value, fresh for the second
        assert (await cache.get("a", source.fetch)).value == 2
        clock.now = 1000
        assert (await cache.get("a", source.fetch)).value == 2
        assert source.fetches == 2

    asyncio.run(scenario())
