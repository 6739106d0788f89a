"""What the upstream said where it refused a paid or changing call in words that nobody knows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("operations", sa.Column("unexplained", postgresql.JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("operations", "unexplained")
