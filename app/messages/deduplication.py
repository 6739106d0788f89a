"""Which messages of a list are new. Pure.

The upstream gives no id to a message and shows the whole list each time. So a message is known by what it
says, and equal ones by how many of them one list shows: two equal messages in one list are two, and the
same list again adds none. What the upstream forgets later stays.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.upstream.wire import Sms, SmsLists

RENTED, OTHER = "rented", "other"


@dataclass(frozen=True, slots=True)
class Sighting:
    """A message as one list shows it: `occurrence` counts equal ones from 1."""

    digest: bytes
    occurrence: int
    scope: str
    sms: Sms


def digest(sms: Sms) -> bytes:
    """What a message is known by: sender, text and time, each told apart from its absence."""
    received = None if sms.received_at is None else sms.received_at.isoformat()
    parts = (sms.sender, received, sms.text)
    framed = b"".join(
        b"\0" if part is None else b"\1" + len(part.encode()).to_bytes(4, "big") + part.encode()
        for part in parts
    )
    return hashlib.sha256(framed).digest()


def sightings(lists: Iterable[SmsLists]) -> list[Sighting]:
    """All messages that the lists of a rental's orders show, each once, in the order of arrival.

    The same message seen through two orders, or in both scopes, is one; `rented` outweighs `other`.
    """
    found: dict[tuple[bytes, int], Sighting] = {}
    for shown in lists:
        for scope, items in ((RENTED, shown.rented), (OTHER, shown.other)):
            counts: Counter[bytes] = Counter()
            for sms in items:
                key = digest(sms)
                counts[key] += 1
                sighting = Sighting(key, counts[key], scope, sms)
                earlier = found.setdefault((key, counts[key]), sighting)
                if scope == RENTED and earlier.scope == OTHER:
                    found[key, counts[key]] = sighting
    return _by_arrival(list(found.values()))


def _by_arrival(found: Sequence[Sighting]) -> list[Sighting]:
    """Dated messages by their dates; undated ones keep their place after them, as the list has them."""

    def when(sighting: Sighting) -> tuple[bool, datetime | None]:
        return sighting.sms.received_at is None, sighting.sms.received_at

    dated = sorted((s for s in found if s.sms.received_at is not None), key=when)
    return dated + [s for s in found if s.sms.received_at is None]
