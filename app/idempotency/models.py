"""The table of idempotency keys."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from app.database import Timestamp, metadata

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("tenant_id", sa.Uuid, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("request_hash", sa.LargeBinary, nullable=False),
    sa.Column("holder", sa.Uuid, nullable=False),
    sa.Column("held_until", Timestamp, nullable=False),
    sa.Column("operation_id", sa.Uuid),
    sa.Column("status", sa.SmallInteger),
    sa.Column("body", JSONB(none_as_null=True)),
    sa.Column("location", sa.Text),
    sa.Column("created_at", Timestamp, nullable=False, server_default=sa.func.now()),
    sa.Index(None, "created_at"),
    comment="No foreign key to tenants: the admin's own requests are kept under the nil tenant.",
)
