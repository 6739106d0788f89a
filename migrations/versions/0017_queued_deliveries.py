"""Queued webhook deliveries are announced, so that who delivers need not look for them after every event."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

QUEUED = "00000000-0000-0000-0000-000000000002"


def upgrade() -> None:
    op.execute(
        "create function announce_webhook_deliveries() returns trigger language plpgsql as $$"
        f" begin perform pg_notify('rentgate', '{QUEUED}'); return null; end $$"
    )
    op.execute(
        "create trigger announce after insert on webhook_deliveries"
        " for each row execute function announce_webhook_deliveries()"
    )


def downgrade() -> None:
    op.execute("drop trigger announce on webhook_deliveries")
    op.execute("drop function announce_webhook_deliveries()")
