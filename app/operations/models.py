"""The ledger's tables: operations, and what they hold and spend of a tenant's month."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from app.database import Money, Timestamp, metadata

operations = sa.Table(
    "operations",
    metadata,
    sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("upstream_key_id", sa.Uuid, nullable=False),
    sa.Column("rental_id", sa.Uuid),
    sa.Column("request", JSONB, nullable=False),
    sa.Column("step", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("price", Money),
    sa.Column("error", JSONB(none_as_null=True)),
    sa.Column("unexplained", JSONB(none_as_null=True)),
    sa.Column("candidates", JSONB(none_as_null=True)),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text),
    sa.Column("attended_until", Timestamp, nullable=False),
    sa.Column("answered_at", Timestamp),
    sa.Column("created_at", Timestamp, nullable=False, server_default=sa.func.now()),
    sa.Column("sent_at", Timestamp),
    sa.Column("settled_at", Timestamp),
    sa.Column("absent_seconds", sa.Double, nullable=False, server_default="0"),
    sa.Column("absent_seen_at", Timestamp),
    sa.CheckConstraint(
        "state in ('queued', 'sent', 'unknown', 'review', 'succeeded', 'failed')", name="state"
    ),
    sa.ForeignKeyConstraint(
        ["tenant_id", "upstream_key_id"], ["upstream_keys.tenant_id", "upstream_keys.id"]
    ),
    sa.Index(None, "tenant_id", "rental_id", "id"),
)
sa.Index(
    "operations_open_idx",
    operations.c.attended_until,
    postgresql_where=operations.c.state.in_(["queued", "sent", "unknown"]),
)
sa.Index(
    "operations_account_open_idx",
    operations.c.tenant_id,
    operations.c.upstream_key_id,
    postgresql_where=operations.c.state.in_(["queued", "sent", "unknown", "review"]),
)
sa.Index(
    "operations_given_up_idx",
    operations.c.tenant_id,
    operations.c.upstream_key_id,
    operations.c.sent_at,
    postgresql_where=operations.c.state.in_(["failed", "review"]),
)

spending_months = sa.Table(
    "spending_months",
    metadata,
    sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
    sa.Column("month", sa.Date, primary_key=True),
    sa.Column("held", Money, nullable=False, server_default="0"),
    sa.Column("spent", Money, nullable=False, server_default="0"),
    sa.CheckConstraint("held >= 0 and spent >= 0", name="not_negative"),
)

spending_holds = sa.Table(
    "spending_holds",
    metadata,
    sa.Column("tenant_id", sa.Uuid, primary_key=True),
    sa.Column("operation_id", sa.Uuid, primary_key=True),
    sa.Column("month", sa.Date, nullable=False),
    sa.Column("amount", Money, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="held"),
    sa.CheckConstraint("state in ('held', 'spent', 'released')", name="state"),
    sa.ForeignKeyConstraint(["tenant_id", "operation_id"], ["operations.tenant_id", "operations.id"]),
)
