"""Jobs by procrastinate, in a schema of their own; a pending delivery defers the job of its endpoint."""

from __future__ import annotations

from importlib.resources import files

from alembic import op

from migrations.row_level_security import APP, WORKER

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

QUEUED = "00000000-0000-0000-0000-000000000002"

DEFER = f"""
    create function defer_webhook_deliveries() returns trigger language plpgsql as $$ begin
        insert into jobs.procrastinate_jobs (queue_name, task_name, priority, queueing_lock, args)
        select 'default', 'deliver', 1, 'deliver ' || webhook_id,
            jsonb_build_object('tenant_id', tenant_id, 'webhook_id', webhook_id)
        from changed where status = 'pending' and holder is null and next_at <= clock_timestamp()
        group by tenant_id, webhook_id order by webhook_id
        on conflict (queueing_lock) where status = 'todo' do update set priority = 1;
        insert into jobs.procrastinate_jobs (queue_name, task_name, args, scheduled_at)
        select 'default', 'deliver', jsonb_build_object('tenant_id', tenant_id, 'webhook_id', webhook_id), next_at
        from changed where status = 'pending' and holder is null and next_at > clock_timestamp();
        perform pg_notify('rentgate', '{QUEUED}') from changed where status = 'pending' and holder is null limit 1;
        return null;
    end $$
"""  # noqa: S608 - nothing of it comes from outside
"""Defers the job of an endpoint in the transaction that makes a delivery, or puts its next attempt off.

One that waits already is not deferred again, but locked until the commit: it is not begun before it can find the
delivery. What is to be done now ranks before what waits for its time, which a fetch would have to step over else.
"""


def upgrade() -> None:
    op.execute("create schema jobs")
    op.execute("set local search_path = jobs")
    schema = files("procrastinate.sql").joinpath("schema.sql").read_text("utf-8")
    op.get_bind().exec_driver_sql(schema.replace("%", "%%"))
    op.execute("set local search_path = public")
    # Its functions name its tables without the schema; they are to find them from every transaction.
    op.execute(
        "do $$ declare one regprocedure; begin"
        " for one in select oid from pg_proc where pronamespace = 'jobs'::regnamespace loop"
        " execute format('alter function %s set search_path = jobs, pg_temp', one); end loop; end $$"
    )
    op.execute(f"grant usage on schema jobs to {APP}, {WORKER}")
    op.execute(f"grant usage on all sequences in schema jobs to {APP}, {WORKER}")
    op.execute(f"grant select, insert, update, delete on all tables in schema jobs to {WORKER}")
    # Who changes something may defer a job, and learns nothing of what others are about.
    op.execute(
        f"grant insert, select (id, queueing_lock, status), update (priority) on jobs.procrastinate_jobs to {APP}"
    )
    op.execute(f"grant insert on jobs.procrastinate_events to {APP}")

    op.execute("drop trigger announce on webhook_deliveries")
    op.execute("drop function announce_webhook_deliveries()")
    op.execute(DEFER)
    for change in ("insert", "update"):
        op.execute(
            f"create trigger defer_{change} after {change} on webhook_deliveries"
            " referencing new table as changed for each statement execute function defer_webhook_deliveries()"
        )


def downgrade() -> None:
    op.execute("drop trigger defer_insert on webhook_deliveries")
    op.execute("drop trigger defer_update on webhook_deliveries")
    op.execute("drop function defer_webhook_deliveries()")
    op.execute(
        "create function announce_webhook_deliveries() returns trigger language plpgsql as $$"
        f" begin perform pg_notify('rentgate', '{QUEUED}') from changed where status = 'pending' and holder is null limit 1; return null; end $$"
    )
    op.execute(
        "create trigger announce after insert on webhook_deliveries"
        " for each row execute function announce_webhook_deliveries()"
    )
    op.execute("drop schema jobs cascade")
