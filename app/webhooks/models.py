"""The tables of webhooks and of what is delivered to them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.database import Timestamp, metadata

webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("events", ARRAY(sa.Text), nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("status", sa.Text, nullable=False, server_default="enabled"),
    sa.Column("secret", sa.LargeBinary, nullable=False),
    sa.Column("secret_version", sa.Integer, nullable=False, server_default="1"),
    sa.Column("old_secret", sa.LargeBinary),
    sa.Column("old_secret_until", Timestamp),
    sa.Column("created_at", Timestamp, nullable=False, server_default=sa.func.now()),
    sa.CheckConstraint("status in ('enabled', 'disabled')", name="status"),
)
sa.Index(
    "webhooks_disabled_idx",
    webhooks.c.tenant_id,
    webhooks.c.id,
    postgresql_where=webhooks.c.status == "disabled",
)

webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    sa.Column("tenant_id", sa.Uuid, primary_key=True),
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("webhook_id", sa.Uuid, nullable=False),
    sa.Column("event_id", sa.Uuid, nullable=False),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("rental_id", sa.Uuid),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("test_body", JSONB(none_as_null=True)),
    sa.Column("status", sa.Text, nullable=False, server_default="pending"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_at", Timestamp, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("behind", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("holder", sa.Uuid),
    sa.Column("attempted_at", Timestamp),
    sa.Column("seconds", sa.Double),
    sa.Column("response_status", sa.SmallInteger),
    sa.Column("response_start", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("created_at", Timestamp, nullable=False, server_default=sa.func.now()),
    sa.CheckConstraint("status in ('pending', 'delivered', 'failed')", name="status"),
    sa.ForeignKeyConstraint(
        ["tenant_id", "webhook_id"], ["webhooks.tenant_id", "webhooks.id"], ondelete="CASCADE"
    ),
    comment="An event on its way to an endpoint, or one that got there or was given up. next_at is when it is"
    " due: at the end of the lease while it has a holder, and while it is behind an earlier one of its rental"
    " at the time to see whether it still is.",
)
_PENDING = sa.text("status = 'pending'")
sa.Index(
    "webhook_deliveries_event_key",
    webhook_deliveries.c.tenant_id,
    webhook_deliveries.c.webhook_id,
    webhook_deliveries.c.event_id,
    unique=True,
)
sa.Index(
    "webhook_deliveries_due_idx",
    webhook_deliveries.c.tenant_id,
    webhook_deliveries.c.webhook_id,
    webhook_deliveries.c.next_at,
    postgresql_where=_PENDING,
)
sa.Index(
    "webhook_deliveries_held_idx",
    webhook_deliveries.c.tenant_id,
    webhook_deliveries.c.webhook_id,
    webhook_deliveries.c.next_at,
    postgresql_where=webhook_deliveries.c.holder.is_not(None),
)
sa.Index(
    "webhook_deliveries_order_idx",
    webhook_deliveries.c.tenant_id,
    webhook_deliveries.c.webhook_id,
    webhook_deliveries.c.rental_id,
    webhook_deliveries.c.position,
    postgresql_where=_PENDING,
)
sa.Index("webhook_deliveries_created_at_idx", webhook_deliveries.c.created_at)

webhook_schedules = sa.Table(
    "webhook_schedules",
    metadata,
    sa.Column("tenant_id", sa.Uuid, primary_key=True),
    sa.Column("webhook_id", sa.Uuid, primary_key=True),
    sa.Column("due_at", Timestamp),
    sa.Index(None, "due_at"),
    comment="When each endpoint next has something to be delivered; null for nothing. What workers claim by."
    " No foreign key: a webhook's deliveries are deleted before this row, which is locked last by all.",
)
