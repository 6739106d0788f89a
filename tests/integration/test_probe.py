"""The probe against the sandbox: it calls nothing that spends or changes, keeps its pause, and goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import httpx
import pytest

from app.probe import METHODS, Choices, MethodReport, ReadingTransport, Session, run
from app.probe.reading import READING, NotReading
from app.probe.report import Result
from app.probe.session import RESTS
from app.sandbox import SandboxOptions
from app.sandbox.faults import Fault, FaultKind
from app.upstream.errors import BUSY_SECONDS
from tests.served import ServedSandbox
from tests.verbatim import Body, Verbatim

KEY = "probe-test-key-0001"
DAY = 86_400
CHANGING = (
    "create",
    "create_multi",
    "activate",
    "delete",
    "prolong",
    "prolong_max",
    "add_service_to_order",
    "restore_user",
)


class Naps:
    """Waits for nothing, and remembers how long it should have."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


def probed(url: str, *, timeout: float = 2.0, **session: Any) -> dict[str, MethodReport]:
    """What a probe found, by method."""

    async def work() -> dict[str, MethodReport]:
        transport = ReadingTransport(url, timeout)
        try:
            made = Session(transport, **{"api_key": KEY, "pause": 0.0, **session})
            told: list[MethodReport] = []
            await run(made, METHODS, told.append)
            assert told == made.report.methods
            return {report.method: report for report in told}
        finally:
            await transport.aclose()

    return asyncio.run(work())


def results(report: MethodReport) -> list[Result]:
    return [call.result for call in report.calls]


class Account:
    """A sandbox with one account, whose orders the tests make."""

    def __init__(self, served: ServedSandbox) -> None:
        self.url = served.url
        self.sandbox = served.sandbox
        self._controls = f"{served.base}/control"
        served.add_account(KEY, Decimal(100))

    def order(self, days: int, *, messages: int = 0) -> str:
        """Make an order; its id."""
        body = {"api_key": KEY, "country": "UK", "service": "opt20", "days": days}
        order_id = httpx.post(f"{self._controls}/orders", json=body).json()["id"]
        for number in range(messages):
            sms = {"order_id": order_id, "text": f"message {number}"}
            assert httpx.post(f"{self._controls}/sms", json=sms).status_code == 201
        return str(order_id)

    def calls(self, method: str) -> list[dict[str, str]]:
        """The parameters of the calls of a method."""
        return [call["parameters"] for call in self.sandbox.calls if call["method"] == method]

    def fail(self, method: str, kind: FaultKind, **more: Any) -> None:
        """Let calls of a method go wrong."""
        self.sandbox.faults.waiting.append(Fault(method=method, kind=kind, **more))


@pytest.fixture
def account() -> Iterator[Account]:
    with ServedSandbox(SandboxOptions(sms_seconds=0)) as served:
        yield Account(served)


def test_it_calls_what_costs_nothing_and_keeps_its_pause_between(account: Account) -> None:
    archived = [account.order(days) for days in (1, 2, 2)]
    account.sandbox.world.age(3 * DAY)
    account.order(30)
    found = probed(account.url, pause=0.1)
    calls = account.sandbox.calls
    assert {call["method"] for call in calls} == READING
    assert all(later["at"] - earlier["at"] >= 0.1 for earlier, later in pairwise(calls))
    assert account.sandbox.world.ledger == []
    assert account.sandbox.world.accounts[KEY].balance == 100
    assert [call["account"] for call in calls if call["method"] == "orders"] == [KEY[-4:]]
    assert account.calls("restore_user_precalc")[0]["id"] in archived
    assert account.calls("getdata") == [{"country": "UK", "dtype": "week", "dcount": "1"}]
    assert any("skip is honoured" in note for note in found["get_rent_history"].notes)
    read = ("getcountries", "orders", "sms", "get_rent_history", "restore_user_precalc", "getdata")
    for method in read:
        assert set(results(found[method])) == {Result.READ}, method
        assert not found[method].set_aside
    assert found["orders"].calls[0].rows == 1
    assert found["get_rent_history"].calls[0].rows == 3


@pytest.mark.parametrize("method", CHANGING)
def test_what_spends_or_changes_is_never_sent(account: Account, method: str) -> None:
    async def work() -> None:
        transport = ReadingTransport(account.url, 2.0)
        try:
            with pytest.raises(NotReading):
                await transport.get(method, {"apikey": KEY})
        finally:
            await transport.aclose()

    asyncio.run(work())
    assert account.sandbox.calls == []


def test_between_two_calls_it_waits_from_end_to_beginning(account: Account) -> None:
    naps = Naps()
    found = probed(account.url, pause=5.0, sleep=naps)
    made = sum(len(report.calls) for report in found.values())
    assert naps.taken == [5.0] * (made - 1)


def test_messages_are_read_only_of_orders_without_news(account: Account) -> None:
    quiet, news = account.order(30), account.order(30, messages=2)
    found = probed(account.url)
    assert account.calls("sms") == [{"id": quiet}]
    assert found["sms"].calls[0].rows == 0
    chosen = probed(account.url, choices=Choices(any_sms=True))
    assert account.calls("sms")[1:] == [{"id": news}]
    assert chosen["sms"].calls[0].rows == 2


def test_messages_are_not_read_where_every_order_has_news(account: Account) -> None:
    account.order(30, messages=1)
    found = probed(account.url)
    assert account.calls("sms") == []
    assert "--sms" in found["sms"].skipped


def test_news_that_nobody_can_tell_count_as_news() -> None:
    rows = [{"id": 1, "scode": "opt1", "state": 1, "until": 1_771_494_473, "hasnewsms": "maybe"}, {"id": 2}]
    with Verbatim({"orders": {"status": 1, "data": rows}}) as upstream:
        probed(upstream.url)
        assert "sms" not in {call.method for call in upstream.calls}


def test_several_orders_are_asked_until_one_has_messages() -> None:
    rows = [{"id": number, "hasnewsms": 0} for number in range(1, 9)]
    empty, full = {"status": 1, "data": []}, {"status": 1, "data": [{"text": "x"}]}
    answers: dict[str, Body] = {"orders": {"status": 1, "data": rows}, "sms": [empty, full, empty]}
    with Verbatim(dict(answers)) as upstream:
        found = probed(upstream.url)
        assert [call.parameters["id"] for call in upstream.of("sms")] == ["1", "2"]
        assert [call.rows for call in found["sms"].calls] == [0, 1]
    with Verbatim({**answers, "sms": empty}) as upstream:
        probed(upstream.url)
        assert len(upstream.of("sms")) == 3


def test_an_account_without_orders_is_read_all_the_same(account: Account) -> None:
    found = probed(account.url)
    assert found["sms"].skipped
    assert found["restore_user_precalc"].skipped
    assert found["orders"].calls[0].rows == 0
    assert results(found["getdata"]) == [Result.READ]


def test_country_and_service_can_be_chosen(account: Account) -> None:
    account.order(30)
    probed(account.url, choices=Choices(country="DE", service="opt1"))
    assert account.calls("getdata")[0]["country"] == "DE"
    assert account.calls("get_country_by_service")[0]["service"] == "opt1"
    assert account.calls("get_min_paypal_days") == [{"country": "DE", "service": "opt1"}]


def test_the_sum_of_what_goes_wrong(account: Account) -> None:
    account.order(30)
    account.fail("getcountries", FaultKind.HTML)
    account.fail("orders", FaultKind.STATUS_500)
    account.fail("get_rent_history", FaultKind.HANG, seconds=1)
    account.fail("getdata", FaultKind.REFUSE, message="Something odd of 7")
    account.fail("getdataWithProviders", FaultKind.DROP)
    found = probed(account.url, timeout=0.3, choices=Choices(country="UK"))
    assert results(found["getcountries"]) == [Result.UNREADABLE]
    assert [(call.result, call.detail) for call in found["orders"].calls] == [
        (Result.FAILED, "The upstream answered with HTTP status 500.")
    ]
    assert results(found["get_rent_history"]) == [Result.TIMED_OUT]
    (refused,) = found["getdata"].calls
    assert refused.result is Result.REFUSED
    assert "a text of 4 words" in refused.detail
    assert "odd" not in refused.detail
    assert results(found["getdataWithProviders"]) == [Result.FAILED]
    assert all(found[method].failed for method in ("getcountries", "orders", "getdata"))


def test_a_refused_restore_is_an_answer(account: Account) -> None:
    account.order(1)
    account.sandbox.world.age(80 * DAY)
    (call,) = probed(account.url)["restore_user_precalc"].calls
    assert call.result is Result.REFUSED
    assert call.understood
    assert call.detail.startswith("restore_not_available: ")


def test_a_key_that_is_rejected_is_shown_once_only(account: Account) -> None:
    found = probed(account.url, api_key="another-key-0002")
    keyed = [call for call in account.sandbox.calls if call["account"]]
    assert [call["method"] for call in keyed] == ["orders"]
    assert "rejects the key" in found["get_rent_history"].skipped
    assert results(found["getdata"]) == [Result.READ]


def test_an_upstream_that_limits_is_asked_once_more_and_then_no_more(account: Account) -> None:
    naps = Naps()
    account.fail("orders", FaultKind.RATE_LIMIT)
    found = probed(account.url, pause=2.0, sleep=naps)
    assert results(found["orders"]) == [Result.LIMITED, Result.READ]
    assert 2.0 * RESTS in naps.taken
    assert account.calls("getdata")
    account.sandbox.calls.clear()
    account.fail("orders", FaultKind.RATE_LIMIT, times=2)
    found = probed(account.url, pause=2.0, sleep=naps)
    assert results(found["orders"]) == [Result.LIMITED, Result.LIMITED]
    assert [call["method"] for call in account.sandbox.calls] == ["getcountries", "orders", "orders"]
    assert "too often" in found["getdata"].skipped


def test_an_upstream_that_limits_by_status_is_known() -> None:
    with Verbatim({"getcountries": [(429, b"slow down"), {"status": 1, "data": []}]}) as upstream:
        naps = Naps()
        found = probed(upstream.url, sleep=naps)
        assert [call.detail for call in found["getcountries"].calls] == ["HTTP status 429", ""]
        assert max(naps.taken) >= BUSY_SECONDS


def test_an_upstream_that_is_away_is_given_up_soon() -> None:
    found = probed("http://127.0.0.1:1/rent.php", choices=Choices(country="UK", service="opt1"))
    assert sum(len(report.calls) for report in found.values()) == 3
    assert results(found["getcountries"]) == [Result.UNREACHABLE]
    assert found["get_days_canada_paypal"].skipped == "the upstream can't be reached"
