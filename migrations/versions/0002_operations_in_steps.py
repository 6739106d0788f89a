"""Operations in steps, one for each order of a rental; and imports from an account's archive."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("operations", sa.Column("step", sa.SmallInteger(), server_default="0", nullable=False))
    op.add_column(
        "account_looks",
        sa.Column(
            "archive_due_at", sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False
        ),
    )
    op.add_column(
        "account_looks", sa.Column("archive_skip", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column("upstream_orders", sa.Column("began_at", sa.TIMESTAMP(timezone=True)))
    op.create_index(
        "upstream_orders_phone_number_idx",
        "upstream_orders",
        ["tenant_id", "upstream_key_id", "phone_number"],
    )
    # The owner sees no row either while row-level security is forced upon it.
    op.execute("alter table operations no force row level security")
    op.execute(
        "update operations set request = request - 'upstream_order_id' || jsonb_build_object('orders',"
        " jsonb_build_array(jsonb_build_object('id', request->'upstream_order_id',"
        " 'service', request->'service', 'expires_at', null, 'price', price::text)))"
        " where request ? 'upstream_order_id'"
    )
    op.execute("alter table operations force row level security")


def downgrade() -> None:
    op.execute("alter table operations no force row level security")
    op.execute(
        "update operations set request = request - 'orders' || jsonb_build_object('upstream_order_id',"
        " request->'orders'->0->'id') where request ? 'orders'"
    )
    op.execute("alter table operations force row level security")
    op.drop_index("upstream_orders_phone_number_idx", table_name="upstream_orders")
    op.drop_column("upstream_orders", "began_at")
    op.drop_column("account_looks", "archive_skip")
    op.drop_column("account_looks", "archive_due_at")
    op.drop_column("operations", "step")
