"""Messages that were first seen as others' and turn out to be the rental's own get a place in its own feed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("messages", sa.Column("rented_position", sa.BigInteger(), nullable=True))
    op.execute("update messages set rented_position = position where scope = 'rented'")
    op.create_unique_constraint(
        op.f("messages_tenant_id_rental_id_rented_position_key"),
        "messages",
        ["tenant_id", "rental_id", "rented_position"],
    )
    op.execute(
        "comment on table messages is"
        " 'position counts in the order of arrival; rented_position in that of being known as the rental''s own.'"
    )
    op.execute("grant update (rented_position) on messages to rentgate_app")


def downgrade() -> None:
    op.execute(
        "comment on table messages is 'position counts a rental''s messages in the order of arrival, without gaps.'"
    )
    op.drop_column("messages", "rented_position")
