"""The vault's tables: keysets wrapped by the vault key, what they encrypt, and rotations of both."""

from __future__ import annotations

import sqlalchemy as sa

from app.database import Timestamp, metadata

vault_keysets = sa.Table(
    "vault_keysets",
    metadata,
    sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenants.id"), primary_key=True),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    sa.Column("wrapped_by", sa.Text),
    sa.Column("created_at", Timestamp, nullable=False, server_default=sa.func.now()),
    comment="One data keyset a tenant, encrypted by the vault key.",
)

vault_fingerprint_keys = sa.Table(
    "vault_fingerprint_keys",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sa.Column("wrapped_by", sa.Text),
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
    sa.Column("external_id", sa.Text),
    sa.Column("reference", sa.Text),
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
    "upstream_keys_external_key",
    upstream_keys.c.tenant_id,
    upstream_keys.c.external_id,
    unique=True,
    postgresql_where=upstream_keys.c.deleted_at.is_(None),
)
sa.Index(
    "upstream_keys_default_key",
    upstream_keys.c.tenant_id,
    unique=True,
    postgresql_where=upstream_keys.c.is_default & upstream_keys.c.deleted_at.is_(None),
)

vault_rotations = sa.Table(
    "vault_rotations",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("done", sa.Integer, nullable=False, server_default="0"),
    sa.Column("failed", sa.Integer, nullable=False, server_default="0"),
    sa.Column("after", sa.Uuid),
    sa.Column("holder", sa.Uuid),
    sa.Column("held_until", Timestamp),
    sa.Column("started_at", Timestamp, nullable=False, server_default=sa.func.now()),
    sa.Column("finished_at", Timestamp),
    sa.CheckConstraint("kind in ('key', 'tenants')", name="kind"),
    comment="Rotations of the vault and how far each has come: after is the last tenant that was done.",
)
sa.Index(
    "vault_rotations_running_key",
    vault_rotations.c.kind,
    unique=True,
    postgresql_where=vault_rotations.c.finished_at.is_(None),
)
