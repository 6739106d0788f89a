"""The provider's own client judges the sandbox: every rental method and the balance, by its own types.

The client is smspva-sdk. Its types are taken strictly, and a member that they don't have is an error. They
are built anew with typing_extensions' TypedDict, which pydantic needs before Python 3.12.
"""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
import smspva
import smspva.errors
import smspva.types
import typing_extensions
from pydantic import ConfigDict, TypeAdapter, ValidationError

from app.sandbox import SandboxOptions
from app.sandbox.options import Habits
from app.sandbox.world import Arrived
from tests.served import ServedSandbox

DAY = 86_400
WEEK: dict[str, Any] = {"dtype": "week", "dcount": 1}


def _rebuilt() -> SimpleNamespace:
    make: Any = typing_extensions.TypedDict

    def closed(name: str, declared: dict[str, Any], *, total: bool = True) -> Any:
        kind = make(name, declared, total=total)
        kind.__pydantic_config__ = ConfigDict(strict=True, extra="forbid")
        return kind

    source = inspect.getsource(smspva.types)
    names: dict[str, Any] = {"TypedDict": closed}
    plain = source.replace("TypeAlias, TypedDict\n", "TypeAlias\n", 1)
    assert plain != source
    exec(compile(plain, smspva.types.__file__, "exec"), names)
    return SimpleNamespace(**names)


TYPES = _rebuilt()


def members(kind: Any, path: str = "") -> set[str]:
    """The paths of all members that a type declares."""
    if typing_extensions.is_typeddict(kind):
        hints = typing_extensions.get_type_hints(kind)
        return {f"{path}.{name}" for name in hints}.union(
            *(members(hint, f"{path}.{name}") for name, hint in hints.items())
        )
    return set[str]().union(*(members(part, path) for part in typing.get_args(kind)))


def told(value: Any, kind: Any, path: str = "") -> set[str]:
    """The paths of those members that an answer has."""
    if isinstance(value, list):
        return set[str]().union(*(told(item, kind, path) for item in value))
    if not isinstance(value, dict):
        return set()
    declared = {name.rpartition(".")[2] for name in members(kind) if name.startswith(f"{path}.")}
    keyed = bool(value) and not declared & value.keys()  # an object by country, service or operator
    return set[str]().union(
        *(
            told(item, kind, path) if keyed else {f"{path}.{name}"} | told(item, kind, f"{path}.{name}")
            for name, item in value.items()
        )
    )


class Judge:
    """Calls the client, synchronous or not, and holds every answer against the client's types."""

    def __init__(self, served: ServedSandbox, client: Any, runner: asyncio.Runner | None) -> None:
        self.served, self.world = served, served.sandbox.world
        self.client, self._runner = client, runner
        self.kinds: dict[str, Any] = {}
        self.told: dict[str, set[str]] = {}

    def rental(self, method: str, **given: Any) -> Any:
        """Call a method of the rental API."""
        return self._call("rental", method, given)

    def activation(self, method: str) -> Any:
        """Call a method of the account."""
        return self._call("activation", method, {})

    def refused(self, method: str, **given: Any) -> str:
        """The words of a refusal, which the client raises."""
        with pytest.raises(smspva.errors.ApiError) as error:
            self._call("rental", method, given)
        assert (error.value.http_status, error.value.code) == (200, 0)
        return str(error.value.response["msg"])

    def _call(self, family: str, method: str, given: dict[str, Any]) -> Any:
        bound = getattr(getattr(self.client, family), method)
        hints = inspect.get_annotations(bound.__func__)
        for name, value in given.items():
            alias = hints[name].removeprefix("T.").partition(" ")[0]
            TypeAdapter(getattr(TYPES, alias)).validate_python(value, strict=True)
        answer = bound(**given)
        if self._runner is not None:
            answer = self._runner.run(answer)
        kind = getattr(TYPES, hints["return"].removeprefix("T."))
        TypeAdapter(kind).validate_python(answer, strict=True)
        self.kinds[f"{family}.{method}"] = kind
        self.told.setdefault(f"{family}.{method}", set()).update(told(answer, kind))
        return answer.get("data")


@pytest.fixture(params=["sync", "async"])
def judge(request: pytest.FixtureRequest) -> Iterator[Judge]:
    """The client, with an account at a sandbox of its own."""
    options = SandboxOptions(activation_seconds=0, sms_seconds=0)
    with ServedSandbox(options) as served:
        where: dict[str, Any] = {
            "timeout": 10.0,
            "activation_base_url": served.base,
            "rental_base_url": served.base,
        }
        key = served.new_account(Decimal(2000))
        if request.param == "sync":
            with smspva.SMSPVA(key, **where) as client:
                yield Judge(served, client, None)
            return
        with asyncio.Runner() as runner:
            asynchronous = smspva.AsyncSMSPVA(key, **where)
            yield Judge(served, asynchronous, runner)
            runner.run(asynchronous.aclose())


def balance(judge: Judge) -> Decimal:
    return Decimal(judge.activation("get_balance")["balance"])


def whole_number(judge: Judge, order: int) -> str:
    number = judge.world.living[order].number
    return number.country.dial_code.lstrip("+") + number.national


def look_around(judge: Judge) -> None:
    """All that is told of what is sold."""
    codes = {row["code"] for row in judge.rental("get_countries")}
    services = {row["service"] for row in judge.rental("get_default_services")}
    assert set(judge.rental("get_countries_by_service", service="opt20", **WEEK)) == codes
    assert judge.rental("get_countries_by_service", service="opt20", dtype="month")
    for given in ({}, WEEK, {**WEEK, "extend": "1"}):
        offers = judge.rental("get_data", country="KZ", **given)
        detailed = judge.rental("get_data_with_providers", country="KZ", **given)
        assert {row["service"] for row in offers["services"]} == services
        assert offers["totalAmount"] == detailed["totalAmount"]
    for given in ({}, WEEK):
        counts = judge.rental("get_count", country="KZ", **given)
        detailed = judge.rental("get_count_with_providers", country="KZ", **given)
        assert counts == {service: row["Total"] for service, row in detailed.items()}
    several = judge.rental("get_multi_service_count", country="KZ", services="opt6,opt20", **WEEK)
    assert several["count"] > 0
    assert judge.rental("get_minimum_paypal_days", country="CA", service="opt83")["Days"] == 30
    assert judge.rental("get_minimum_paypal_days", country="KZ", service="opt6")["Days"] == 0
    assert [row["Days"] for row in judge.rental("get_canada_paypal_days")] == [30, 60, 90]


def rent_and_read(judge: Judge) -> int:
    """Rent numbers, add a service, activate, and read SMS."""
    made = judge.rental(
        "create", country="KZ", service="opt6", provider="Kcell", partner_key="partnerkeyhere", **WEEK
    )
    several = judge.rental("create_multi", country="KZ", services="opt6,opt20", provider="Beeline", **WEEK)
    number = whole_number(judge, made["id"])
    child = judge.rental("add_service_to_order", id=made["id"], service="opt20", pnumber=number)
    longer = judge.rental("add_service_to_order", id=made["id"], service="opt2", pnumber=number, rent_days=30)
    shown = {row["id"]: row for row in judge.rental("get_orders")}
    assert {made["id"], several["id"], child["id"], longer["id"]} <= shown.keys()
    assert shown[made["id"]]["until"] == int(made["until"])
    assert judge.rental("get_sms", id=made["id"]) == {"SmsList": [], "OtherSms": []}
    assert judge.rental("activate", id=made["id"]) == [{"id": made["id"]}]
    assert {row["id"]: row["state"] for row in judge.rental("get_orders")}[made["id"]] == 1
    for service, text in (("opt6", "code 1234"), ("opt44", "for another")):
        _arrive(judge, made["id"], service, text)
    assert [row["hasnewsms"] for row in judge.rental("get_orders") if row["id"] == made["id"]] == [True]
    lists = judge.rental("get_sms", id=made["id"])
    assert [row["text"] for row in lists["SmsList"]] == ["code 1234"]
    assert [row["text"] for row in lists["OtherSms"]] == ["for another"]
    return int(made["id"])


def _arrive(judge: Judge, order: int, service: str, text: str) -> None:
    number = judge.world.living[order].number
    number.messages.append(Arrived(service, "FACEBOOK", text, judge.world.living[order].begin))


def prolong_and_restore(judge: Judge, order: int) -> None:
    """Prolong an order, let it end, restore it, and give it up."""
    judge.world.age(DAY)
    end = judge.world.living[order].until
    assert judge.rental("prolong", id=order, **WEEK) is None
    assert judge.rental("prolong_by_days", id=order, dtype="day", dcount=5) is None
    assert judge.world.living[order].until == end + 12 * DAY
    judge.world.age(20 * DAY)
    archive = {row["orderId"]: row for row in judge.rental("get_history")}
    assert archive[order]["isAvailForRestore"] is True
    assert archive[order]["closed"] > archive[order]["end"]
    assert len(judge.rental("get_history", skip=0, take=1)) == 1
    before, price = balance(judge), judge.rental("get_restore_cost", id=order)["price"]
    assert judge.rental("restore", id=order) == {"id": order}
    assert before - balance(judge) == Decimal(str(price))
    judge.served.sandbox.habits = Habits(restore_new_id=True)
    other = next(row["orderId"] for row in judge.rental("get_history") if row["isAvailForRestore"])
    assert judge.rental("restore", id=other)["id"] not in archive
    assert judge.rental("delete_order", id=order) == {"id": order}
    assert order not in {row["id"] for row in judge.rental("get_orders")}
    (row,) = [row for row in judge.rental("get_history", take=50) if row["orderId"] == order]
    assert row["closed"] < row["end"]


def test_every_method_answers_in_the_clients_types(judge: Judge) -> None:
    before = balance(judge)
    look_around(judge)
    prolong_and_restore(judge, rent_and_read(judge))
    assert set(judge.activation("get_user_info")) == {"balance", "name", "karma"}
    charged = sum(Decimal(entry["amount"]) for entry in judge.world.ledger)
    assert before - balance(judge) == charged > 0

    methods = [name for name in dir(judge.client.rental) if not name.startswith("_")]
    assert len(methods) == 22
    names = {f"rental.{name}" for name in methods} | {"activation.get_balance", "activation.get_user_info"}
    assert set(judge.told) == names
    for name, paths in judge.told.items():
        assert members(judge.kinds[name]) - paths <= {".msg"}, name


def test_refusals_are_what_the_client_raises(judge: Judge) -> None:
    order = judge.rental("create", country="KZ", service="opt6", **WEEK)["id"]
    number = whole_number(judge, order)
    assert judge.refused("create", country="XX", service="opt6", **WEEK) == "Incorrect country"
    assert judge.refused("create", country="KZ", service="opt6", dtype="week", dcount=14) == (
        "Incorrect duration count. Min 7 days. Max 90 days."
    )
    assert judge.refused("create", country="CA", service="opt83", **WEEK) == (
        "Incorrect duration count. Min 30 days. Max 90 days."
    )
    assert judge.refused("create", country="KZ", service="opt6", provider="MTS", **WEEK) == (
        "No numbers available"
    )
    assert judge.refused("get_data", country="KZ", dtype="year", dcount=1) == "Incorrect dtype or dcount"
    assert judge.refused("add_service_to_order", id=order, service="opt2", pnumber="7") == "Incorrect pnumber"
    assert judge.refused(
        "add_service_to_order", id=order, service="opt2", pnumber=number, rent_days=3
    ).startswith("Incorrect duration count")
    assert judge.refused("get_sms", id=1) == "order not found"
    assert judge.refused("restore", id=order).startswith("DATEDIFFINVERT: ")
    judge.world.age(8 * DAY)
    for account in judge.world.accounts.values():
        account.balance = Decimal("0.01")
    assert judge.refused("create", country="KZ", service="opt6", **WEEK) == "Insufficient balance"
    price = judge.rental("get_restore_cost", id=order)["price"]
    needed = judge.refused("restore", id=order)
    assert needed.startswith("NOBALANCE: ")
    assert Decimal(needed.partition("Today need ")[2]) == Decimal(str(price))
    judge.world.accounts.clear()
    assert judge.refused("get_orders") == "Invalid apikey"
    with pytest.raises(smspva.errors.ApiError) as error:
        judge.activation("get_balance")
    assert (error.value.http_status, error.value.code) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("RentalGetOrdersResponse", {"status": 1, "data": [{"id": "5"}]}),
        ("RentalGetOrdersResponse", {"status": 1, "data": [{"odd": 5}]}),
        ("RentalCreateResponse", {"status": 1, "data": {"until": 5}}),
        ("RentalRestoreResponse", {"status": 1, "data": True}),
        ("RentalGetHistoryResponse", {"status": 1, "data": [{"closed": True}]}),
    ],
)
def test_the_judge_is_strict(kind: str, wrong: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(getattr(TYPES, kind)).validate_python(wrong, strict=True)
