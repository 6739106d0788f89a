"""What the worker's role may see of accounts for the operator's overview, and indexes that bound its queries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.row_level_security import WORKER, allow

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("account_looks_looked_at_idx", "account_looks", ["looked_at"])
    op.create_index(
        "webhooks_disabled_idx",
        "webhooks",
        ["tenant_id", "id"],
        postgresql_where=sa.text("status = 'disabled'"),
    )
    op.execute("grant select (label) on upstream_keys to rentgate_worker")
    op.execute("grant select (upstream_key_id) on rentals to rentgate_worker")
    allow("pace_buckets", WORKER, "select")


def downgrade() -> None:
    op.execute("drop policy rentgate_worker_select on pace_buckets")
    op.execute("revoke select on pace_buckets from rentgate_worker")
    op.execute("revoke select (upstream_key_id) on rentals from rentgate_worker")
    op.execute("revoke select (label) on upstream_keys from rentgate_worker")
    op.drop_index("webhooks_disabled_idx", table_name="webhooks")
    op.drop_index("account_looks_looked_at_idx", table_name="account_looks")
