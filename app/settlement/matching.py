"""Which orders of an account can be what an operation made. Pure: facts in, groups of orders out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.kinds.kind import Stranger
from app.kinds.registry import kind_of
from app.operations.operation import Operation
from app.upstream.wire import Order


def fitting(
    operation: Operation, listed: Mapping[str, Order], strangers: Sequence[Stranger]
) -> list[list[Order]]:
    """The orders that could be what the present step made, grouped by number: each group is a possibility.

    Args:
        listed: all orders of the account, by id.
        strangers: those of them that nobody has.
    """
    sent_at = operation.sent_at
    return (
        [] if sent_at is None else kind_of(operation).evidence.fitting(operation, sent_at, listed, strangers)
    )


def shows_effect(operation: Operation, listed: Mapping[str, Order], strangers: Sequence[Stranger]) -> bool:
    """Whether a complete list would show what the present step made: nothing in it that could be the effect
    has a field that can't be read and that would tell.

    Args:
        strangers: orders that nobody has.
    """
    sent_at = operation.sent_at
    return sent_at is None or kind_of(operation).evidence.would_show(operation, sent_at, listed, strangers)
