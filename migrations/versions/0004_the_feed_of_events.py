"""A position for each event, given in the order of commit; and accounts that somebody waits for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.row_level_security import fence

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "event_heads",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("event_heads_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("event_heads_pkey")),
        comment="The newest event's position; its row is locked until the event is committed.",
    )
    fence("event_heads", "select; insert; update")
    op.add_column("events", sa.Column("position", sa.BigInteger()))
    for table in ("events", "event_heads", "tenants"):
        op.execute(f"alter table {table} no force row level security")
    op.execute(
        "update events e set position = n.position from"
        " (select tenant_id, id, row_number() over (partition by tenant_id order by id) as position from events) n"
        " where n.tenant_id = e.tenant_id and n.id = e.id"
    )
    op.execute("insert into event_heads select tenant_id, max(position) from events group by tenant_id")
    for table in ("events", "event_heads", "tenants"):
        op.execute(f"alter table {table} force row level security")
    op.alter_column("events", "position", nullable=False)
    op.create_index("events_tenant_id_position_idx", "events", ["tenant_id", "position"], unique=True)
    op.create_index("events_tenant_id_timestamp_idx", "events", ["tenant_id", "timestamp"])
    op.add_column("account_looks", sa.Column("wanted_until", sa.TIMESTAMP(timezone=True)))


def downgrade() -> None:
    op.drop_column("account_looks", "wanted_until")
    op.drop_index("events_tenant_id_timestamp_idx", table_name="events")
    op.drop_index("events_tenant_id_position_idx", table_name="events")
    op.drop_column("events", "position")
    op.drop_table("event_heads")
