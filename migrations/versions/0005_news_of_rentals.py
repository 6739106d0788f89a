"""Every change of a rental, its orders or its messages is announced, so that rendered answers can be dropped."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = {"rentals": "id", "upstream_orders": "rental_id", "messages": "rental_id"}


def upgrade() -> None:
    for table, column in TABLES.items():
        op.execute(
            f"create function announce_{table}() returns trigger language plpgsql as $$"
            f" begin if new.{column} is not null then"
            f" perform pg_notify('rentgate', new.{column}::text); end if; return null; end $$"
        )
        op.execute(
            f"create trigger announce after insert or update on {table}"
            f" for each row execute function announce_{table}()"
        )


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"drop trigger announce on {table}")
        op.execute(f"drop function announce_{table}()")
