"""The client against the sandbox over HTTP, in the documented forms and in all that were seen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from app.sandbox.faults import Fault, FaultKind
from app.sandbox.options import Shape
from app.upstream.client import UpstreamClient
from app.upstream.errors import CallFailed, Outcome
from app.upstream.transport import Transport
from app.upstream.wire import NumberState
from app.values import Period, PeriodUnit
from tests.served import ServedSandbox

KEY = "client-test-key"
WEEK = Period(PeriodUnit.WEEK, 1)


@asynccontextmanager
async def client_of(served: ServedSandbox, shape: Shape) -> AsyncIterator[UpstreamClient]:
    served.sandbox.shape = shape
    served.add_account(KEY, Decimal(1000))
    transport = Transport(served.url, 2.0)
    try:
        yield UpstreamClient(transport)
    finally:
        await transport.aclose()


@pytest.mark.parametrize("shape", Shape)
def test_the_whole_life_of_an_order_in_each_form(served_sandbox: ServedSandbox, shape: Shape) -> None:
    async def life() -> None:
        async with client_of(served_sandbox, shape) as client:
            assert {c.upstream_code for c in await client.get_countries()} >= {"UK", "RU", "US3"}
            offers = {offer.service: offer for offer in await client.get_offers("UK", WEEK)}
            by_operator = {o.service: o for o in await client.get_offers_with_operators("UK", WEEK)}
            assert by_operator["opt1"].operators
            assert by_operator["opt1"].price_per_day == offers["opt1"].price_per_day

            (bought,) = await client.create(KEY, country="UK", service="opt1", period=WEEK)
            orders = {order.order_id: order for order in await client.orders(KEY)}
            order = orders[bought.order_id]
            assert order.phone_number == bought.phone_number
            assert (order.country, order.service, order.state) == ("GB", "opt1", NumberState.INACTIVE)
            assert order.expires_at == bought.expires_at
            none = await client.sms_if_new(KEY, None, order_id=bought.order_id)
            assert none.content is not None
            assert not none.content.rented
            again = await client.sms_if_new(KEY, none.digest, order_id=bought.order_id)
            if shape is not Shape.SEEN:  # where no two answers need be alike
                assert (again.digest, again.content) == (none.digest, None)

            await client.activate(KEY, order_id=bought.order_id)
            for _ in range(100):
                lists = await client.sms_if_new(KEY, none.digest, order_id=bought.order_id)
                if lists.content is not None and lists.content.rented:
                    break
                await asyncio.sleep(0.05)
            assert lists.content is not None
            assert "Google" in lists.content.rented[0].text

            child = await client.add_service(
                KEY, order_id=bought.order_id, service="opt2", phone_number=bought.phone_number or ""
            )
            assert child is None or child.service == "opt2"
            orders = {order.order_id: order for order in await client.orders(KEY)}
            assert {order.phone_number for order in orders.values()} == {bought.phone_number}

            served_sandbox.sandbox.world.age(6 * 86_400)
            await client.prolong(KEY, order_id=bought.order_id, period=WEEK)
            await client.prolong_max(KEY, order_id=bought.order_id, days=2)
            served_sandbox.sandbox.world.age(11 * 86_400)
            history = {entry.order_id: entry for entry in await client.history(KEY, skip=0, take=50)}
            assert history[bought.order_id].phone_number == bought.phone_number
            quote = await client.restore_quote(KEY, order_id=bought.order_id)
            assert quote.phone_number == bought.phone_number
            assert quote.price > 0
            restored = await client.restore(KEY, order_id=bought.order_id)
            assert restored.order_id in (None, bought.order_id)
            await client.delete(KEY, order_id=bought.order_id)
            assert bought.order_id not in {order.order_id for order in await client.orders(KEY)}

    asyncio.run(life())


@pytest.mark.parametrize("shape", Shape)
def test_several_services_on_one_number(served_sandbox: ServedSandbox, shape: Shape) -> None:
    async def scenario() -> None:
        async with client_of(served_sandbox, shape) as client:
            await client.create_multi(KEY, country="RU", services=["opt1", "opt2"], period=WEEK)
            orders = await client.orders(KEY)
            assert {order.service for order in orders} == {"opt1", "opt2"}
            assert len({order.phone_number for order in orders}) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("shape", Shape)
def test_refusals(served_sandbox: ServedSandbox, shape: Shape) -> None:
    async def scenario() -> None:
        async with client_of(served_sandbox, shape) as client:
            with pytest.raises(CallFailed) as failed:
                await client.orders("another-key")
            assert failed.value.outcome is Outcome.REFUSED
            assert failed.value.error.code == "upstream_key_rejected"
            with pytest.raises(CallFailed) as failed:
                await client.create(KEY, country="XX", service="opt1", period=WEEK)
            assert failed.value.error.code == "country_unknown"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (FaultKind.DROP, "upstream_unavailable"),
        (FaultKind.STATUS_500, "upstream_unavailable"),
        (FaultKind.PROXY_403, "upstream_unavailable"),
        (FaultKind.HTML, "upstream_bad_response"),
        (FaultKind.CUT_JSON, "upstream_bad_response"),
        (FaultKind.EMPTY, "upstream_bad_response"),
        (FaultKind.HANG, "upstream_timeout"),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_faulty_purchase_is_unknown_whether_it_was_made_or_not(
    served_sandbox: ServedSandbox, kind: FaultKind, when: str, code: str
) -> None:
    async def scenario() -> None:
        async with client_of(served_sandbox, Shape.DOCUMENTED) as client:
            fault = Fault.model_validate({"method": "create", "kind": kind, "when": when, "seconds": 30})
            served_sandbox.sandbox.faults.waiting.append(fault)
            with pytest.raises(CallFailed) as failed:
                await client.create(KEY, country="RU", service="opt1", period=WEEK)
            assert failed.value.outcome is Outcome.UNKNOWN
            assert failed.value.error.code == code
            assert len(await client.orders(KEY)) == (1 if when == "after" else 0)

    asyncio.run(scenario())


@asynccontextmanager
async def saying(body: bytes) -> AsyncIterator[UpstreamClient]:
    """A client of an upstream that answers every call with the same body."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    transport = Transport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/rent.php", 2.0)
    try:
        yield UpstreamClient(transport)
    finally:
        await transport.aclose()
        server.close()


Call = Callable[[UpstreamClient], Awaitable[object]]

CHANGING: dict[str, Call] = {
    "create": lambda c: c.create(KEY, country="RU", service="opt1", period=WEEK),
    "create_multi": lambda c: c.create_multi(KEY, country="RU", services=["opt1"], period=WEEK),
    "prolong": lambda c: c.prolong(KEY, order_id="1", period=WEEK),
    "prolong_max": lambda c: c.prolong_max(KEY, order_id="1", days=1),
    "add_service_to_order": lambda c: c.add_service(
        KEY, order_id="1", service="opt2", phone_number="+79096037108"
    ),
    "restore_user": lambda c: c.restore(KEY, order_id="1"),
    "activate": lambda c: c.activate(KEY, order_id="1"),
    "delete": lambda c: c.delete(KEY, order_id="1"),
}
READING: dict[str, Call] = {
    "orders": lambda c: c.orders(KEY),
    "sms": lambda c: c.sms_if_new(KEY, None, order_id="1"),
    "restore_user_precalc": lambda c: c.restore_quote(KEY, order_id="1"),
    "getdata": lambda c: c.get_offers("RU", WEEK),
}


def refused(call: Call, body: dict[str, object]) -> CallFailed:
    async def scenario() -> CallFailed:
        async with saying(json.dumps(body).encode()) as client:
            with pytest.raises(CallFailed) as failed:
                await call(client)
            return failed.value

    return asyncio.run(scenario())


@pytest.mark.parametrize("method", CHANGING)
@pytest.mark.parametrize(
    ("body", "outcome", "code"),
    [
        ({"msg": "Insufficient balance"}, Outcome.REFUSED, "insufficient_balance"),
        ({"message": "Insufficient balance"}, Outcome.REFUSED, "insufficient_balance"),
        ({"error": {"description": "TOO MANY REQUESTS"}, "data": [{}]}, Outcome.REFUSED, "upstream_busy"),
        ({"error_msg": "NOBALANCE: and more", "data": None}, Outcome.REFUSED, "insufficient_balance"),
        ({"msg": "Incorrect method"}, Outcome.REFUSED, "upstream_error"),
        ({"msg": "Insufficient balance", "data": {"id": 7}}, Outcome.UNKNOWN, "upstream_error"),
        ({"msg": "Insufficient balance for two"}, Outcome.UNKNOWN, "upstream_error"),
        ({"msg": "Something went wrong"}, Outcome.UNKNOWN, "upstream_error"),
        ({}, Outcome.UNKNOWN, "upstream_error"),
    ],
)
def test_a_call_that_changes_something_is_refused_only_for_certain(
    method: str, body: dict[str, object], outcome: Outcome, code: str
) -> None:
    failure = refused(CHANGING[method], {"status": 0, **body})
    assert (failure.outcome, failure.error.code) == (outcome, code)
    said = failure.error.upstream
    assert said is not None
    assert said.method == method
    assert said.message in json.dumps(body)


@pytest.mark.parametrize("method", READING)
def test_a_call_that_only_reads_is_refused_whatever_the_text_is(method: str) -> None:
    failure = refused(READING[method], {"status": "0", "error": "Something went wrong"})
    assert (failure.outcome, failure.error.code) == (Outcome.REFUSED, "upstream_error")
    failure = refused(READING[method], {"status": 0, "message": "Sorry, too many requests for now"})
    assert (failure.outcome, failure.error.code) == (Outcome.REFUSED, "upstream_busy")
