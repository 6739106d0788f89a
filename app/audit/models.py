"""The audit trail's tables; by database rights the trail and its seals only grow."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from app.database import Timestamp, metadata

audit_logs = sa.Table(
    "audit_logs",
    metadata,
    sa.Column("tenant_id", sa.Uuid, primary_key=True),
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("created_at", Timestamp, nullable=False, server_default=sa.func.now()),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("target", sa.Text),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("address", sa.Text),
    sa.Column("request_id", sa.Text),
    sa.Column("details", JSONB, nullable=False),
    comment="No foreign key to tenants: what belongs to none stands under the nil tenant.",
)
sa.Index("audit_logs_tenant_id_created_at_idx", audit_logs.c.tenant_id, audit_logs.c.created_at)

audit_unsealed = sa.Table(
    "audit_unsealed",
    metadata,
    sa.Column("tenant_id", sa.Uuid, primary_key=True),
    sa.Column("audit_id", sa.Uuid, primary_key=True),
    comment="Rows of audit_logs that wait to be sealed; written with them, in one statement.",
)

audit_heads = sa.Table(
    "audit_heads",
    metadata,
    sa.Column("tenant_id", sa.Uuid, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("pruned_position", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("pruned_hash", sa.LargeBinary, nullable=False),
    comment="The newest seal of each trail, and the last one of those that were pruned.",
)

audit_seals = sa.Table(
    "audit_seals",
    metadata,
    sa.Column("tenant_id", sa.Uuid, primary_key=True),
    sa.Column("position", sa.BigInteger, primary_key=True),
    sa.Column("audit_id", sa.Uuid, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("sealed_at", Timestamp, nullable=False),
    sa.UniqueConstraint("tenant_id", "audit_id"),
    comment="One row for each of audit_logs: a keyed hash of it and of the seal before.",
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
