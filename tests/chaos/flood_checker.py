"""What a flood has left, compared with what the sandbox knows that came."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.chaos.flood import Followed, Report, Watched, firsts

ONCE = ("rental.created", "rental.activated")


def check(report: Report) -> tuple[dict[str, int], list[str]]:
    """The figures of a run, and everything that is wrong with it."""
    wrong: list[str] = []
    figures = dict(sorted(report.done.items()))
    figures["events"] = sum(len(watched.by_cursor) for watched in report.watched)
    for watched in report.watched:
        events = watched.by_cursor
        ids = [event["id"] for event in events]
        if len(set(ids)) != len(ids):
            wrong.append("the feed gave an event twice")
        if watched.by_stream != ids[: len(watched.by_stream)] or len(ids) - len(watched.by_stream) > 0:
            wrong.append(f"the stream gave {len(watched.by_stream)} events, the feed {len(ids)}, or others")
        for rental in watched.rentals:
            wrong += _of_rental(watched, rental)
        for n, receiver in enumerate(watched.endpoints):
            came = firsts(receiver.received)
            figures["deliveries"] = figures.get("deliveries", 0) + len(receiver.received)
            if lost := set(ids) - set(came):
                wrong.append(f"endpoint {n} did not get {len(lost)} events")
            if invented := set(came) - set(ids):
                wrong.append(f"endpoint {n} got {len(invented)} events that there are none of")
            for rental in watched.rentals:
                its = {event["id"] for event in events if event["rental_id"] == rental.id}
                if [i for i in came if i in its] != [i for i in ids if i in its]:
                    wrong.append(f"endpoint {n} got events of a rental in another order")
    return figures, wrong


def _of_rental(watched: Watched, rental: Followed) -> list[str]:
    wrong: list[str] = []
    events = [event for event in watched.by_cursor if event["rental_id"] == rental.id]
    types = Counter(event["type"] for event in events)
    wrong += [f"{kind} came {types[kind]} times" for kind in ONCE if types[kind] != 1]
    messages = [event["data"] for event in events if event["type"] == "sms.received"]
    announced = Counter(_known(message) for message in messages)
    came = Counter(rental.arrived)
    if announced != came:
        wrong.append(
            f"lost {list((came - announced).items())[:3]}, invented {list((announced - came).items())[:3]}"
        )
    stored = _stored(watched, rental)
    if [message["id"] for message in stored] != [message["id"] for message in messages]:
        wrong.append("the rental's messages are others than those that were announced, or in another order")
    if rental is watched.rentals[0] and watched.by_waiting != [message["id"] for message in stored]:
        wrong.append(
            f"who waited got {len(watched.by_waiting)} messages of {len(stored)}, or in another order"
        )
    return wrong


def _known(message: dict[str, Any]) -> tuple[str | None, str, bool]:
    return message["sender"], message["text"], message["scope"] == "rented"


def _stored(watched: Watched, rental: Followed) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = watched.tenant.messages(rental.id, limit="200", **cursor)
        found += page["items"]
        if not page["has_more"]:
            return found
        cursor = {"cursor": page["next_cursor"]}
