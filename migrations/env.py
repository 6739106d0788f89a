"""Alembic's entry: runs the migrations in one transaction, one process at a time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from app.migrate import refuse_unknown, sync_engine
from app.models import metadata

ONE_AT_A_TIME = 0x72656E74  # "rent": the advisory lock's number

with sync_engine(context.config.attributes["url"]).connect() as connection, connection.begin():
    connection.execute(sa.text("select pg_advisory_xact_lock(:number)"), {"number": ONE_AT_A_TIME})
    context.configure(connection=connection, target_metadata=metadata)
    refuse_unknown(*context.get_context().get_current_heads())
    # A statement that row-level security keeps from rows fails, rather than pass them over in silence.
    connection.execute(sa.text("set local row_security = off"))
    with context.begin_transaction():
        context.run_migrations()
