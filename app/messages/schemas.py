"""A message as callers read it, in answers and in events."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

Scope = Literal["rented", "other"]


class Message(BaseModel):
    """One SMS; `scope` tells whether it came for a rented service or for another one."""

    id: UUID
    rental_id: UUID
    scope: Scope
    sender: str | None
    text: str
    received_at: datetime | None
    first_seen_at: datetime
