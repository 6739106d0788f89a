"""Rentals that are prolonged by themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

NEW = ("auto_prolong", "auto_prolong_tried_end", "auto_prolong_retry_at")


def upgrade() -> None:
    op.add_column("rentals", sa.Column("auto_prolong", JSONB(), nullable=True))
    op.add_column("rentals", sa.Column("auto_prolong_tried_end", sa.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("rentals", sa.Column("auto_prolong_retry_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.execute(f"grant select ({', '.join(NEW)}) on rentals to rentgate_worker")


def downgrade() -> None:
    for name in reversed(NEW):
        op.drop_column("rentals", name)
