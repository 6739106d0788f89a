"""The first schema: every table, and the fences around the tenants' rows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.row_level_security import (
    APP,
    NO_TENANT,
    PLATFORM,
    THIS_TOKEN,
    WORKER,
    allow,
    fence,
    protect,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=False),
        sa.Column("held_until", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("operation_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("body", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "key", name=op.f("idempotency_keys_pkey")),
        comment="No foreign key to tenants: the admin's own requests are kept under the nil tenant.",
    )
    op.create_index(op.f("idempotency_keys_created_at_idx"), "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "pace_buckets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tokens", sa.Double(), nullable=False),
        sa.Column("credit", sa.Double(), nullable=False),
        sa.Column("refilled_at", sa.Double(), nullable=False),
        sa.Column("promised_until", sa.Double(), nullable=False),
        sa.Column("contended_until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pace_buckets_pkey")),
        comment="Token buckets of upstream calls; instants are seconds since the epoch by this server's clock.",
    )
    op.create_table(
        "tenants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("spend_limit", sa.Numeric(precision=14, scale=4), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status in ('active', 'suspended')", name=op.f("tenants_status_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("tenants_pkey")),
    )
    op.create_table(
        "vault_fingerprint_keys",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("vault_fingerprint_keys_pkey")),
        comment="Keyed hashing for all tenants, encrypted by the vault key; it outlives any rotation of that.",
    )
    op.create_table(
        "api_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("api_keys_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("api_keys_pkey")),
        sa.UniqueConstraint("token_hash", name=op.f("api_keys_token_hash_key")),
    )
    op.create_table(
        "audit_logs",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("audit_logs_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("audit_logs_pkey")),
    )
    op.create_table(
        "events",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("timestamp", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("rental_id", sa.Uuid(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("events_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("events_pkey")),
    )
    op.create_index(
        op.f("events_tenant_id_rental_id_id_idx"), "events", ["tenant_id", "rental_id", "id"], unique=False
    )
    op.create_table(
        "spending_months",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("held", sa.Numeric(precision=14, scale=4), server_default="0", nullable=False),
        sa.Column("spent", sa.Numeric(precision=14, scale=4), server_default="0", nullable=False),
        sa.CheckConstraint("held >= 0 and spent >= 0", name=op.f("spending_months_not_negative_check")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("spending_months_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "month", name=op.f("spending_months_pkey")),
    )
    op.create_table(
        "upstream_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("last_four", sa.Text(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_used_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("status in ('active', 'rejected')", name=op.f("upstream_keys_status_check")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("upstream_keys_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("upstream_keys_pkey")),
    )
    op.create_index(
        "upstream_keys_default_key",
        "upstream_keys",
        ["tenant_id"],
        unique=True,
        postgresql_where=sa.text("is_default AND deleted_at IS NULL"),
    )
    op.create_index(
        "upstream_keys_fingerprint_key",
        "upstream_keys",
        ["fingerprint"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "upstream_usage",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("upstream_key_id", sa.Uuid(), nullable=False),
        sa.Column("hour", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("upstream_usage_tenant_id_fkey")),
        sa.PrimaryKeyConstraint(
            "tenant_id", "upstream_key_id", "hour", "method", "outcome", name=op.f("upstream_usage_pkey")
        ),
        comment="The background's upstream calls of the running hour; sealed into audit_logs when it is over.",
    )
    op.create_table(
        "vault_keysets",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("vault_keysets_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("vault_keysets_pkey")),
        comment="One data keyset a tenant, encrypted by the vault key.",
    )
    op.create_table(
        "account_looks",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("upstream_key_id", sa.Uuid(), nullable=False),
        sa.Column("due_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=True),
        sa.Column("held_until", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("looked_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("tried_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "upstream_key_id"],
            ["upstream_keys.tenant_id", "upstream_keys.id"],
            name=op.f("account_looks_tenant_id_upstream_key_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "upstream_key_id", name=op.f("account_looks_pkey")),
        comment="When each account is looked at next, and by whom it is being looked at.",
    )
    op.create_index(op.f("account_looks_due_at_idx"), "account_looks", ["due_at"], unique=False)
    op.create_table(
        "money_lanes",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("upstream_key_id", sa.Uuid(), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("held_until", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "upstream_key_id"],
            ["upstream_keys.tenant_id", "upstream_keys.id"],
            name=op.f("money_lanes_tenant_id_upstream_key_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "upstream_key_id", name=op.f("money_lanes_pkey")),
        comment="Who may make the account's one money call now.",
    )
    op.create_table(
        "operations",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("upstream_key_id", sa.Uuid(), nullable=False),
        sa.Column("rental_id", sa.Uuid(), nullable=True),
        sa.Column("request", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("price", sa.Numeric(precision=14, scale=4), nullable=True),
        sa.Column("error", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("candidates", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("attended_until", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("answered_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("settled_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("absent_seconds", sa.Double(), server_default="0", nullable=False),
        sa.Column("absent_seen_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state in ('queued', 'sent', 'unknown', 'review', 'succeeded', 'failed')",
            name=op.f("operations_state_check"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "upstream_key_id"],
            ["upstream_keys.tenant_id", "upstream_keys.id"],
            name=op.f("operations_tenant_id_upstream_key_id_fkey"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("operations_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("operations_pkey")),
    )
    op.create_index(
        "operations_account_open_idx",
        "operations",
        ["tenant_id", "upstream_key_id"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'sent', 'unknown', 'review')"),
    )
    op.create_index(
        "operations_given_up_idx",
        "operations",
        ["tenant_id", "upstream_key_id", "sent_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('failed', 'review')"),
    )
    op.create_index(
        "operations_open_idx",
        "operations",
        ["attended_until"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'sent', 'unknown')"),
    )
    op.create_index(
        op.f("operations_tenant_id_rental_id_id_idx"),
        "operations",
        ["tenant_id", "rental_id", "id"],
        unique=False,
    )
    op.create_table(
        "rentals",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("upstream_key_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("number_state", sa.Text(), server_default="unknown", nullable=False),
        sa.Column("phone_number", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("services", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("period_unit", sa.Text(), nullable=True),
        sa.Column("period_count", sa.Integer(), nullable=True),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("can_prolong", sa.Boolean(), nullable=True),
        sa.Column("prolong_max", sa.Integer(), nullable=True),
        sa.Column("prolong_until", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_online_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("has_new_sms", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("restorable", sa.Boolean(), nullable=True),
        sa.Column("price", sa.Numeric(precision=14, scale=4), nullable=True),
        sa.Column("source", sa.Text(), server_default="gateway", nullable=False),
        sa.Column("pending_operation_id", sa.Uuid(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("activate_after", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "changed_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("message_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("synced_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "number_state in ('inactive', 'activating', 'active', 'offline', 'unknown')",
            name=op.f("rentals_number_state_check"),
        ),
        sa.CheckConstraint(
            "status in ('pending', 'active', 'expired', 'deleted', 'failed', 'review')",
            name=op.f("rentals_status_check"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "upstream_key_id"],
            ["upstream_keys.tenant_id", "upstream_keys.id"],
            name=op.f("rentals_tenant_id_upstream_key_id_fkey"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("rentals_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("rentals_pkey")),
    )
    op.create_index(
        "rentals_activate_after_idx",
        "rentals",
        ["activate_after"],
        unique=False,
        postgresql_where=sa.text("activate_after IS NOT NULL"),
    )
    op.create_index(
        "rentals_living_idx",
        "rentals",
        ["tenant_id", "upstream_key_id"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'active', 'review')"),
    )
    op.create_index(
        op.f("rentals_tenant_id_phone_number_id_idx"),
        "rentals",
        ["tenant_id", "phone_number", "id"],
        unique=False,
    )
    op.create_index(
        op.f("rentals_tenant_id_status_id_idx"), "rentals", ["tenant_id", "status", "id"], unique=False
    )
    op.create_table(
        "messages",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("rental_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("received_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "first_seen_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("occurrence", sa.Integer(), nullable=False),
        sa.CheckConstraint("scope in ('rented', 'other')", name=op.f("messages_scope_check")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "rental_id"],
            ["rentals.tenant_id", "rentals.id"],
            name=op.f("messages_tenant_id_rental_id_fkey"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("messages_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "rental_id", "position", name=op.f("messages_pkey")),
        sa.UniqueConstraint(
            "tenant_id",
            "rental_id",
            "digest",
            "occurrence",
            name=op.f("messages_tenant_id_rental_id_digest_occurrence_key"),
        ),
        comment="position counts a rental's messages in the order of arrival, without gaps.",
    )
    op.create_table(
        "spending_holds",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("operation_id", sa.Uuid(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=14, scale=4), nullable=False),
        sa.Column("state", sa.Text(), server_default="held", nullable=False),
        sa.CheckConstraint("state in ('held', 'spent', 'released')", name=op.f("spending_holds_state_check")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "operation_id"],
            ["operations.tenant_id", "operations.id"],
            name=op.f("spending_holds_tenant_id_operation_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "operation_id", name=op.f("spending_holds_pkey")),
    )
    op.create_table(
        "upstream_orders",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("upstream_key_id", sa.Uuid(), nullable=False),
        sa.Column("upstream_order_id", sa.Text(), nullable=False),
        sa.Column("rental_id", sa.Uuid(), nullable=True),
        sa.Column("service", sa.Text(), nullable=True),
        sa.Column("service_name", sa.Text(), nullable=True),
        sa.Column("phone_number", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("number_state", sa.Text(), server_default="unknown", nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("has_new_sms", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("missed_looks", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("status", sa.Text(), server_default="listed", nullable=False),
        sa.Column("messages_read_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "first_seen_at",
            sa.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "status in ('listed', 'expired', 'deleted', 'replaced')",
            name=op.f("upstream_orders_status_check"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "rental_id"],
            ["rentals.tenant_id", "rentals.id"],
            name=op.f("upstream_orders_tenant_id_rental_id_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "upstream_key_id"],
            ["upstream_keys.tenant_id", "upstream_keys.id"],
            name=op.f("upstream_orders_tenant_id_upstream_key_id_fkey"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("upstream_orders_tenant_id_fkey")),
        sa.PrimaryKeyConstraint(
            "tenant_id", "upstream_key_id", "upstream_order_id", name=op.f("upstream_orders_pkey")
        ),
        comment="Every order that was ever seen in an account; without rental_id it is nobody's as yet.",
    )
    op.create_index(
        op.f("upstream_orders_tenant_id_rental_id_idx"),
        "upstream_orders",
        ["tenant_id", "rental_id"],
        unique=False,
    )
    op.create_index(
        op.f("upstream_orders_tenant_id_upstream_order_id_idx"),
        "upstream_orders",
        ["tenant_id", "upstream_order_id"],
        unique=False,
    )
    fences()


def fences() -> None:
    """Who may do what: the app within its tenant, the worker what is due, the platform the tenants."""
    fence("tenants", "select", column="id")
    fence("api_keys", "select; insert; update")
    allow("api_keys", APP, "select", where=f"token_hash = {THIS_TOKEN}", name="bearer")
    fence("vault_keysets", "select; insert")
    fence("upstream_keys", "select; insert; update")
    fence("account_looks", "select; insert; update")
    fence("money_lanes", "select; insert; update")
    fence("operations", "select; insert; update")
    fence("spending_months", "select; insert; update")
    fence("spending_holds", "select; insert; update")
    fence("idempotency_keys", "select; insert; update; delete")
    fence("rentals", "select; insert; update")
    fence("upstream_orders", "select; insert; update")
    fence("messages", "select; insert; update (scope)")
    fence("events", "select; insert")
    fence("audit_logs", "select; insert")
    fence("upstream_usage", "select; insert; update; delete")
    for shared in ("pace_buckets", "vault_fingerprint_keys"):
        protect(shared)
    allow("pace_buckets", APP, "select; insert; update")
    allow("vault_fingerprint_keys", APP, "select; insert")

    allow("tenants", WORKER, "select")
    allow("account_looks", WORKER, "select; update")
    allow("operations", WORKER, "select")
    allow("rentals", WORKER, "select (tenant_id, id, activate_after)")
    allow("upstream_keys", WORKER, "select (tenant_id, id, status, deleted_at)")
    allow("upstream_usage", WORKER, "select (tenant_id, hour)")
    allow("idempotency_keys", WORKER, "select (created_at); delete")

    allow("tenants", PLATFORM, "select; insert; update")
    allow("audit_logs", PLATFORM, "insert")
    allow("idempotency_keys", PLATFORM, "select; update", where=NO_TENANT)
    op.execute(f"grant select on alembic_version to {APP}, {WORKER}, {PLATFORM}")


def downgrade() -> None:
    op.drop_index(op.f("upstream_orders_tenant_id_upstream_order_id_idx"), table_name="upstream_orders")
    op.drop_index(op.f("upstream_orders_tenant_id_rental_id_idx"), table_name="upstream_orders")
    op.drop_table("upstream_orders")
    op.drop_table("spending_holds")
    op.drop_table("messages")
    op.drop_index(op.f("rentals_tenant_id_status_id_idx"), table_name="rentals")
    op.drop_index(op.f("rentals_tenant_id_phone_number_id_idx"), table_name="rentals")
    op.drop_index(
        "rentals_living_idx",
        table_name="rentals",
        postgresql_where=sa.text("status IN ('pending', 'active', 'review')"),
    )
    op.drop_index(
        "rentals_activate_after_idx",
        table_name="rentals",
        postgresql_where=sa.text("activate_after IS NOT NULL"),
    )
    op.drop_table("rentals")
    op.drop_index(op.f("operations_tenant_id_rental_id_id_idx"), table_name="operations")
    op.drop_index(
        "operations_open_idx",
        table_name="operations",
        postgresql_where=sa.text("state IN ('queued', 'sent', 'unknown')"),
    )
    op.drop_index(
        "operations_given_up_idx",
        table_name="operations",
        postgresql_where=sa.text("state IN ('failed', 'review')"),
    )
    op.drop_index(
        "operations_account_open_idx",
        table_name="operations",
        postgresql_where=sa.text("state IN ('queued', 'sent', 'unknown', 'review')"),
    )
    op.drop_table("operations")
    op.drop_table("money_lanes")
    op.drop_index(op.f("account_looks_due_at_idx"), table_name="account_looks")
    op.drop_table("account_looks")
    op.drop_table("vault_keysets")
    op.drop_table("upstream_usage")
    op.drop_index(
        "upstream_keys_fingerprint_key",
        table_name="upstream_keys",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.drop_index(
        "upstream_keys_default_key",
        table_name="upstream_keys",
        postgresql_where=sa.text("is_default AND deleted_at IS NULL"),
    )
    op.drop_table("upstream_keys")
    op.drop_table("spending_months")
    op.drop_index(op.f("events_tenant_id_rental_id_id_idx"), table_name="events")
    op.drop_table("events")
    op.drop_table("audit_logs")
    op.drop_table("api_keys")
    op.drop_table("vault_fingerprint_keys")
    op.drop_table("tenants")
    op.drop_table("pace_buckets")
    op.drop_index(op.f("idempotency_keys_created_at_idx"), table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
