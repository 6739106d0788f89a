"""Upstream keys that are references to secrets kept elsewhere, and the prefixes that a tenant may name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "tenants",
        sa.Column("reference_prefixes", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
    )
    op.add_column("upstream_keys", sa.Column("reference", sa.Text(), nullable=True))
    op.execute("grant select (reference) on upstream_keys to rentgate_worker")


def downgrade() -> None:
    op.drop_column("upstream_keys", "reference")
    op.drop_column("tenants", "reference_prefixes")
