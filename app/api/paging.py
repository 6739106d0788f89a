"""Cursors and pages: opaque to callers, cheap at any depth."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, TypeVar
from uuid import UUID

from fastapi import Depends, Query
from pydantic import BaseModel

from app.errors import FieldError, InvalidRequest

T = TypeVar("T")


class _HasId(Protocol):
    @property
    def id(self) -> UUID: ...


LONGEST_CURSOR = 200

Limit = Annotated[int, Query(ge=1, le=200, description="How many items at most.")]
Cursor = Annotated[
    str | None,
    Query(max_length=LONGEST_CURSOR, description="The `next_cursor` of the page before."),
]


class Page(BaseModel, Generic[T]):
    """A page of a list, newest first; `next_cursor` is null on the last one."""

    items: list[T]
    next_cursor: str | None


class Feed(BaseModel, Generic[T]):
    """A page of a feed, in the order of arrival; `next_cursor` means after the last item seen."""

    items: list[T]
    next_cursor: str
    has_more: bool


P = TypeVar("P", bound=Page[Any])


def encoded(kind: str, place: object) -> str:
    """A cursor of a kind of list."""
    return base64.urlsafe_b64encode(f"{kind}:{place}".encode()).decode().rstrip("=")


def decoded(kind: str, cursor: str | None, read: Callable[[str], T]) -> T | None:
    """The place that a cursor of this kind points to; None without a cursor.

    Raises:
        InvalidRequest: it is none of ours, or of another kind of list.
    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found, _, place = (
            base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii").partition(":")
        )
        if found == kind:
            return read(place)
    except (ValueError, binascii.Error):
        pass
    raise InvalidRequest(fields=(FieldError("query.cursor", "This cursor is not one of this list."),))


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page of a list is wanted, and how it is answered.

    Attributes:
        before: the id of the last item of the page before; None for the first page.
    """

    kind: str
    limit: int
    before: UUID | None

    @property
    def fetch(self) -> int:
        """How many rows to read: one more than is shown tells whether there are further ones."""
        return self.limit + 1

    def page(self, model: type[P], rows: Sequence[_HasId], items: Sequence[Any] | None = None) -> P:
        """The page that begins these rows, as callers read it.

        Args:
            items: what the page shows; made from the rows if left out.
        """
        shown = rows[: self.limit] if items is None else items
        following = next_cursor(self.kind, rows, self.limit, lambda row: row.id)
        return model.model_validate({"items": shown, "next_cursor": following})


def paged(kind: str) -> Any:
    """A dependency: the page of this kind of list that a request asks for."""

    async def paging(limit: Limit = 50, cursor: Cursor = None) -> Paging:
        return Paging(kind, limit, decoded(kind, cursor, UUID))

    return Depends(paging)


def next_cursor(kind: str, rows: Sequence[T], limit: int, place: Callable[[T], object]) -> str | None:
    """The cursor after the first `limit` of `rows`; None when there are no more than these."""
    return encoded(kind, place(rows[limit - 1])) if len(rows) > limit else None


def position(text: str) -> int:
    """A feed's place.

    Raises:
        ValueError: it is none.
    """
    found = int(text)
    if not 0 <= found < 2**62 or str(found) != text:
        raise ValueError(text)
    return found
