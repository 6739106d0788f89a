"""Orders whose stored end may be older than a prolonging: the next list of the account tells the new one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "upstream_orders",
        sa.Column("end_outdated", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )


def downgrade() -> None:
    op.drop_column("upstream_orders", "end_outdated")
