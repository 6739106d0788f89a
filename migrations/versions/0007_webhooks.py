"""Webhooks, and a delivery for each event that an endpoint wants, queued by the event's own transaction."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.row_level_security import WORKER, allow, fence

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UUID7 = (
    "create function new_uuid7() returns uuid language sql volatile as $$ select encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing"
    " substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),"
    " 52, 1), 53, 1), 'hex')::uuid $$"
)
"""Postgres has its own from version 18 on; these are to run on 16 as well."""


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default="enabled", nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("secret_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("old_secret", sa.LargeBinary(), nullable=True),
        sa.Column("old_secret_until", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status in ('enabled', 'disabled')", name=op.f("webhooks_status_check")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("webhooks_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("webhooks_pkey")),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("rental_id", sa.Uuid(), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("test_body", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "next_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("holder", sa.Uuid(), nullable=True),
        sa.Column("held_until", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("response_status", sa.SmallInteger(), nullable=True),
        sa.Column("response_start", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status in ('pending', 'delivered', 'failed')", name=op.f("webhook_deliveries_status_check")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "webhook_id"],
            ["webhooks.tenant_id", "webhooks.id"],
            name=op.f("webhook_deliveries_tenant_id_webhook_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("webhook_deliveries_pkey")),
        comment="An event on its way to an endpoint, or one that got there or was given up.",
    )
    op.create_index(
        "webhook_deliveries_event_key",
        "webhook_deliveries",
        ["tenant_id", "webhook_id", "event_id"],
        unique=True,
    )
    op.create_index(
        "webhook_deliveries_due_idx",
        "webhook_deliveries",
        ["next_at"],
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "webhook_deliveries_order_idx",
        "webhook_deliveries",
        ["tenant_id", "webhook_id", "rental_id", "position"],
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index("webhook_deliveries_created_at_idx", "webhook_deliveries", ["created_at"])
    fence("webhooks", "select; insert; update; delete")
    fence("webhook_deliveries", "select; insert; update; delete")
    allow("webhooks", WORKER, "select (tenant_id, id, status)")
    allow("webhook_deliveries", WORKER, "select; update; delete")
    op.execute(UUID7)
    # A trigger, so that no event can be written without its deliveries, whoever writes it.
    op.execute(
        "create function queue_webhooks() returns trigger language plpgsql as $$ begin"
        " insert into webhook_deliveries"
        " (tenant_id, id, webhook_id, event_id, event_type, rental_id, position)"
        " select new.tenant_id, new_uuid7(), w.id, new.id, new.type, new.rental_id, new.position"
        " from webhooks w where w.tenant_id = new.tenant_id and w.status = 'enabled'"
        " and (new.type = any(w.events) or '*' = any(w.events));"
        " return null; end $$"
    )
    op.execute(
        "create trigger queue_webhooks after insert on events for each row execute function queue_webhooks()"
    )


def downgrade() -> None:
    op.execute("drop trigger queue_webhooks on events")
    op.execute("drop function queue_webhooks()")
    op.execute("drop function new_uuid7()")
    op.drop_table("webhook_deliveries")
    op.drop_table("webhooks")
