"""The envelope of every answer: `{"status": 1, "data": …}`, or `{"status": 0, "msg": "…"}`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from app.upstream.scalars import Unreadable


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether the upstream did as it was told, the data it gave, and the message of a refusal."""

    succeeded: bool
    data: Any
    message: str


def opened(body: bytes) -> Answer:
    """Read an answer's body; its content type is not asked, since JSON comes as text/html too.

    Raises:
        Unreadable: it is not the promised JSON.
    """
    try:
        answer = json.loads(body.decode("utf-8-sig"), parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Unreadable("the answer is not JSON") from None
    if not isinstance(answer, dict):
        raise Unreadable("the answer is no object")
    message = answer.get("msg")
    match answer.get("status"):
        case True | False:
            raise Unreadable("status is neither 1 nor 0")
        case 1 | "1":
            succeeded = True
        case 0 | "0":
            succeeded = False
        case _:
            raise Unreadable("status is neither 1 nor 0")
    return Answer(succeeded, answer.get("data"), message if isinstance(message, str) else "")


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)
