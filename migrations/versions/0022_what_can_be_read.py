"""What of an account's answers can't be read, orders of several services, and how long an archive was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.row_level_security import WORKER, allow, fence

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account_health",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("upstream_key_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), server_default="ok", nullable=False),
        sa.Column("since", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("problems", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.CheckConstraint("status in ('ok', 'degraded', 'failing')", name="status"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "upstream_key_id"],
            ["upstream_keys.tenant_id", "upstream_keys.id"],
            name=op.f("account_health_tenant_id_upstream_key_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "upstream_key_id", name=op.f("account_health_pkey")),
        comment="What of an account's answers can't be read; a row is made with the first problem.",
    )
    fence("account_health", "select; insert; update")
    allow("account_health", WORKER, "select")
    op.add_column(
        "upstream_orders",
        sa.Column("further_services", postgresql.JSONB(), server_default="[]", nullable=False),
    )
    op.add_column(
        "upstream_orders", sa.Column("messages_failed_at", sa.TIMESTAMP(timezone=True), nullable=True)
    )
    op.add_column("upstream_orders", sa.Column("messages_error", sa.Text(), nullable=True))
    op.add_column(
        "account_looks", sa.Column("archive_rows", sa.Integer(), server_default="0", nullable=False)
    )
    key = "tenant_id, upstream_key_id, upstream_order_id"
    read = f"{key}, messages_failed_at, messages_error"
    changed = "messages_read_at, messages_failed_at, messages_error"
    allow("upstream_orders", WORKER, f"select ({read}); update ({changed})")


def downgrade() -> None:
    op.execute(f"drop policy {WORKER}_select on upstream_orders")
    op.execute(f"drop policy {WORKER}_update on upstream_orders")
    op.execute(f"revoke all on upstream_orders from {WORKER}")
    columns = (
        "tenant_id, upstream_key_id, upstream_order_id, messages_read_at, messages_failed_at, messages_error"
    )
    op.execute(f"revoke all ({columns}) on upstream_orders from {WORKER}")
    op.drop_column("account_looks", "archive_rows")
    for column in ("messages_error", "messages_failed_at", "further_services"):
        op.drop_column("upstream_orders", column)
    op.drop_table("account_health")
