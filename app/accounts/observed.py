"""An upstream call as metrics and traces see it: by its method, how long it took, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from app.audit import repository as audit
from app.telemetry import Metrics, traces
from app.upstream.errors import CallFailed

T = TypeVar("T")


async def observed(
    metrics: Metrics, method: str, upstream_key_id: UUID | None, call: Callable[[], Awaitable[T]]
) -> T:
    """Make a call whose turn has come, counted, and within a span.

    Args:
        method: the upstream's name of it.
        upstream_key_id: the account that it is made for; None for a call without a key.

    Raises:
        CallFailed: as `call` does.
    """
    started = time.monotonic()
    outcome = audit.SUCCEEDED
    account = None if upstream_key_id is None else str(upstream_key_id)
    told = {"rentgate.upstream.method": method, "rentgate.upstream_key_id": account}
    with traces.span(f"upstream {method}", told, kind=traces.CLIENT) as span:
        try:
            return await call()
        except CallFailed as failure:
            outcome = failure.error.code
            span.fail(outcome)
            raise
        finally:
            span.note({"rentgate.outcome": outcome})
            metrics.upstream_call(method, outcome, time.monotonic() - started)
