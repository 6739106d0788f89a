"""A real PgBouncer in transaction mode, in front of the tests' Postgres."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from app.database.embedded import SYSTEM_USER
from tests.ports import free_port

CONFIGURATION = """\
[databases]
{database} = host={host} dbname={database}

[pgbouncer]
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
server_reset_query_always = 0
admin_users = {user}
"""


@dataclass(frozen=True, slots=True)
class Pooler:
    """A running PgBouncer: `url` is the database through it."""

    url: str

    def statistics(self) -> tuple[int, int]:
        """How many transactions it passed on, and on how many server connections it does so."""
        admin = make_url(self.url).set(database="pgbouncer").render_as_string(hide_password=False)
        with psycopg.connect(admin, autocommit=True) as connection:
            cursor = psycopg.ClientCursor(connection)
            database = make_url(self.url).database
            transactions = [row[1] for row in cursor.execute("show stats").fetchall() if row[0] == database]
            servers = [row for row in cursor.execute("show servers").fetchall() if row[2] == database]
            return int(transactions[0]), len(servers)


@contextmanager
def pooled(url: str, log: Path, *, size: int) -> Iterator[Pooler]:
    """PgBouncer before the database of a `postgresql://` URL, with so many connections to it."""
    direct = make_url(url)
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    users = folder / "users"
    users.write_text(f'"{direct.username}" "{direct.password}"\n')
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        CONFIGURATION.format(
            database=direct.database,
            host=direct.query["host"],
            port=port,
            size=size,
            users=users,
            user=direct.username,
        )
    )
    through = direct.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["pgbouncer", str(configuration)], stdout=output, stderr=output, cwd="/", **_not_root(folder)
        )
    try:
        _wait_until_it_answers(process, through, log)
        yield Pooler(through)
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder)


def _not_root(folder: Path) -> dict[str, Any]:
    """PgBouncer refuses to run as root: it then runs as Postgres does, whose socket is its user's alone."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(SYSTEM_USER)
    for path in (folder, *folder.iterdir()):
        os.chown(path, entry.pw_uid, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _wait_until_it_answers(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(log.read_text())
