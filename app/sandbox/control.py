"""The sandbox's controls: what the provider, the senders of SMS and the passing of time do in real life."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, HTTPException

from app.sandbox import bodies
from app.sandbox.faults import Fault
from app.sandbox.forms.variations import EVERY_VARIATION
from app.sandbox.options import Habits
from app.sandbox.shop import COUNTRIES, SERVICES
from app.sandbox.state import Sandbox
from app.sandbox.texts import sample
from app.sandbox.world import Account, Arrived, Order


def control_router(sandbox: Sandbox) -> APIRouter:
    """The routes under `/control`."""
    router = APIRouter(prefix="/control", tags=["control"])
    _add_accounts_and_orders(router, sandbox)
    _add_settings(router, sandbox)
    _add_faults_and_records(router, sandbox)
    return router


def _add_accounts_and_orders(router: APIRouter, sandbox: Sandbox) -> None:
    @router.post("/accounts", status_code=201)
    async def set_account(body: bodies.AccountBody) -> dict[str, Any]:
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
    async def make_order(body: bodies.OrderBody) -> dict[str, Any]:
        _check(body.country, body.service)
        account = sandbox.world.accounts.get(body.api_key)
        if account is None:
            raise HTTPException(404, "no such account")
        country = COUNTRIES[body.country]
        number = sandbox.world.new_number(country, country.operators[0])
        return _shown_order(sandbox.world.new_order(account, number, body.service, body.days), "living")

    @router.patch("/orders/{order_id}")
    async def change_order(order_id: int, body: bodies.OrderChange) -> dict[str, Any]:
        order = _order(sandbox, order_id)
        order.restore_error = body.restore_error
        if body.vanished:
            sandbox.world.living.pop(order_id, None)
            sandbox.world.archive.pop(order_id, None)
        return _shown_order(order, "vanished" if body.vanished else "kept")

    @router.post("/sms", status_code=201)
    async def send_sms(body: bodies.SmsBody) -> dict[str, Any]:
        order = _order(sandbox, body.order_id)
        service = body.service or order.service
        sender: str | None
        sender, text = sample(service, sandbox.world.chance)
        if body.text is not None:
            sender, text = body.sender, body.text
        at = time.time() if body.received_at is None else body.received_at
        message = Arrived(service, sender, text, at, body.dated)
        order.number.messages.append(message)
        return {"sender": message.sender, "text": message.text, "service": service}


def _add_settings(router: APIRouter, sandbox: Sandbox) -> None:
    @router.post("/time")
    async def pass_time(body: bodies.TimeBody) -> dict[str, Any]:
        sandbox.world.age(body.seconds)
        return {"passed": body.seconds}

    @router.put("/stock")
    async def set_stock(body: bodies.StockBody) -> bodies.StockBody:
        _check(body.country, body.service)
        sandbox.world.stock[body.country, body.service] = body.count
        return body

    @router.put("/price")
    async def set_price(body: bodies.PriceBody) -> bodies.PriceBody:
        _check(body.country, body.service)
        sandbox.world.prices[body.country, body.service] = body.price_day
        return body

    @router.put("/shape")
    async def set_shape(body: bodies.ShapeBody) -> bodies.ShapeBody:
        sandbox.shape = body.shape
        sandbox.variations = EVERY_VARIATION if body.variations is None else body.variations
        return body

    @router.put("/habits")
    async def set_habits(body: bodies.HabitsBody) -> bodies.HabitsBody:
        sandbox.habits = Habits(**body.model_dump())
        return body

    @router.post("/reset", status_code=204)
    async def reset() -> None:
        sandbox.reset()


def _add_faults_and_records(router: APIRouter, sandbox: Sandbox) -> None:
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
        "operator": order.number.operator or None,
        "service": order.service,
        "phone_number": order.number.country.dial_code + order.number.national,
        "state": order.number.state(time.time()),
        "until": int(order.until),
        "messages": len(order.number.messages),
        "place": place,
    }
