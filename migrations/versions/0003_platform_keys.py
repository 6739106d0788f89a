"""Platform keys, and a place in the audit trail for what belongs to no tenant."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.row_level_security import PLATFORM, allow, protect

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "platform_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("revoked_at", sa.TIMESTAMP(timezone=True)),
        sa.Column("last_used_at", sa.TIMESTAMP(timezone=True)),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("platform_keys_pkey")),
        sa.UniqueConstraint("token_hash", name=op.f("platform_keys_token_hash_key")),
    )
    protect("platform_keys")
    allow("platform_keys", PLATFORM, "select; insert; update")
    # The platform's own rows stand under the nil tenant, which is no row of tenants.
    op.drop_constraint("audit_logs_tenant_id_fkey", "audit_logs", type_="foreignkey")
    op.create_table_comment(
        "audit_logs", "No foreign key to tenants: what belongs to none stands under the nil tenant."
    )


def downgrade() -> None:
    op.drop_table_comment("audit_logs")
    op.execute("alter table audit_logs no force row level security")
    op.execute("delete from audit_logs where tenant_id = '00000000-0000-0000-0000-000000000000'")
    op.execute("alter table audit_logs force row level security")
    op.create_foreign_key("audit_logs_tenant_id_fkey", "audit_logs", "tenants", ["tenant_id"], ["id"])
    op.drop_table("platform_keys")
