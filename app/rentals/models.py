"""The tables of rentals and of the upstream's orders behind them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from app.database import Money, Timestamp, metadata

rentals = sa.Table(
    "rentals",
    metadata,
    sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("upstream_key_id", sa.Uuid, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("number_state", sa.Text, nullable=False, server_default="unknown"),
    sa.Column("phone_number", sa.Text),
    sa.Column("country", sa.Text),
    sa.Column("services", JSONB, nullable=False),
    sa.Column("period_unit", sa.Text),
    sa.Column("period_count", sa.Integer),
    sa.Column("expires_at", Timestamp),
    sa.Column("can_prolong", sa.Boolean),
    sa.Column("prolong_max", sa.Integer),
    sa.Column("prolong_until", Timestamp),
    sa.Column("last_online_at", Timestamp),
    sa.Column("has_new_sms", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("restorable", sa.Boolean),
    sa.Column("price", Money),
    sa.Column("source", sa.Text, nullable=False, server_default="gateway"),
    sa.Column("pending_operation_id", sa.Uuid),
    sa.Column("metadata", JSONB, nullable=False),
    sa.Column("activate_after", Timestamp),
    sa.Column("expiring_told_at", Timestamp),
    sa.Column("auto_prolong", JSONB(none_as_null=True)),
    sa.Column("auto_prolong_tried_end", Timestamp),
    sa.Column("auto_prolong_retry_at", Timestamp),
    sa.Column("changed_at", Timestamp, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("message_count", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("created_at", Timestamp, nullable=False, server_default=sa.func.now()),
    sa.Column("synced_at", Timestamp),
    sa.CheckConstraint(
        "status in ('pending', 'active', 'expired', 'deleted', 'failed', 'review')", name="status"
    ),
    sa.CheckConstraint(
        "number_state in ('inactive', 'activating', 'active', 'offline', 'unknown')", name="number_state"
    ),
    sa.ForeignKeyConstraint(
        ["tenant_id", "upstream_key_id"], ["upstream_keys.tenant_id", "upstream_keys.id"]
    ),
    sa.Index(None, "tenant_id", "status", "id"),
    sa.Index(None, "tenant_id", "phone_number", "id"),
)
sa.Index(
    "rentals_living_idx",
    rentals.c.tenant_id,
    rentals.c.upstream_key_id,
    postgresql_where=rentals.c.status.in_(["pending", "active", "review"]),
)
sa.Index(
    "rentals_activate_after_idx",
    rentals.c.activate_after,
    postgresql_where=rentals.c.activate_after.is_not(None),
)

sa.Index("rentals_expiring_idx", rentals.c.expires_at, postgresql_where=rentals.c.status == "active")

upstream_orders = sa.Table(
    "upstream_orders",
    metadata,
    sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
    sa.Column("upstream_key_id", sa.Uuid, primary_key=True),
    sa.Column("upstream_order_id", sa.Text, primary_key=True),
    sa.Column("rental_id", sa.Uuid),
    sa.Column("service", sa.Text),
    sa.Column("service_name", sa.Text),
    sa.Column("further_services", JSONB, nullable=False, server_default="[]"),
    sa.Column("phone_number", sa.Text),
    sa.Column("country", sa.Text),
    sa.Column("number_state", sa.Text, nullable=False, server_default="unknown"),
    sa.Column("expires_at", Timestamp),
    sa.Column("has_new_sms", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("missed_looks", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("status", sa.Text, nullable=False, server_default="listed"),
    sa.Column("messages_read_at", Timestamp),
    sa.Column("messages_failed_at", Timestamp),
    sa.Column("messages_error", sa.Text),
    sa.Column("wanted_until", Timestamp),
    sa.Column("began_at", Timestamp),
    sa.Column("end_outdated", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("first_seen_at", Timestamp, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.CheckConstraint("status in ('listed', 'expired', 'deleted', 'replaced')", name="status"),
    sa.ForeignKeyConstraint(
        ["tenant_id", "upstream_key_id"], ["upstream_keys.tenant_id", "upstream_keys.id"]
    ),
    sa.ForeignKeyConstraint(["tenant_id", "rental_id"], ["rentals.tenant_id", "rentals.id"]),
    sa.Index(None, "tenant_id", "rental_id"),
    sa.Index(None, "tenant_id", "upstream_order_id"),
    sa.Index("upstream_orders_phone_number_idx", "tenant_id", "upstream_key_id", "phone_number"),
    comment="Every order that was ever seen in an account; without rental_id it is nobody's as yet.",
)
