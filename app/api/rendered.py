"""Answers kept rendered, dropped when what they tell of changes; and the ETags by which callers keep theirs.

The database announces every change of a rental, its orders and its messages. While the process can't listen,
nothing is kept; and nothing is kept for more than a second, since a look that finds nothing new changes no
rental, but says when it was last seen.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel

from app.cache import BoundedCache
from app.errors import FieldError, InvalidRequest
from app.events.notifications import Notifications

UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "What the caller has, by `If-None-Match`, is what there is."}
}

CONDITION, LONGEST_CONDITION = "If-None-Match", 1000

KEPT_SECONDS = 1.0
KEPT_RENTALS, KEPT_OF_A_RENTAL = 5_000, 16


@dataclass(slots=True)
class Rendered:
    """An answer's body, its ETag, and until when (by `time.monotonic()`) it may be given."""

    body: bytes
    etag: str
    until: float

    @property
    def is_fresh(self) -> bool:
        """Whether it may be given now."""
        return time.monotonic() < self.until

    def expire(self) -> None:
        """Have it given no more, by whoever has it."""
        self.until = 0.0

    def to(self, request: Request) -> Response:
        """The answer to a request: the body, or 304 if its caller has it already."""
        headers = {"ETag": self.etag}
        asked = request.headers.get(CONDITION, "")
        if asked == "*" or self.etag in (tag.strip().removeprefix("W/") for tag in asked.split(",")):
            return Response(status_code=304, headers=headers)
        return Response(self.body, media_type="application/json", headers=headers)


Kept = BoundedCache[tuple[UUID, str], Rendered]
"""A rental's answers, by tenant and what was asked for."""


class RenderedAnswers:
    """The process's rendered answers, by rental, tenant and what was asked for."""

    def __init__(self, notifications: Notifications) -> None:
        """Drop answers by what these notifications tell."""
        self._notifications = notifications
        self._kept: BoundedCache[UUID, Kept] = BoundedCache(KEPT_RENTALS, evicted=_expire)
        notifications.tell(self._drop)

    async def answer(
        self,
        request: Request,
        tenant_id: UUID,
        rental_id: UUID,
        asked: str,
        render: Callable[[], Awaitable[BaseModel]],
        *,
        resource: str | None,
    ) -> Response:
        """The answer to what was asked of a tenant's rental, rendered now or not long ago.

        Args:
            asked: what the answer depends on besides, in words of the caller of this method.
            resource: what is read, for the metrics, if the same request may be answered from memory next
                time; None if there is more to do for it.

        Raises:
            InvalidRequest: the caller's condition is too long.
            whatever else `render` raises.
        """
        if len(request.headers.get(CONDITION, "")) > LONGEST_CONDITION:
            message = f"This has to be at most {LONGEST_CONDITION} characters."
            raise InvalidRequest(fields=(FieldError(f"header.{CONDITION}", message),))
        place = (tenant_id, asked)
        known = self._kept[rental_id].get(place) if rental_id in self._kept else None
        if known is not None and known.is_fresh:
            principal = getattr(request.state, "principal", None)
            if resource is not None and principal is not None and principal.holder is not None:
                request.app.state.repeats.keep(request.scope, principal.holder, known, resource)
            return known.to(request)
        changes, asked_at = self._notifications.changes, time.monotonic()
        body = (await render()).model_dump_json().encode()
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        fresh = Rendered(body, etag, asked_at + KEPT_SECONDS)
        if self._notifications.listening and not self._notifications.changed_since(changes, rental_id):
            self._keep(rental_id, place, fresh)
        else:
            self._drop(rental_id)
        return fresh.to(request)

    def _keep(self, rental_id: UUID, place: tuple[UUID, str], fresh: Rendered) -> None:
        """Keep an answer. If it isn't the very one that was given last, the rental's others may tell less
        than it does, though nothing was announced yet: who has seen it is given none of them.
        """
        kept = self._kept.pop(rental_id, None)
        if kept is None:
            kept = BoundedCache(KEPT_OF_A_RENTAL, evicted=Rendered.expire)
        before = kept.get(place)
        if before is None or before.etag != fresh.etag:
            _expire(kept)
        if before is not None:
            before.expire()
        kept[place] = fresh
        self._kept[rental_id] = kept

    def _drop(self, rental_id: UUID | None) -> None:
        """Forget what is kept of a rental, or with None all."""
        for one in list(self._kept) if rental_id is None else [rental_id]:
            if one in self._kept:
                _expire(self._kept.pop(one))


def _expire(kept: Kept) -> None:
    for answer in kept.values():
        answer.expire()


def rendered_of(request: Request) -> RenderedAnswers:
    """The process's rendered answers."""
    kept: RenderedAnswers = request.app.state.rendered
    return kept
