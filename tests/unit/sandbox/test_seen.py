"""The seen form really uses each variation that it names, and none that it was told to leave out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from app.sandbox.forms.variations import EVERY_VARIATION, Variation
from app.sandbox.options import Shape
from tests.unit.sandbox.conftest import MakeUpstream, Upstream
from tests.unit.sandbox.signs import SIGNS, Answer

WEEK = {"dtype": "week", "dcount": 1}
DAY = 86_400


class Run:
    """Asks again and again, and keeps the answers."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.answers: list[Answer] = []

    def ask(self, method: str, *, truth: Any = None, **asked: Any) -> Answer:
        """Call a method and keep its answer, with what is known to be true of it."""
        found = self.upstream.call(method, **asked)
        kept = Answer(method, asked, found.text, found.headers["content-type"].partition(";")[0], truth)
        self.answers.append(kept)
        return kept

    def newest(self) -> int:
        """The order that was made last."""
        return max(order.id for order in self.upstream.world.living.values())

    def life(self, turn: int) -> None:
        """An account from its first order to its last, and what can go wrong."""
        key = f"account-{turn}"
        self.upstream.control("POST", "accounts", {"api_key": key, "balance": 500})
        for method in ("orders", "get_rent_history"):
            self.ask(method, key=key, truth="empty")
        for method in ("getcountries", "get_default_services", "get_days_canada_paypal"):
            self.ask(method, key=None)
        for method in ("getdata", "getdataWithProviders", "getcount"):
            self.ask(method, country="UK")
        self.ask("create", key=key, country="UK", service="opt1", **WEEK)
        order, world = self.newest(), self.upstream.world
        self.ask("sms", key=key, id=order, truth="empty")
        self.ask("activate", key=key, id=order)
        for text in (f"code {turn}", f"again {turn}"):
            self.upstream.control("POST", "sms", {"order_id": order, "text": text, "sender": "Google"})
        self.ask("sms", key=key, id=order)
        other = {"order_id": order, "text": f"other {turn}", "sender": "X", "service": "opt2"}
        self.upstream.control("POST", "sms", other)
        self.ask("sms", key=key, id=order)
        number = "44" + world.living[order].number.national
        self.ask("add_service_to_order", key=key, id=order, service="opt2", pnumber=number)
        self.ask("create_multi", key=key, country="UK", services="opt1,opt2", **WEEK, truth=len(world.living))
        for _ in range(3):
            self.ask("orders", key=key)
        world.age(DAY)
        self.ask("prolong", key=key, id=order, **WEEK)
        self.ask("prolong_max", key=key, id=order, dtype="day", dcount=1)
        self.ask("delete", key=key, id=self.newest())
        world.age(20 * DAY)
        for skip in (0, 1):
            self.ask("get_rent_history", key=key, skip=skip, take=50)
        self.ask("restore_user_precalc", key=key, id=order)
        self.ask("restore_user", key=key, id=order)
        self.ask("orders", key="nobody")
        self.ask("restore_user", key="another", id=order)
        self.ask("create", key=key, country="UK", service="opt1", provider="nobody", **WEEK)
        balance = self.upstream.balance(key=key)
        self.answers.append(Answer("balance", {}, balance.text, "application/json"))
        world.living.clear()
        world.archive.clear()


TURNS = 40


def run(make_upstream: MakeUpstream, variations: frozenset[Variation]) -> list[Answer]:
    upstream = make_upstream(Shape.SEEN, variations=variations, sms_seconds=0, stock=10**6, seed=7)
    upstream.world.prices["UK", "opt1"] = Decimal("0.35")
    upstream.control("POST", "accounts", {"api_key": "another", "balance": 5})
    found = Run(upstream)
    for turn in range(TURNS):
        found.life(turn)
    return found.answers


def skip_ignored(answers: list[Answer]) -> bool:
    """Whether a later page of an archive held all of the first one."""
    listed: dict[tuple[Any, Any], set[str]] = {}
    for answer in answers:
        if answer.method == "get_rent_history" and answer.truth is None:
            ids = {
                str(row["orderId"]) for row in answer.rows() if isinstance(row, dict) and row.get("orderId")
            }
            listed[answer.asked["key"], answer.asked["skip"]] = ids
    return any(skip == 1 and ids and ids == listed[key, 0] for (key, skip), ids in listed.items())


def test_every_variation_occurs(make_upstream: MakeUpstream) -> None:
    answers = run(make_upstream, EVERY_VARIATION)
    assert set(SIGNS) | {Variation.HISTORY_SKIP_IGNORED} == EVERY_VARIATION
    missing = [
        variation.value for variation, sign in SIGNS.items() if not any(sign(answer) for answer in answers)
    ]
    assert missing == []
    assert skip_ignored(answers)


def test_no_variation_occurs_that_is_left_out(make_upstream: MakeUpstream) -> None:
    answers = run(make_upstream, frozenset())
    met = [variation.value for variation, sign in SIGNS.items() if any(sign(answer) for answer in answers)]
    assert met == []
    assert not skip_ignored(answers)
