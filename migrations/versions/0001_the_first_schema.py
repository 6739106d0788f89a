"""The first schema: each table with its indexes and its rights, in the order of the domain."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from migrations.row_level_security import (
    APP,
    NO_TENANT,
    PLATFORM,
    THIS_TENANT,
    THIS_TOKEN,
    WORKER,
    allow,
    fence,
    protect,
)

revision = "schema_0001"
down_revision = None
branch_labels = None
depends_on = None

OWNER = "current_user"
OF_THIS_TENANT = f"tenant_id = {THIS_TENANT}"
TIMESTAMP = sa.TIMESTAMP(timezone=True)
MONEY = sa.Numeric(14, 4)


def upgrade() -> None:
    _tenants()
    _vault()
    _accounts()
    _balances()
    _operations()
    _rentals()
    _messages()
    _events()
    _webhooks()
    _audit()
    _idempotency()
    op.execute(f"grant select on alembic_version to {APP}, {WORKER}, {PLATFORM}")


def _account() -> sa.ForeignKeyConstraint:
    """That the row's upstream key is one of the row's tenant."""
    return sa.ForeignKeyConstraint(
        ["tenant_id", "upstream_key_id"], ["upstream_keys.tenant_id", "upstream_keys.id"]
    )


def _tenants() -> None:
    """Tenants, the keys of their callers, and the platform's own keys."""
    op.create_table(
        "tenants",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="active"),
        sa.Column("spend_limit", MONEY),
        sa.Column("created_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
        sa.Column("reference_prefixes", ARRAY(sa.Text), nullable=False, server_default="{}"),
        sa.CheckConstraint("status in ('active', 'suspended')", name="status"),
    )
    fence("tenants", "select", column="id")
    allow("tenants", WORKER, "select")
    allow("tenants", PLATFORM, "select; insert; update")

    op.create_table(
        "api_keys",
        sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("token_hash", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("scopes", ARRAY(sa.Text), nullable=False),
        sa.Column("expires_at", TIMESTAMP),
        sa.Column("revoked_at", TIMESTAMP),
        sa.Column("last_used_at", TIMESTAMP),
        sa.Column("created_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
    )
    fence("api_keys", "select; insert; update")
    allow("api_keys", APP, "select", where=f"token_hash = {THIS_TOKEN}", name="bearer")

    op.create_table(
        "platform_keys",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("token_hash", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("scopes", ARRAY(sa.Text), nullable=False),
        sa.Column("revoked_at", TIMESTAMP),
        sa.Column("last_used_at", TIMESTAMP),
        sa.Column("created_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
    )
    protect("platform_keys")
    allow("platform_keys", PLATFORM, "select; insert; update")


def _vault() -> None:
    """Keysets wrapped by the vault key, the upstream keys that they encrypt, and rotations of both."""
    op.create_table(
        "vault_keysets",
        sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.Column("wrapped_by", sa.Text),
        sa.Column("created_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
        comment="One data keyset a tenant, encrypted by the vault key.",
    )
    fence("vault_keysets", "select; insert; update")
    allow("vault_keysets", WORKER, "select; update (wrapped, wrapped_by)")
    allow("vault_keysets", PLATFORM, "select (tenant_id, wrapped_by)")

    op.create_table(
        "vault_fingerprint_keys",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("wrapped_by", sa.Text),
        sa.Column("created_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
        comment="Keyed hashing for all tenants, encrypted by the vault key; it outlives any rotation of that.",
    )
    protect("vault_fingerprint_keys")
    allow("vault_fingerprint_keys", APP, "select; insert")
    allow("vault_fingerprint_keys", WORKER, "select; update (wrapped, wrapped_by)")

    op.create_table(
        "upstream_keys",
        sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("ciphertext", sa.LargeBinary, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("last_four", sa.Text, nullable=False),
        sa.Column("is_default", sa.Boolean, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="active"),
        sa.Column("created_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
        sa.Column("last_used_at", TIMESTAMP),
        sa.Column("deleted_at", TIMESTAMP),
        sa.Column("external_id", sa.Text),
        sa.Column("reference", sa.Text),
        sa.CheckConstraint("status in ('active', 'rejected')", name="status"),
    )
    # One account serves one tenant, once: the only rule that looks over the tenants' fences, by a keyed hash.
    op.execute(
        "create unique index upstream_keys_fingerprint_key on upstream_keys (fingerprint)"
        " where deleted_at is null"
    )
    op.execute(
        "create unique index upstream_keys_external_key on upstream_keys (tenant_id, external_id)"
        " where deleted_at is null"
    )
    op.execute(
        "create unique index upstream_keys_default_key on upstream_keys (tenant_id)"
        " where is_default and deleted_at is null"
    )
    fence("upstream_keys", "select; insert; update")
    allow("upstream_keys", WORKER, "select (tenant_id, id, label, status, deleted_at, reference)")

    op.create_table(
        "vault_rotations",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("done", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failed", sa.Integer, nullable=False, server_default="0"),
        sa.Column("after", sa.Uuid),
        sa.Column("holder", sa.Uuid),
        sa.Column("held_until", TIMESTAMP),
        sa.Column("started_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
        sa.Column("finished_at", TIMESTAMP),
        sa.CheckConstraint("kind in ('key', 'tenants')", name="kind"),
        comment="Rotations of the vault and how far each has come: after is the last tenant that was done.",
    )
    op.execute(
        "create unique index vault_rotations_running_key on vault_rotations (kind) where finished_at is null"
    )
    protect("vault_rotations")
    allow("vault_rotations", WORKER, "select; update")
    allow("vault_rotations", PLATFORM, "select; insert; update (finished_at)")


def _accounts() -> None:
    """How processes share an upstream account: its pace, its money lane, its looks."""
    op.create_table(
        "workers",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("alive_until", TIMESTAMP, nullable=False),
        sa.Column("started_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
        comment="The background processes; past its time one is dead, and its accounts are anybody's.",
    )
    protect("workers")
    allow("workers", WORKER, "select; insert; update; delete")
    allow("workers", APP, "select")

    op.create_table(
        "pace_buckets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("tokens", sa.Double, nullable=False),
        sa.Column("credit", sa.Double, nullable=False),
        sa.Column("refilled_at", sa.Double, nullable=False),
        sa.Column("promised_until", sa.Double, nullable=False),
        sa.Column("contended_until", sa.Double, nullable=False),
        sa.Column("reserved", JSONB, nullable=False, server_default="[]"),
        comment="Token buckets of upstream calls; instants are seconds since the epoch by this server's clock.",
    )
    protect("pace_buckets")
    allow("pace_buckets", APP, "select; insert; update")
    allow("pace_buckets", WORKER, "select")

    op.create_table(
        "money_lanes",
        sa.Column("tenant_id", sa.Uuid, primary_key=True),
        sa.Column("upstream_key_id", sa.Uuid, primary_key=True),
        sa.Column("holder", sa.Uuid),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("held_until", TIMESTAMP, nullable=False),
        _account(),
        comment="Who may make the account's one money call now.",
    )
    fence("money_lanes", "select; insert; update")

    op.create_table(
        "account_looks",
        sa.Column("tenant_id", sa.Uuid, primary_key=True),
        sa.Column("upstream_key_id", sa.Uuid, primary_key=True),
        sa.Column("due_at", TIMESTAMP, server_default=sa.func.now()),
        sa.Column("at_once", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("holder", sa.Uuid),
        sa.Column("next_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
        sa.Column("looked_at", TIMESTAMP),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("error_code", sa.Text),
        sa.Column("wanted_until", TIMESTAMP),
        sa.Column("archive_due_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
        sa.Column("archive_skip", sa.Integer, nullable=False, server_default="0"),
        sa.Column("archive_incomplete", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("archive_read_at", TIMESTAMP),
        sa.Column("archive_rows", sa.Integer, nullable=False, server_default="0"),
        _account(),
        sa.Index(None, "due_at"),
        sa.Index(None, "holder"),
        sa.Index(None, "looked_at"),
        sa.Index(None, "next_at"),
        comment="When each account is looked at next, and who holds it to do so.",
    )
    fence("account_looks", "select; insert; update")
    allow("account_looks", WORKER, "select; update")

    op.create_table(
        "refresh_requests",
        sa.Column("tenant_id", sa.Uuid, primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("upstream_key_id", sa.Uuid, nullable=False),
        sa.Column("rental_id", sa.Uuid, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("address", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.Column("traceparent", sa.Text),
        sa.Column("waits_until", TIMESTAMP, nullable=False),
        sa.Column("answered_at", TIMESTAMP),
        sa.Column("error", JSONB),
        _account(),
        sa.Index(None, "tenant_id", "upstream_key_id"),
        comment="Callers who wait for a poll of an account, and how it ended.",
    )
    fence("refresh_requests", "select; insert; update; delete")
    allow(
        "refresh_requests",
        WORKER,
        "select (answered_at, id, tenant_id, upstream_key_id, waits_until); delete",
    )

    op.create_table(
        "account_health",
        sa.Column("tenant_id", sa.Uuid, primary_key=True),
        sa.Column("upstream_key_id", sa.Uuid, primary_key=True),
        sa.Column("status", sa.Text, nullable=False, server_default="ok"),
        sa.Column("since", TIMESTAMP),
        sa.Column("problems", JSONB, nullable=False, server_default="[]"),
        sa.CheckConstraint("status in ('ok', 'degraded', 'failing')", name="status"),
        _account(),
        comment="What of an account's answers can't be read; a row is made with the first problem.",
    )
    fence("account_health", "select; insert; update")
    allow("account_health", WORKER, "select")


def _balances() -> None:
    """What is left on each upstream account."""
    op.create_table(
        "account_balances",
        sa.Column("tenant_id", sa.Uuid, primary_key=True),
        sa.Column("upstream_key_id", sa.Uuid, primary_key=True),
        sa.Column("low_balance_below", MONEY),
        sa.Column("is_low", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("amount", MONEY),
        sa.Column("read_at", TIMESTAMP),
        sa.Column("due_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
        sa.Column("moved_at", TIMESTAMP),
        sa.Column("claimed_until", TIMESTAMP),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("error_code", sa.Text),
        _account(),
        sa.Index(None, "due_at"),
        sa.Index(None, "read_at"),
        comment="What was left on each account when it was last read, its mark, and when it is read next.",
    )
    op.execute("create index account_balances_low_idx on account_balances (upstream_key_id) where is_low")
    fence("account_balances", "select; insert; update; delete")
    allow("account_balances", WORKER, "select; update")

    op.create_table(
        "balance_readings",
        sa.Column("tenant_id", sa.Uuid, primary_key=True),
        sa.Column("upstream_key_id", sa.Uuid, primary_key=True),
        sa.Column("asked_at", TIMESTAMP, primary_key=True),
        sa.Column("read_at", TIMESTAMP, nullable=False),
        sa.Column("amount", MONEY, nullable=False),
        _account(),
        sa.Index(None, "read_at"),
        comment="Every balance that was read: what the upstream charged before asked_at is in it.",
    )
    fence("balance_readings", "select; insert")
    allow("balance_readings", WORKER, "select (read_at); delete")


def _operations() -> None:
    """The ledger: operations, and what they hold and spend of a tenant's month."""
    op.create_table(
        "operations",
        sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("upstream_key_id", sa.Uuid, nullable=False),
        sa.Column("rental_id", sa.Uuid),
        sa.Column("request", JSONB, nullable=False),
        sa.Column("step", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("price", MONEY),
        sa.Column("error", JSONB),
        sa.Column("unexplained", JSONB),
        sa.Column("candidates", JSONB),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("attended_until", TIMESTAMP, nullable=False),
        sa.Column("answered_at", TIMESTAMP),
        sa.Column("created_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
        sa.Column("sent_at", TIMESTAMP),
        sa.Column("settled_at", TIMESTAMP),
        sa.Column("absent_seconds", sa.Double, nullable=False, server_default="0"),
        sa.Column("absent_seen_at", TIMESTAMP),
        sa.CheckConstraint(
            "state in ('queued', 'sent', 'unknown', 'review', 'succeeded', 'failed')", name="state"
        ),
        _account(),
        sa.Index(None, "tenant_id", "rental_id", "id"),
    )
    op.execute(
        "create index operations_open_idx on operations (attended_until)"
        " where state in ('queued', 'sent', 'unknown')"
    )
    op.execute(
        "create index operations_account_open_idx on operations (tenant_id, upstream_key_id)"
        " where state in ('queued', 'sent', 'unknown', 'review')"
    )
    op.execute(
        "create index operations_given_up_idx on operations (tenant_id, upstream_key_id, sent_at)"
        " where state in ('failed', 'review')"
    )
    fence("operations", "select; insert; update")
    allow("operations", WORKER, "select")

    op.create_table(
        "spending_months",
        sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
        sa.Column("month", sa.Date, primary_key=True),
        sa.Column("held", MONEY, nullable=False, server_default="0"),
        sa.Column("spent", MONEY, nullable=False, server_default="0"),
        sa.CheckConstraint("held >= 0 and spent >= 0", name="not_negative"),
    )
    fence("spending_months", "select; insert; update")

    op.create_table(
        "spending_holds",
        sa.Column("tenant_id", sa.Uuid, primary_key=True),
        sa.Column("operation_id", sa.Uuid, primary_key=True),
        sa.Column("month", sa.Date, nullable=False),
        sa.Column("amount", MONEY, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="held"),
        sa.CheckConstraint("state in ('held', 'spent', 'released')", name="state"),
        sa.ForeignKeyConstraint(["tenant_id", "operation_id"], ["operations.tenant_id", "operations.id"]),
    )
    fence("spending_holds", "select; insert; update")


def _rentals() -> None:
    """Rentals, and the upstream's orders behind them."""
    op.create_table(
        "rentals",
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
        sa.Column("expires_at", TIMESTAMP),
        sa.Column("can_prolong", sa.Boolean),
        sa.Column("prolong_max", sa.Integer),
        sa.Column("prolong_until", TIMESTAMP),
        sa.Column("last_online_at", TIMESTAMP),
        sa.Column("has_new_sms", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("restorable", sa.Boolean),
        sa.Column("price", MONEY),
        sa.Column("source", sa.Text, nullable=False, server_default="gateway"),
        sa.Column("pending_operation_id", sa.Uuid),
        sa.Column("metadata", JSONB, nullable=False),
        sa.Column("activate_after", TIMESTAMP),
        sa.Column("expiring_told_at", TIMESTAMP),
        sa.Column("auto_prolong", JSONB),
        sa.Column("auto_prolong_tried_end", TIMESTAMP),
        sa.Column("auto_prolong_retry_at", TIMESTAMP),
        sa.Column("changed_at", TIMESTAMP, nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("message_count", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("created_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
        sa.Column("synced_at", TIMESTAMP),
        sa.CheckConstraint(
            "status in ('pending', 'active', 'expired', 'deleted', 'failed', 'review')", name="status"
        ),
        sa.CheckConstraint(
            "number_state in ('inactive', 'activating', 'active', 'offline', 'unknown')", name="number_state"
        ),
        _account(),
        sa.Index(None, "tenant_id", "status", "id"),
        sa.Index(None, "tenant_id", "phone_number", "id"),
    )
    op.execute(
        "create index rentals_living_idx on rentals (tenant_id, upstream_key_id)"
        " where status in ('pending', 'active', 'review')"
    )
    op.execute(
        "create index rentals_activate_after_idx on rentals (activate_after) where activate_after is not null"
    )
    op.execute("create index rentals_expiring_idx on rentals (expires_at) where status = 'active'")
    fence("rentals", "select; insert; update")
    found_by = "tenant_id, id, upstream_key_id, status, period_unit, period_count, expires_at, created_at, activate_after"
    told_by = "expiring_told_at, auto_prolong, auto_prolong_tried_end, auto_prolong_retry_at"
    allow("rentals", WORKER, f"select ({found_by}, {told_by})")

    op.create_table(
        "upstream_orders",
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
        sa.Column("expires_at", TIMESTAMP),
        sa.Column("has_new_sms", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("missed_looks", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("status", sa.Text, nullable=False, server_default="listed"),
        sa.Column("messages_read_at", TIMESTAMP),
        sa.Column("messages_failed_at", TIMESTAMP),
        sa.Column("messages_error", sa.Text),
        sa.Column("wanted_until", TIMESTAMP),
        sa.Column("began_at", TIMESTAMP),
        sa.Column("end_outdated", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("first_seen_at", TIMESTAMP, nullable=False, server_default=sa.func.clock_timestamp()),
        sa.CheckConstraint("status in ('listed', 'expired', 'deleted', 'replaced')", name="status"),
        _account(),
        sa.ForeignKeyConstraint(["tenant_id", "rental_id"], ["rentals.tenant_id", "rentals.id"]),
        sa.Index(None, "tenant_id", "rental_id"),
        sa.Index(None, "tenant_id", "upstream_order_id"),
        sa.Index("upstream_orders_phone_number_idx", "tenant_id", "upstream_key_id", "phone_number"),
        comment="Every order that was ever seen in an account; without rental_id it is nobody's as yet.",
    )
    fence("upstream_orders", "select; insert; update")
    readings = "messages_read_at, messages_failed_at, messages_error"
    key = "tenant_id, upstream_key_id, upstream_order_id"
    allow("upstream_orders", WORKER, f"select ({key}, {readings}); update ({readings})")


def _messages() -> None:
    """The messages of rentals."""
    op.create_table(
        "messages",
        sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
        sa.Column("rental_id", sa.Uuid, primary_key=True),
        sa.Column("position", sa.BigInteger, primary_key=True),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("sender", sa.Text),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("received_at", TIMESTAMP),
        sa.Column("first_seen_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("occurrence", sa.Integer, nullable=False),
        sa.CheckConstraint("scope in ('rented', 'other')", name="scope"),
        sa.Column("rented_position", sa.BigInteger),
        sa.UniqueConstraint("tenant_id", "rental_id", "digest", "occurrence"),
        sa.UniqueConstraint("tenant_id", "rental_id", "rented_position"),
        sa.ForeignKeyConstraint(["tenant_id", "rental_id"], ["rentals.tenant_id", "rentals.id"]),
        comment="position counts in the order of arrival; rented_position in that of being known as the rental's"
        " own.",
    )
    fence("messages", "select; insert; update (scope, rented_position)")


def _events() -> None:
    """Events, each with a position in the order of commit."""
    op.create_table(
        "event_heads",
        sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        comment="The newest event's position; its row is locked until the event is committed.",
    )
    fence("event_heads", "select; insert; update")

    op.create_table(
        "events",
        sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("timestamp", TIMESTAMP, nullable=False, server_default=sa.func.now()),
        sa.Column("rental_id", sa.Uuid),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("data", JSONB, nullable=False),
        sa.Column("traceparent", sa.Text),
        sa.Index(None, "tenant_id", "rental_id", "id"),
        sa.Index(None, "tenant_id", "position", unique=True),
        sa.Index(None, "tenant_id", "timestamp"),
    )
    fence("events", "select; insert")


def _webhooks() -> None:
    """Webhooks, and a delivery for each event that an endpoint wants."""
    # Deliveries get their ids in the statement that queues them. Postgres has its own function from 18 on.
    op.execute(
        "create function new_uuid7() returns uuid language sql volatile as $$"
        " select encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing"
        " substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),"
        " 52, 1), 53, 1), 'hex')::uuid $$"
    )
    op.create_table(
        "webhooks",
        sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("events", ARRAY(sa.Text), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("status", sa.Text, nullable=False, server_default="enabled"),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("secret_version", sa.Integer, nullable=False, server_default="1"),
        sa.Column("old_secret", sa.LargeBinary),
        sa.Column("old_secret_until", TIMESTAMP),
        sa.Column("created_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("status in ('enabled', 'disabled')", name="status"),
    )
    op.execute("create index webhooks_disabled_idx on webhooks (tenant_id, id) where status = 'disabled'")
    fence("webhooks", "select; insert; update; delete")
    allow("webhooks", WORKER, "select (tenant_id, id, status)")

    op.create_table(
        "webhook_deliveries",
        sa.Column("tenant_id", sa.Uuid, primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("webhook_id", sa.Uuid, nullable=False),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("rental_id", sa.Uuid),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("test_body", JSONB),
        sa.Column("status", sa.Text, nullable=False, server_default="pending"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_at", TIMESTAMP, nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("behind", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("holder", sa.Uuid),
        sa.Column("attempted_at", TIMESTAMP),
        sa.Column("seconds", sa.Double),
        sa.Column("response_status", sa.SmallInteger),
        sa.Column("response_start", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("created_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("status in ('pending', 'delivered', 'failed')", name="status"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "webhook_id"], ["webhooks.tenant_id", "webhooks.id"], ondelete="CASCADE"
        ),
        comment="An event on its way to an endpoint, or one that got there or was given up. next_at is when it is"
        " due: at the end of the lease while it has a holder, and while it is behind an earlier one of its rental"
        " at the time to see whether it still is.",
    )
    op.execute(
        "create unique index webhook_deliveries_event_key on webhook_deliveries (tenant_id, webhook_id, event_id)"
    )
    op.execute(
        "create index webhook_deliveries_due_idx on webhook_deliveries (tenant_id, webhook_id, next_at)"
        " where status = 'pending'"
    )
    op.execute(
        "create index webhook_deliveries_held_idx on webhook_deliveries (tenant_id, webhook_id, next_at)"
        " where holder is not null"
    )
    op.execute(
        "create index webhook_deliveries_order_idx on webhook_deliveries (tenant_id, webhook_id, rental_id, position)"
        " where status = 'pending'"
    )
    op.execute("create index webhook_deliveries_created_at_idx on webhook_deliveries (created_at)")
    fence("webhook_deliveries", "select; insert; update; delete")
    allow("webhook_deliveries", WORKER, "select; update; delete")

    op.create_table(
        "webhook_schedules",
        sa.Column("tenant_id", sa.Uuid, primary_key=True),
        sa.Column("webhook_id", sa.Uuid, primary_key=True),
        sa.Column("due_at", TIMESTAMP),
        sa.Index(None, "due_at"),
        comment="When each endpoint next has something to be delivered; null for nothing. What workers claim by."
        " No foreign key: a webhook's deliveries are deleted before this row, which is locked last by all.",
    )
    fence("webhook_schedules", "select; insert; update; delete")
    allow("webhook_schedules", WORKER, "select; update")


def _audit() -> None:
    """The audit trail and its seals; pruning is for whoever may migrate, and for no process of the gateway."""
    op.create_table(
        "audit_logs",
        sa.Column("tenant_id", sa.Uuid, primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("created_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target", sa.Text),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("address", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.Column("details", JSONB, nullable=False),
        comment="No foreign key to tenants: what belongs to none stands under the nil tenant.",
    )
    op.execute("create index audit_logs_tenant_id_created_at_idx on audit_logs (tenant_id, created_at)")
    fence("audit_logs", "select; insert")
    allow("audit_logs", PLATFORM, "insert")
    allow("audit_logs", WORKER, "select", where=OF_THIS_TENANT)
    allow("audit_logs", OWNER, "select; delete", where=OF_THIS_TENANT, name="owner")

    op.create_table(
        "audit_unsealed",
        sa.Column("tenant_id", sa.Uuid, primary_key=True),
        sa.Column("audit_id", sa.Uuid, primary_key=True),
        comment="Rows of audit_logs that wait to be sealed; written with them, in one statement.",
    )
    fence("audit_unsealed", "select; insert")
    allow("audit_unsealed", PLATFORM, "insert")
    allow("audit_unsealed", WORKER, "select")
    allow("audit_unsealed", WORKER, "delete", where=OF_THIS_TENANT)

    op.create_table(
        "audit_heads",
        sa.Column("tenant_id", sa.Uuid, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("pruned_position", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("pruned_hash", sa.LargeBinary, nullable=False),
        comment="The newest seal of each trail, and the last one of those that were pruned.",
    )
    fence("audit_heads", "select")
    allow("audit_heads", WORKER, "select; insert; update", where=OF_THIS_TENANT)
    allow("audit_heads", OWNER, "select; update", where=OF_THIS_TENANT, name="owner")

    op.create_table(
        "audit_seals",
        sa.Column("tenant_id", sa.Uuid, primary_key=True),
        sa.Column("position", sa.BigInteger, primary_key=True),
        sa.Column("audit_id", sa.Uuid, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("sealed_at", TIMESTAMP, nullable=False),
        sa.UniqueConstraint("tenant_id", "audit_id"),
        comment="One row for each of audit_logs: a keyed hash of it and of the seal before.",
    )
    fence("audit_seals", "select")
    allow("audit_seals", WORKER, "select; insert", where=OF_THIS_TENANT)
    allow("audit_seals", OWNER, "select; delete", where=OF_THIS_TENANT, name="owner")

    op.create_table(
        "upstream_usage",
        sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
        sa.Column("upstream_key_id", sa.Uuid, primary_key=True),
        sa.Column("hour", TIMESTAMP, primary_key=True),
        sa.Column("method", sa.Text, primary_key=True),
        sa.Column("outcome", sa.Text, primary_key=True),
        sa.Column("calls", sa.BigInteger, nullable=False),
        comment="The background's upstream calls of the running hour; sealed into audit_logs when it is over.",
    )
    fence("upstream_usage", "select; insert; update; delete")
    allow("upstream_usage", WORKER, "select; insert; update")


def _idempotency() -> None:
    """Keys of requests, and what they were answered."""
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant_id", sa.Uuid, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("request_hash", sa.LargeBinary, nullable=False),
        sa.Column("holder", sa.Uuid, nullable=False),
        sa.Column("held_until", TIMESTAMP, nullable=False),
        sa.Column("operation_id", sa.Uuid),
        sa.Column("status", sa.SmallInteger),
        sa.Column("body", JSONB),
        sa.Column("location", sa.Text),
        sa.Column("created_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
        sa.Index(None, "created_at"),
        comment="No foreign key to tenants: the admin's own requests are kept under the nil tenant.",
    )
    fence("idempotency_keys", "select; insert; update; delete")
    allow("idempotency_keys", WORKER, "select (created_at); delete")
    allow("idempotency_keys", PLATFORM, "select; update", where=NO_TENANT)
