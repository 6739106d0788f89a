"""The sandbox's controls: what the provider, the senders of SMS and the passing of time do in real life."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from app.sandbox.faults import Fault
from app.sandbox.options import Shape
from app.sandbox.shop import COUNTRIES, SERVICES
from app.sandbox.state import Sandbox
from app.sandbox.texts import sample
from app.sandbox.world import Account, Arrived, Order


class Body(BaseModel):
    """A body of the control API; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class AccountBody(Body):
    """An account to make, or to give another balance."""

    api_key: str = Field(min_length=1)
    balance: Decimal = Field(ge=0)


class OrderBody(Body):
    """An order made elsewhere, such as on the provider's website; free of charge."""

    api_key: str
    country: str
    service: str
    days: int = Field(default=7, ge=1, le=400)


class OrderChange(Body):
    """What becomes of an order: the refusal that restoring meets, or its vanishing from the lists."""

    restore_error: str | None = None
    vanished: bool = False


class SmsBody(Body):
    """An SMS to an order's number; without sender and text, plausible ones. `service` may be another's."""

    order_id: int
    text: str | None = None
    sender: str | None = None
    service: str | None = None
    dated: bool = True
    received_at: float | None = None


class TimeBody(Body):
    """Seconds that pass."""

    seconds: float = Field(ge=0)


class StockBody(Body):
    """How many numbers of a service are left in a country."""

    country: str
    service: str
    count: int = Field(ge=0)


class PriceBody(Body):
    """The price of one day, before discounts, in US dollars."""

    country: str
    service: str
    price_day: Decimal = Field(gt=0)


class ShapeBody(Body):
    """The form of the answers."""

    shape: Shape


def control_router(sandbox: Sandbox) -> APIRouter:
    """The routes under `/control`."""
    router = APIRouter(prefix="/control", tags=["control"])

    @router.post("/accounts", status_code=201)
    async def set_account(body: AccountBody) -> dict[str, Any]:
        account = sandbox.world.accounts.setdefault(body.api_key, Account(body.api_key, body.balance))
        account.balance = body.balance
        return _shown_account(account)

    @router.get("/accounts")
    async def list_accounts() -> list[dict[str, Any]]:
        return [_shown_account(account) for account in sandbox.world.accounts.values()]

    @router.delete("/accounts/{last_four}", status_code=204)
    async def close_account(last_four: str) -> None:
        for key in [key for key in sandbox.world.accounts if key.endswith(last_four)]:
            del sandbox.world.accounts[key]

    @router.get("/orders")
    async def list_orders() -> list[dict[str, Any]]:
        sandbox.world.settle()
        living = [_shown_order(order, "living") for order in sandbox.world.living.values()]
        return living + [_shown_order(order, "archived") for order in sandbox.world.archive.values()]

    @router.post("/orders", status_code=201)
    async def make_order(body: OrderBody) -> dict[str, Any]:
        _check(body.country, body.service)
        account = sandbox.world.accounts.get(body.api_key)
        if account is None:
            raise HTTPException(404, "no such account")
        number = sandbox.world.new_number(COUNTRIES[body.country])
        return _shown_order(sandbox.world.new_order(account, number, body.service, body.days), "living")

    @router.patch("/orders/{order_id}")
    async def change_order(order_id: int, body: OrderChange) -> dict[str, Any]:
        order = _order(sandbox, order_id)
        order.restore_error = body.restore_error
        if body.vanished:
            sandbox.world.living.pop(order_id, None)
            sandbox.world.archive.pop(order_id, None)
        return _shown_order(order, "vanished" if body.vanished else "kept")

    @router.post("/sms", status_code=201)
    async def send_sms(body: SmsBody) -> dict[str, Any]:
        order = _order(sandbox, body.order_id)
        service = body.service or order.service
        sender, text = sample(service, sandbox.world.chance)
        message = Arrived(
            service,
            body.sender if body.text is not None else sender,
            body.text if body.text is not None else text,
            body.received_at if body.received_at is not None else time.time(),
            body.dated,
        )
        order.number.messages.append(message)
        return {"sender": message.sender, "text": message.text, "service": service}

    @router.post("/time")
    async def pass_time(body: TimeBody) -> dict[str, Any]:
        sandbox.world.age(body.seconds)
        return {"passed": body.seconds}

    @router.put("/stock")
    async def set_stock(body: StockBody) -> StockBody:
        _check(body.country, body.service)
        sandbox.world.stock[body.country, body.service] = body.count
        return body

    @router.put("/price")
    async def set_price(body: PriceBody) -> PriceBody:
        _check(body.country, body.service)
        sandbox.world.prices[body.country, body.service] = body.price_day
        return body

    @router.put("/shape")
    async def set_shape(body: ShapeBody) -> ShapeBody:
        sandbox.shape = body.shape
        return body

    @router.post("/faults", status_code=201)
    async def add_fault(fault: Fault) -> Fault:
        sandbox.faults.waiting.append(fault)
        return fault

    @router.get("/faults")
    async def list_faults() -> list[Fault]:
        return sandbox.faults.waiting

    @router.delete("/faults", status_code=204)
    async def clear_faults() -> None:
        sandbox.faults.waiting.clear()

    @router.get("/ledger")
    async def read_ledger() -> list[dict[str, Any]]:
        return sandbox.world.ledger

    @router.get("/calls")
    async def read_calls() -> list[dict[str, Any]]:
        return sandbox.calls

    @router.post("/reset", status_code=204)
    async def reset() -> None:
        sandbox.reset()

    return router


def _check(country: str, service: str) -> None:
    if country not in COUNTRIES or service not in SERVICES:
        raise HTTPException(422, "no such country or service")


def _order(sandbox: Sandbox, order_id: int) -> Order:
    order = sandbox.world.living.get(order_id) or sandbox.world.archive.get(order_id)
    if order is None:
        raise HTTPException(404, "no such order")
    return order


def _shown_account(account: Account) -> dict[str, Any]:
    return {"account": account.api_key[-4:], "balance": str(account.balance)}


def _shown_order(order: Order, place: str) -> dict[str, Any]:
    return {
        "id": order.id,
        "account": order.account.api_key[-4:],
        "country": order.number.country.code,
        "service": order.service,
        "phone_number": order.number.country.dial_code + order.number.national,
        "state": order.number.state(time.time()),
        "until": int(order.until),
        "messages": len(order.number.messages),
        "place": place,
    }
