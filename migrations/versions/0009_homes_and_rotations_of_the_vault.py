"""Which key wraps each keyset, its version, the progress of rotations, and keys known by others' ids."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.row_level_security import APP, PLATFORM, THIS_TENANT, WORKER, allow, protect

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("vault_keysets", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    op.add_column("vault_keysets", sa.Column("wrapped_by", sa.Text(), nullable=True))
    op.add_column("vault_fingerprint_keys", sa.Column("wrapped_by", sa.Text(), nullable=True))
    op.create_table(
        "vault_rotations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("after", sa.Uuid(), nullable=True),
        sa.Column("holder", sa.Uuid(), nullable=True),
        sa.Column("held_until", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("finished_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("kind in ('key', 'tenants')", name=op.f("vault_rotations_kind_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("vault_rotations_pkey")),
        comment="Rotations of the vault and how far each has come: after is the last tenant that was done.",
    )
    op.create_index(
        "vault_rotations_running_key",
        "vault_rotations",
        ["kind"],
        unique=True,
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.add_column("upstream_keys", sa.Column("external_id", sa.Text(), nullable=True))
    op.create_index(
        "upstream_keys_external_key",
        "upstream_keys",
        ["tenant_id", "external_id"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    allow("vault_keysets", APP, "update", where=f"tenant_id = {THIS_TENANT}")
    allow("vault_keysets", WORKER, "select; update (wrapped, wrapped_by)")
    allow("vault_fingerprint_keys", WORKER, "select; update (wrapped, wrapped_by)")
    protect("vault_rotations")
    allow("vault_rotations", WORKER, "select; update")
    allow("vault_rotations", PLATFORM, "select; insert; update (finished_at)")
    allow("vault_keysets", PLATFORM, "select (tenant_id, wrapped_by)")


def downgrade() -> None:
    op.drop_index("upstream_keys_external_key", table_name="upstream_keys")
    op.drop_column("upstream_keys", "external_id")
    op.drop_table("vault_rotations")
    for role, verb in ((APP, "update"), (WORKER, "select"), (WORKER, "update"), (PLATFORM, "select")):
        op.execute(f"drop policy {role}_{verb} on vault_keysets")
        op.execute(f"revoke {verb} on vault_keysets from {role}")
    for verb in ("select", "update"):
        op.execute(f"drop policy {WORKER}_{verb} on vault_fingerprint_keys")
        op.execute(f"revoke {verb} on vault_fingerprint_keys from {WORKER}")
    op.drop_column("vault_fingerprint_keys", "wrapped_by")
    op.drop_column("vault_keysets", "wrapped_by")
    op.drop_column("vault_keysets", "version")
