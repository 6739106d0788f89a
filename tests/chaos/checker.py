"""The history checker: holds the upstream's ledger, the gateway's tables and the answers together."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.chaos.storm import LIMIT, LIMITED, Report

DEFINITE_REFUSALS = {
    "insufficient_balance",
    "spend_limit_exceeded",
    "no_numbers_available",
    "upstream_error",
    "service_unknown",
    "country_unknown",
}


KINDS = {
    "create": "create",
    "create_multi": "create",
    "restore_user": "restore",
    "prolong": "prolong",
    "prolong_max": "prolong",
    "add_service_to_order": "add_service",
}
"""The kind of operation that each charging method belongs to."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found to be wrong, and the figures of the run."""

    wrong: list[str]
    figures: dict[str, Any]


def check(report: Report) -> Verdict:
    """Compare what was charged with what is known and with what was told."""
    with psycopg.connect(report.superuser_url, row_factory=dict_row) as connection:
        operations = connection.execute("select * from operations").fetchall()
        orders = connection.execute("select * from upstream_orders").fetchall()
        rentals = {row["id"]: row for row in connection.execute("select * from rentals").fetchall()}
        holds = connection.execute("select * from spending_holds").fetchall()
        months = connection.execute("select * from spending_months").fetchall()
        unknown = connection.execute(
            "select distinct target from audit_logs where action like 'operation.%' and outcome = 'unknown'"
        ).fetchall()
        tenants = connection.execute("select id, spend_limit from tenants order by id").fetchall()
    wrong: list[str] = []
    by_id = {row["id"]: row for row in operations}
    creates = [row for row in operations if row["kind"] == "create"]
    rental_of = {row["upstream_order_id"]: row["rental_id"] for row in orders}
    charges: dict[Any, int] = Counter()

    # No charge without its rental and its operation, and no rental charged twice.
    for entry in report.world.ledger:
        owners = {rental_of.get(order_id) for order_id in entry["orders"]}
        if len(owners) != 1 or None in owners:
            wrong.append(f"charged but not known as one rental: {entry} -> {owners}")
            continue
        charges[KINDS[entry["method"]], owners.pop()] += 1
    done: dict[Any, int] = Counter()
    for row in operations:
        if row["kind"] in KINDS.values():
            done[row["kind"], row["rental_id"]] += _steps_done(row)
    for owner in charges.keys() | done.keys():
        if charges.get(owner, 0) != done.get(owner, 0):
            wrong.append(f"{owner}: charged {charges.get(owner, 0)} times, done {done.get(owner, 0)} times")

    # No request bought twice.
    bought: dict[str, int] = Counter(
        row["request"]["metadata"]["request"] for row in creates if row["state"] == "succeeded"
    )
    wrong += [f"request {request} bought {count} times" for request, count in bought.items() if count > 1]

    # What callers were told is true.
    for told in report.told:
        for answer in told.answers:
            if answer is None:
                continue
            if answer.status == 500:
                wrong.append(f"request {told.request_id} ({told.kind}) met a 500")
            if told.kind != "purchase":
                continue
            if answer.status == 201 and not bought.get(told.request_id):
                wrong.append(f"request {told.request_id} was told 201, but nothing was bought")
            final = told.key is None or len(told.answers) == 1
            if answer.code in DEFINITE_REFUSALS and final and bought.get(told.request_id):
                wrong.append(f"request {told.request_id} was told {answer.code}, but was bought")

    # Failed purchases have no orders, and nothing is left open.
    with_orders = {row["rental_id"] for row in orders if row["rental_id"] is not None}
    for row in creates:
        if row["state"] == "failed" and row["rental_id"] in with_orders:
            wrong.append(f"operation {row['id']} failed, but its rental has orders")
        if row["state"] == "succeeded" and rentals[row["rental_id"]]["status"] not in (
            "active",
            "expired",
            "deleted",
        ):
            wrong.append(
                f"operation {row['id']} succeeded, its rental is {rentals[row['rental_id']]['status']}"
            )
    states = Counter(row["state"] for row in operations)
    wrong += [
        f"{states[state]} operations are {state}" for state in ("queued", "sent", "unknown") if states[state]
    ]
    apart = [row for row in operations if row["state"] == "review" and row["step"]]
    if states["review"] > len(apart):
        wrong.append(f"{states['review']} operations are in review, though nobody else bought anything")
    wrong += [f"operation {row['id']} is in review without a reason" for row in apart if not row["error"]]
    imported = [row["id"] for row in rentals.values() if row["source"] == "imported"]
    if imported:
        wrong.append(f"rentals {imported} were imported, though nothing was bought elsewhere")

    # Every hold is settled, belongs to its operation, and adds up.
    spent: dict[Any, Decimal] = defaultdict(Decimal)
    held: dict[Any, Decimal] = defaultdict(Decimal)
    for hold in holds:
        state = by_id[hold["operation_id"]]["state"]
        expected = {"succeeded": "spent", "failed": "released", "review": "held"}.get(state)
        if hold["state"] != expected:
            wrong.append(f"hold of {hold['operation_id']} is {hold['state']}, its operation {state}")
        if hold["state"] == "spent":
            spent[hold["tenant_id"]] += hold["amount"]
        if hold["state"] == "held":
            held[hold["tenant_id"]] += hold["amount"]
    for month in months:
        if month["held"] != held[month["tenant_id"]] or month["spent"] != spent[month["tenant_id"]]:
            wrong.append(f"month {month} does not add up to {spent[month['tenant_id']]}")
    limited = tenants[LIMITED]
    if limited["spend_limit"] != LIMIT or spent[limited["id"]] > LIMIT + _recovered(
        operations, limited["id"]
    ):
        wrong.append(f"the limit of {limited['id']} was passed: {spent[limited['id']]}")

    were_unknown = {str(row["target"]) for row in unknown}
    found, absent = (
        sorted(
            (row["settled_at"] - row["sent_at"]).total_seconds()
            for row in operations
            if str(row["id"]) in were_unknown and row["state"] == state
        )
        for state in ("succeeded", "failed")
    )
    return Verdict(
        wrong,
        {
            "seed": report.seed,
            "seconds": round(report.seconds),
            "requests": len(report.told),
            "purchases": len(creates),
            "bought": sum(bought.values()),
            "done of each kind": dict(
                sorted(Counter(row["kind"] for row in operations if row["state"] == "succeeded").items())
            ),
            "faults": dict(sorted(report.faults.items())),
            "kills": report.kills,
            "database crashes": report.database_crashes,
            "unknown": len(were_unknown),
            "recovered late": _count(report, "rental.recovered"),
            "review": states["review"] - len(apart),
            "came apart": len(apart),
            "found": _spread(found),
            "slowest": _slowest(operations),
            "proven absent": _spread(absent),
        },
    )


def _steps_done(row: dict[str, Any]) -> int:
    """How many of an operation's calls charged something, as the gateway has it."""
    return max(1, len(row["request"].get("orders", ()))) if row["state"] == "succeeded" else row["step"]


def _spread(seconds: list[float]) -> dict[str, float]:
    """How many, and the seconds from sending to settling."""
    if not seconds:
        return {"count": 0}
    slow = seconds[int(len(seconds) * 0.99)]
    middle = statistics.median(seconds)
    return {"count": len(seconds), "median seconds": round(middle, 1), "99 % seconds": round(slow, 1)}


def _slowest(operations: list[dict[str, Any]]) -> list[str]:
    """The three that took longest to succeed, to look into."""
    seconds = {
        (row["settled_at"] - row["sent_at"]).total_seconds(): f"{row['kind']} step {row['step']} {row['id']}"
        for row in operations
        if row["state"] == "succeeded"
    }
    return [f"{seconds[taken]}: {taken:.0f} s" for taken in sorted(seconds)[-3:]]


def _recovered(operations: list[dict[str, Any]], tenant_id: Any) -> Decimal:
    """What late orders of a tenant cost: their holds had been released when others were made."""
    return sum(
        (row["price"] or Decimal(0) for row in operations if row["tenant_id"] == tenant_id and row["error"]),
        Decimal(0),
    )


def _count(report: Report, event: str) -> int:
    with psycopg.connect(report.superuser_url) as connection:
        row = connection.execute("select count(*) from events where type = %s", [event]).fetchone()
    return int(row[0]) if row else 0
