"""The tables of events, and of where each tenant's feed ends."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from app.database import Timestamp, metadata

events = sa.Table(
    "events",
    metadata,
    sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("timestamp", Timestamp, nullable=False, server_default=sa.func.now()),
    sa.Column("rental_id", sa.Uuid),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("data", JSONB, nullable=False),
    sa.Column("traceparent", sa.Text),
    sa.Index(None, "tenant_id", "rental_id", "id"),
    sa.Index(None, "tenant_id", "position", unique=True),
    sa.Index(None, "tenant_id", "timestamp"),
)

event_heads = sa.Table(
    "event_heads",
    metadata,
    sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
    comment="The newest event's position; its row is locked until the event is committed.",
)
