"""What is left on each account: the newest balance with its mark and its due time, and all readings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.row_level_security import WORKER, allow, fence

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


ENROL = """
    create function enrol_account_balance() returns trigger language plpgsql as $$ begin
        insert into account_balances (tenant_id, upstream_key_id) values (new.tenant_id, new.upstream_key_id)
        on conflict do nothing;
        return null;
    end $$
"""
"""An account that is looked at has its balance read: also one that a process of the release before stores."""


def upgrade() -> None:
    op.create_table(
        "account_balances",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("upstream_key_id", sa.Uuid(), nullable=False),
        sa.Column("low_balance_below", sa.Numeric(14, 4), nullable=True),
        sa.Column("is_low", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("amount", sa.Numeric(14, 4), nullable=True),
        sa.Column("read_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("due_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("moved_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("claimed_until", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "upstream_key_id"],
            ["upstream_keys.tenant_id", "upstream_keys.id"],
            name=op.f("account_balances_tenant_id_upstream_key_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "upstream_key_id", name=op.f("account_balances_pkey")),
        comment="What was left on each account when it was last read, its mark, and when it is read next.",
    )
    op.create_index(op.f("account_balances_due_at_idx"), "account_balances", ["due_at"], unique=False)
    op.create_index(op.f("account_balances_read_at_idx"), "account_balances", ["read_at"], unique=False)
    op.create_index(
        "account_balances_low_idx",
        "account_balances",
        ["upstream_key_id"],
        unique=False,
        postgresql_where=sa.text("is_low"),
    )
    op.create_table(
        "balance_readings",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("upstream_key_id", sa.Uuid(), nullable=False),
        sa.Column("asked_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("read_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("amount", sa.Numeric(14, 4), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "upstream_key_id"],
            ["upstream_keys.tenant_id", "upstream_keys.id"],
            name=op.f("balance_readings_tenant_id_upstream_key_id_fkey"),
        ),
        sa.PrimaryKeyConstraint(
            "tenant_id", "upstream_key_id", "asked_at", name=op.f("balance_readings_pkey")
        ),
        comment="Every balance that was read: what the upstream charged before asked_at is in it.",
    )
    op.create_index(op.f("balance_readings_read_at_idx"), "balance_readings", ["read_at"], unique=False)

    op.execute(ENROL)
    op.execute(
        "create trigger enrol_balance after insert on account_looks"
        " for each row execute function enrol_account_balance()"
    )
    for table in ("account_looks", "upstream_keys"):
        op.execute(f"alter table {table} no force row level security")
    # Spread over the interval, so that not all accounts are asked for at once from now on.
    op.execute(
        "insert into account_balances (tenant_id, upstream_key_id, due_at)"
        " select l.tenant_id, l.upstream_key_id, now() + random() * interval '10 minutes' from account_looks l"
        " join upstream_keys k on k.tenant_id = l.tenant_id and k.id = l.upstream_key_id"
        " where k.deleted_at is null"
    )
    for table in ("account_looks", "upstream_keys"):
        op.execute(f"alter table {table} force row level security")

    fence("account_balances", "select; insert; update; delete")
    allow("account_balances", WORKER, "select; update")
    fence("balance_readings", "select; insert")
    allow("balance_readings", WORKER, "select (read_at); delete")


def downgrade() -> None:
    op.execute("drop trigger enrol_balance on account_looks")
    op.execute("drop function enrol_account_balance()")
    op.drop_index(op.f("balance_readings_read_at_idx"), table_name="balance_readings")
    op.drop_table("balance_readings")
    op.drop_index(
        "account_balances_low_idx", table_name="account_balances", postgresql_where=sa.text("is_low")
    )
    op.drop_index(op.f("account_balances_read_at_idx"), table_name="account_balances")
    op.drop_index(op.f("account_balances_due_at_idx"), table_name="account_balances")
    op.drop_table("account_balances")
