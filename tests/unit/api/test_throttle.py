"""Limits as they are counted in one process, also while the Redis that they belong in does not answer."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from app.api.shared_windows import TIMEOUT_SECONDS
from app.api.throttle import Throttle, quota_headers
from app.api.windows import Windows
from app.errors import RateLimited


def allowed(throttle: Throttle, caller: str, tenant_id: str | None, times: int) -> int:
    """How many of so many requests were not too many."""

    async def count() -> int:
        made = [await throttle.count_request(caller, tenant_id) for _ in range(times)]
        return sum(all(quota.window.had_room for quota in quotas) for quotas in made)

    return asyncio.run(count())


def test_without_limits_nothing_is_counted() -> None:
    throttle = Throttle(Windows(None), key=None, tenant=None)
    assert asyncio.run(throttle.count_request("one", "a")) == []
    assert quota_headers([]) == []


def test_a_key_has_its_own_limit_in_each_tenant() -> None:
    throttle = Throttle(Windows(None), key=3, tenant=None)
    assert allowed(throttle, "one", "a", 5) == 3
    assert allowed(throttle, "two", "a", 5) == 3
    assert allowed(throttle, "one", "b", 5) == 3
    assert allowed(throttle, "platform", None, 5) == 3


def test_a_tenants_keys_share_its_limit() -> None:
    throttle = Throttle(Windows(None), key=None, tenant=5)
    assert allowed(throttle, "one", "a", 3) == 3
    assert allowed(throttle, "two", "a", 3) == 2
    assert allowed(throttle, "one", "b", 5) == 5
    assert allowed(throttle, "platform", None, 9) == 9


def test_a_key_beyond_its_own_limit_uses_up_nothing_of_its_tenants() -> None:
    throttle = Throttle(Windows(None), key=2, tenant=4)
    assert allowed(throttle, "busy", "a", 50) == 2
    assert allowed(throttle, "quiet", "a", 50) == 2


def test_both_quotas_are_told_in_the_standard_headers() -> None:
    throttle = Throttle(Windows(None), key=2, tenant=10)
    quotas = asyncio.run(throttle.count_request("one", "a"))
    assert quota_headers(quotas) == [
        (b"ratelimit", b'"key";r=1;t=60, "tenant";r=9;t=60'),
        (b"ratelimit-policy", b'"key";q=2;w=60, "tenant";q=10;w=60'),
    ]


@pytest.mark.parametrize(("key", "tenant", "told"), [(1, 9, "This key"), (9, 1, "This tenant")])
def test_one_too_many_is_told_with_the_time_to_wait(key: int, tenant: int, told: str) -> None:
    throttle = Throttle(Windows(None), key=key, tenant=tenant)
    asyncio.run(throttle.count_request("one", "a"))
    last = asyncio.run(throttle.count_request("one", "a"))[-1]
    with pytest.raises(RateLimited, match=told) as refused:
        last.check()
    assert refused.value.retry_after is not None
    assert 1 <= refused.value.retry_after <= 60


def test_wrong_tokens_of_an_address_are_limited_and_others_are_not() -> None:
    throttle = Throttle(Windows(None), key=None, tenant=None)

    async def wrong(address: str, times: int) -> None:
        for _ in range(times):
            await throttle.count_wrong_token(address)

    asyncio.run(wrong("192.0.2.1", 20))
    with pytest.raises(RateLimited):
        asyncio.run(wrong("192.0.2.1", 1))
    asyncio.run(wrong("192.0.2.2", 20))


def test_a_redis_that_is_not_there_is_not_waited_for() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, so that nobody else listens, but refusing
        _counts_for_itself(f"redis://127.0.0.1:{nobody.getsockname()[1]}")


def test_a_redis_that_hangs_holds_up_one_request_for_a_moment() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # the connection is made, and nothing is ever said
        _counts_for_itself(f"redis://:hunter2@127.0.0.1:{silent.getsockname()[1]}/3")


def _counts_for_itself(url: str) -> None:
    async def scenario() -> None:
        windows = Windows(url)
        throttle = Throttle(windows, key=3, tenant=None)
        assert not windows.away
        started = time.monotonic()
        rooms = [(await throttle.count_request("one", "a"))[0].window.had_room for _ in range(20)]
        assert rooms == [True] * 3 + [False] * 17
        assert time.monotonic() - started < TIMEOUT_SECONDS * 10
        assert windows.away
        await windows.aclose()

    asyncio.run(scenario())
