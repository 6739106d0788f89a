"""What was told of each rental's coming end, and an index for finding those of which to tell."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

COLUMNS = "status, expires_at, expiring_told_at, created_at, period_unit, period_count"


def upgrade() -> None:
    op.add_column("rentals", sa.Column("expiring_told_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.create_index(
        "rentals_expiring_idx", "rentals", ["expires_at"], postgresql_where=sa.text("status = 'active'")
    )
    op.execute(f"grant select ({COLUMNS}) on rentals to rentgate_worker")


def downgrade() -> None:
    op.drop_index("rentals_expiring_idx", table_name="rentals")
    op.drop_column("rentals", "expiring_told_at")
    op.execute(
        "revoke select (status, expires_at, created_at, period_unit, period_count) on rentals from rentgate_worker"
    )
