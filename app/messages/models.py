"""The messages' table."""

from __future__ import annotations

import sqlalchemy as sa

from app.database import Timestamp, metadata

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
    sa.Column("rental_id", sa.Uuid, primary_key=True),
    sa.Column("position", sa.BigInteger, primary_key=True),
    sa.Column("id", sa.Uuid, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("sender", sa.Text),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("received_at", Timestamp),
    sa.Column("first_seen_at", Timestamp, nullable=False, server_default=sa.func.now()),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("occurrence", sa.Integer, nullable=False),
    sa.CheckConstraint("scope in ('rented', 'other')", name="scope"),
    sa.Column("rented_position", sa.BigInteger),
    sa.UniqueConstraint("tenant_id", "rental_id", "digest", "occurrence"),
    sa.UniqueConstraint("tenant_id", "rental_id", "rented_position"),
    sa.ForeignKeyConstraint(["tenant_id", "rental_id"], ["rentals.tenant_id", "rentals.id"]),
    comment="position counts in the order of arrival; rented_position in that of being known as the rental's"
    " own.",
)
