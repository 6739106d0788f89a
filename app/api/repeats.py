"""Requests that are answered from memory: the same GET, by the same holder of a token, as a moment ago.

Most requests for a rental or its SMS are polls, and most polls find what the one before found. Such a one
passes neither routing nor dependencies. It is answered only while all that the answer depends on stands:
who holds the token is remembered (recognition), the rendered answer is kept (rendered), and nothing has to be
counted or traced that this doesn't count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.types import Scope

from app.api.rendered import Rendered
from app.api.throttle import Throttle
from app.cache import BoundedCache
from app.telemetry import Metrics, traces
from app.tenants.recognition import Holder, Recognition

KEPT_REQUESTS = 10_000

Place = tuple[str, bytes, int]
"""The path, the query as it was written, and which holder asked."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """An answer from memory: 200 with the body, or 304 for who has it."""

    holder: Holder
    route: str
    rendered: Rendered
    count: Callable[[float], None]
    count_unchanged: Callable[[float], None]

    def headers(self, *, unchanged: bool) -> list[tuple[bytes, bytes]]:
        """The answer's own headers."""
        etag = (b"etag", self.rendered.etag.encode())
        if unchanged:
            return [etag]
        length = str(len(self.rendered.body)).encode()
        return [(b"content-length", length), (b"content-type", b"application/json"), etag]


class Repeats:
    """The answers from memory of one process."""

    def __init__(self, recognition: Recognition, throttle: Throttle, metrics: Metrics) -> None:
        """Answer for whom `recognition` remembers; where requests are limited, all have to be counted."""
        self._recognition = recognition
        self._throttle = throttle
        self._metrics = metrics
        self._kept: BoundedCache[Place, Repeat] = BoundedCache(KEPT_REQUESTS)

    def keep(self, scope: Scope, holder: Holder, rendered: Rendered, resource: str) -> None:
        """Keep the answer to a request for its like; `resource` is what is read, for the metrics."""
        place = _place(scope, holder)
        route = scope["route"].path_format
        count, unchanged = (self._metrics.repeated_read(route, status, resource) for status in (200, 304))
        self._kept[place] = Repeat(holder, route, rendered, count, unchanged)

    def find(self, scope: Scope) -> tuple[Repeat, bool] | None:
        """The answer to a request, and whether its caller has it already; None if it goes the long way."""
        if scope["method"] != "GET" or self._throttle.limits_requests or traces.is_on():
            return None
        authorization = condition = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                if authorization is not None:
                    return None
                authorization = value
            elif name == b"if-none-match":
                condition = value
            elif name == b"x-tenant-id":
                return None
        if authorization is None or not authorization.startswith(b"Bearer "):
            return None
        holder = self._recognition.remembered(authorization[7:].decode("latin-1").strip())
        if holder is None:
            return None
        place = _place(scope, holder)
        repeat = self._kept.get(place)
        if repeat is None:
            return None
        if repeat.holder is not holder or not repeat.rendered.is_fresh:
            del self._kept[place]
            return None
        if condition is not None and condition != repeat.rendered.etag.encode():
            return None
        return repeat, condition is not None


def _place(scope: Scope, holder: Holder) -> Place:
    # By identity: a holder that was recognised anew is another one, whose rights may be others.
    return scope["path"], scope["query_string"], id(holder)


def repeats_of(scope: Scope) -> Repeats | None:
    """The process's answers from memory; None before it has started."""
    state: Any = scope["app"].state if "app" in scope else None
    found: Repeats | None = getattr(state, "repeats", None)
    return found
