"""The tables that processes share to work an account: pace, money lane, looks, and what is left on it."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from app.database import Money, Timestamp, metadata

pace_buckets = sa.Table(
    "pace_buckets",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("tokens", sa.Double, nullable=False),
    sa.Column("credit", sa.Double, nullable=False),
    sa.Column("refilled_at", sa.Double, nullable=False),
    sa.Column("promised_until", sa.Double, nullable=False),
    sa.Column("contended_until", sa.Double, nullable=False),
    sa.Column("reserved", JSONB, nullable=False, server_default="[]"),
    comment="Token buckets of upstream calls; instants are seconds since the epoch by this server's clock.",
)

money_lanes = sa.Table(
    "money_lanes",
    metadata,
    sa.Column("tenant_id", sa.Uuid, primary_key=True),
    sa.Column("upstream_key_id", sa.Uuid, primary_key=True),
    sa.Column("holder", sa.Uuid),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("held_until", Timestamp, nullable=False),
    sa.ForeignKeyConstraint(
        ["tenant_id", "upstream_key_id"], ["upstream_keys.tenant_id", "upstream_keys.id"]
    ),
    comment="Who may make the account's one money call now.",
)

account_looks = sa.Table(
    "account_looks",
    metadata,
    sa.Column("tenant_id", sa.Uuid, primary_key=True),
    sa.Column("upstream_key_id", sa.Uuid, primary_key=True),
    sa.Column("due_at", Timestamp, server_default=sa.func.now()),
    sa.Column("at_once", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("holder", sa.Uuid),
    sa.Column("next_at", Timestamp, nullable=False, server_default=sa.func.now()),
    sa.Column("looked_at", Timestamp),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("error_code", sa.Text),
    sa.Column("wanted_until", Timestamp),
    sa.Column("archive_due_at", Timestamp, nullable=False, server_default=sa.func.now()),
    sa.Column("archive_skip", sa.Integer, nullable=False, server_default="0"),
    sa.Column("archive_incomplete", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("archive_read_at", Timestamp),
    sa.Column("archive_rows", sa.Integer, nullable=False, server_default="0"),
    sa.ForeignKeyConstraint(
        ["tenant_id", "upstream_key_id"], ["upstream_keys.tenant_id", "upstream_keys.id"]
    ),
    sa.Index(None, "due_at"),
    sa.Index(None, "holder"),
    sa.Index(None, "looked_at"),
    sa.Index(None, "next_at"),
    comment="When each account is looked at next, and who holds it to do so.",
)

refresh_requests = sa.Table(
    "refresh_requests",
    metadata,
    sa.Column("tenant_id", sa.Uuid, primary_key=True),
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("upstream_key_id", sa.Uuid, nullable=False),
    sa.Column("rental_id", sa.Uuid, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("address", sa.Text),
    sa.Column("request_id", sa.Text),
    sa.Column("traceparent", sa.Text),
    sa.Column("waits_until", Timestamp, nullable=False),
    sa.Column("answered_at", Timestamp),
    sa.Column("error", JSONB(none_as_null=True)),
    sa.ForeignKeyConstraint(
        ["tenant_id", "upstream_key_id"], ["upstream_keys.tenant_id", "upstream_keys.id"]
    ),
    sa.Index(None, "tenant_id", "upstream_key_id"),
    comment="Callers who wait for a poll of an account, and how it ended.",
)

account_health = sa.Table(
    "account_health",
    metadata,
    sa.Column("tenant_id", sa.Uuid, primary_key=True),
    sa.Column("upstream_key_id", sa.Uuid, primary_key=True),
    sa.Column("status", sa.Text, nullable=False, server_default="ok"),
    sa.Column("since", Timestamp),
    sa.Column("problems", JSONB, nullable=False, server_default="[]"),
    sa.CheckConstraint("status in ('ok', 'degraded', 'failing')", name="status"),
    sa.ForeignKeyConstraint(
        ["tenant_id", "upstream_key_id"], ["upstream_keys.tenant_id", "upstream_keys.id"]
    ),
    comment="What of an account's answers can't be read; a row is made with the first problem.",
)

account_balances = sa.Table(
    "account_balances",
    metadata,
    sa.Column("tenant_id", sa.Uuid, primary_key=True),
    sa.Column("upstream_key_id", sa.Uuid, primary_key=True),
    sa.Column("low_balance_below", Money),
    sa.Column("is_low", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("amount", Money),
    sa.Column("read_at", Timestamp),
    sa.Column("due_at", Timestamp, nullable=False, server_default=sa.func.now()),
    sa.Column("moved_at", Timestamp),
    sa.Column("claimed_until", Timestamp),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("error_code", sa.Text),
    sa.ForeignKeyConstraint(
        ["tenant_id", "upstream_key_id"], ["upstream_keys.tenant_id", "upstream_keys.id"]
    ),
    sa.Index(None, "due_at"),
    sa.Index(None, "read_at"),
    comment="What was left on each account when it was last read, its mark, and when it is read next.",
)
sa.Index(
    "account_balances_low_idx",
    account_balances.c.upstream_key_id,
    postgresql_where=account_balances.c.is_low,
)

balance_readings = sa.Table(
    "balance_readings",
    metadata,
    sa.Column("tenant_id", sa.Uuid, primary_key=True),
    sa.Column("upstream_key_id", sa.Uuid, primary_key=True),
    sa.Column("asked_at", Timestamp, primary_key=True),
    sa.Column("read_at", Timestamp, nullable=False),
    sa.Column("amount", Money, nullable=False),
    sa.ForeignKeyConstraint(
        ["tenant_id", "upstream_key_id"], ["upstream_keys.tenant_id", "upstream_keys.id"]
    ),
    sa.Index(None, "read_at"),
    comment="Every balance that was read: what the upstream charged before asked_at is in it.",
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("alive_until", Timestamp, nullable=False),
    sa.Column("started_at", Timestamp, nullable=False, server_default=sa.func.now()),
    comment="The background processes; past its time one is dead, and its accounts are anybody's.",
)
