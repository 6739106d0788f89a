"""Which orders of an account can be what an operation made. Pure: facts in, groups of orders out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.kinds.kind import Evidence, Stranger
from app.kinds.registry import kind_of
from app.operations.operation import Operation
from app.upstream.wire import Order


def fitting(
    operation: Operation, listed: Mapping[str, Order], strangers: Sequence[Stranger]
) -> list[list[Order]]:
    """The orders that could be what the present step made, as its kind's `fitting` tells."""
    if operation.sent_at is None:
        return []
    return kind_of(operation).fitting(Evidence(operation, operation.sent_at, listed, strangers))


def shows_effect(operation: Operation, listed: Mapping[str, Order], strangers: Sequence[Stranger]) -> bool:
    """Whether a complete list would show what the present step made, as its kind's `would_show` tells."""
    if operation.sent_at is None:
        return True
    return kind_of(operation).would_show(Evidence(operation, operation.sent_at, listed, strangers))
