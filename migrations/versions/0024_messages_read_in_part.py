"""The worker keeps when an order's messages were read whole while it notes that only some could be read."""

from __future__ import annotations

from alembic import op

from migrations.row_level_security import WORKER

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(f"grant select (messages_read_at) on upstream_orders to {WORKER}")


def downgrade() -> None:
    op.execute("revoke select (messages_read_at) on upstream_orders from rentgate_worker")
