"""Workers hold accounts over many looks: who is alive, and what a holder has to be told of.

What only the looks themselves go by announces no change of a rental any more.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.row_level_security import APP, WORKER, allow, protect

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

SHOWN = (
    "rental_id, service, service_name, phone_number, country, number_state, expires_at, has_new_sms, status,"
    " began_at, end_outdated"
)
"""The columns of an order that an answer may show."""


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("alive_until", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("workers_pkey")),
        comment="The background processes; past its time one is dead, and its accounts are anybody's.",
    )
    protect("workers")
    allow("workers", WORKER, "select; insert; update; delete")
    allow("workers", APP, "select")

    op.alter_column("account_looks", "due_at", nullable=True)
    op.add_column(
        "account_looks", sa.Column("at_once", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.add_column("account_looks", sa.Column("asked_until", sa.TIMESTAMP(timezone=True), nullable=True))
    op.add_column(
        "account_looks",
        sa.Column("next_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.execute("update account_looks set holder = null, held_until = null, next_at = due_at")
    op.execute(
        "comment on table account_looks is 'When each account is looked at next, and who holds it to do so.'"
    )
    op.create_index(op.f("account_looks_holder_idx"), "account_looks", ["holder"], unique=False)
    op.create_index(op.f("account_looks_next_at_idx"), "account_looks", ["next_at"], unique=False)

    op.add_column("upstream_orders", sa.Column("wanted_until", sa.TIMESTAMP(timezone=True), nullable=True))
    _announce(f"insert or update of {SHOWN}")

    op.execute(f"grant select, insert, update on upstream_usage to {WORKER}")
    op.execute(f"create policy worker_insert on upstream_usage for insert to {WORKER} with check (true)")
    op.execute(
        f"create policy worker_update on upstream_usage for update to {WORKER} using (true) with check (true)"
    )


def downgrade() -> None:
    op.execute("drop policy worker_update on upstream_usage")
    op.execute("drop policy worker_insert on upstream_usage")
    op.execute(f"revoke select, insert, update on upstream_usage from {WORKER}")
    op.execute(f"grant select (tenant_id, hour) on upstream_usage to {WORKER}")
    _announce("insert or update")
    op.drop_column("upstream_orders", "wanted_until")
    op.drop_index(op.f("account_looks_next_at_idx"), table_name="account_looks")
    op.drop_index(op.f("account_looks_holder_idx"), table_name="account_looks")
    op.execute(
        "comment on table account_looks is"
        " 'When each account is looked at next, and by whom it is being looked at.'"
    )
    op.execute("update account_looks set due_at = now(), holder = null where due_at is null")
    op.drop_column("account_looks", "next_at")
    op.drop_column("account_looks", "asked_until")
    op.drop_column("account_looks", "at_once")
    op.alter_column("account_looks", "due_at", nullable=False)
    op.drop_table("workers")


def _announce(changes: str) -> None:
    op.execute("drop trigger announce on upstream_orders")
    op.execute(
        f"create trigger announce after {changes} on upstream_orders"
        " for each row execute function announce_upstream_orders()"
    )
