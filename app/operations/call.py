"""The upstream call of an operation's present step, as its kind makes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.database.pipeline import Query
from app.upstream.client import UpstreamClient
from app.upstream.wire import PurchasedOrder


@dataclass(frozen=True, slots=True)
class Call:
    """A call that carries out a step.

    Attributes:
        method: the upstream's name of it.
        make: makes it, given client, plain key, and the moment past which nothing may be written; gives
            the orders that it told of, if any.
        rival: whether the step's effect could be taken for that of an operation whose outcome is open, for
            which it has to wait then; None if it never could.
        orders: how many orders an answer tells of that tells all that was done; None if none does.
    """

    method: str
    make: Callable[[UpstreamClient, str, float], Awaitable[tuple[PurchasedOrder, ...] | None]]
    rival: Query[bool] | None = None
    orders: int | None = None
