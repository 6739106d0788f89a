"""A hash chain over each tenant's audit trail, written by the worker, and the owner's right to prune it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.row_level_security import PLATFORM, THIS_TENANT, WORKER, allow, fence

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

OWNER = "current_user"
OF_THIS_TENANT = f"tenant_id = {THIS_TENANT}"


def upgrade() -> None:
    op.create_table(
        "audit_unsealed",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("audit_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "audit_id", name=op.f("audit_unsealed_pkey")),
        comment="Rows of audit_logs that wait to be sealed; written with them, in one statement.",
    )
    op.create_table(
        "audit_heads",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("pruned_position", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("pruned_hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("audit_heads_pkey")),
        comment="The newest seal of each trail, and the last one of those that were pruned.",
    )
    op.create_table(
        "audit_seals",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("audit_id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "position", name=op.f("audit_seals_pkey")),
        sa.UniqueConstraint("tenant_id", "audit_id", name=op.f("audit_seals_tenant_id_audit_id_key")),
        comment="One row for each of audit_logs: a keyed hash of it and of the seal before.",
    )
    op.create_index("audit_logs_tenant_id_created_at_idx", "audit_logs", ["tenant_id", "created_at"])
    op.execute("alter table audit_logs no force row level security")
    op.execute("insert into audit_unsealed select tenant_id, id from audit_logs")
    op.execute("alter table audit_logs force row level security")
    fence("audit_unsealed", "select; insert")
    fence("audit_heads", "select")
    fence("audit_seals", "select")
    allow("audit_unsealed", PLATFORM, "insert")
    allow("audit_unsealed", WORKER, "select")
    allow("audit_unsealed", WORKER, "delete", where=OF_THIS_TENANT)
    allow("audit_logs", WORKER, "select", where=OF_THIS_TENANT)
    allow("audit_heads", WORKER, "select; insert; update", where=OF_THIS_TENANT)
    allow("audit_seals", WORKER, "select; insert", where=OF_THIS_TENANT)
    # Pruning is for whoever may migrate; no role of the gateway's processes can remove anything.
    for table, privileges in (
        ("audit_logs", "select; delete"),
        ("audit_seals", "select; delete"),
        ("audit_heads", "select; update"),
    ):
        allow(table, OWNER, privileges, where=OF_THIS_TENANT, name="owner")


def downgrade() -> None:
    op.execute("drop policy owner_select on audit_logs")
    op.execute("drop policy owner_delete on audit_logs")
    op.execute("drop policy rentgate_worker_select on audit_logs")
    op.execute("revoke select on audit_logs from rentgate_worker")
    op.drop_index("audit_logs_tenant_id_created_at_idx", table_name="audit_logs")
    for table in ("audit_seals", "audit_heads", "audit_unsealed"):
        op.drop_table(table)
