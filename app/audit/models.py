"""The audit trail's tables; by database rights they only grow."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from app.database import Timestamp, metadata

audit_logs = sa.Table(
    "audit_logs",
    metadata,
    sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("created_at", Timestamp, nullable=False, server_default=sa.func.now()),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("target", sa.Text),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("address", sa.Text),
    sa.Column("request_id", sa.Text),
    sa.Column("details", JSONB, nullable=False),
)

upstream_usage = sa.Table(
    "upstream_usage",
    metadata,
    sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
    sa.Column("upstream_key_id", sa.Uuid, primary_key=True),
    sa.Column("hour", Timestamp, primary_key=True),
    sa.Column("method", sa.Text, primary_key=True),
    sa.Column("outcome", sa.Text, primary_key=True),
    sa.Column("calls", sa.BigInteger, nullable=False),
    comment="The background's upstream calls of the running hour; sealed into audit_logs when it is over.",
)
