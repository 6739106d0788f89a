"""The vault's tables: keysets wrapped by the vault key, and the upstream keys that they encrypt."""

from __future__ import annotations

import sqlalchemy as sa

from app.database import Timestamp, metadata

vault_keysets = sa.Table(
    "vault_keysets",
    metadata,
    sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sa.Column("created_at", Timestamp, nullable=False, server_default=sa.func.now()),
    comment="One data keyset a tenant, encrypted by the vault key.",
)

vault_fingerprint_keys = sa.Table(
    "vault_fingerprint_keys",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sa.Column("created_at", Timestamp, nullable=False, server_default=sa.func.now()),
    comment="Keyed hashing for all tenants, encrypted by the vault key; it outlives any rotation of that.",
)

upstream_keys = sa.Table(
    "upstream_keys",
    metadata,
    sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("ciphertext", sa.LargeBinary, nullable=False),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sa.Column("last_four", sa.Text, nullable=False),
    sa.Column("is_default", sa.Boolean, nullable=False),
    sa.Column("status", sa.Text, nullable=False, server_default="active"),
    sa.Column("created_at", Timestamp, nullable=False, server_default=sa.func.now()),
    sa.Column("last_used_at", Timestamp),
    sa.Column("deleted_at", Timestamp),
    sa.CheckConstraint("status in ('active', 'rejected')", name="status"),
)
# One account serves one tenant, once: the only rule that looks over the tenants' fences, by a keyed hash.
sa.Index(
    "upstream_keys_fingerprint_key",
    upstream_keys.c.fingerprint,
    unique=True,
    postgresql_where=upstream_keys.c.deleted_at.is_(None),
)
sa.Index(
    "upstream_keys_default_key",
    upstream_keys.c.tenant_id,
    unique=True,
    postgresql_where=upstream_keys.c.is_default & upstream_keys.c.deleted_at.is_(None),
)
