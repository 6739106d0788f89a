"""The embedded Postgres: joined by many, survives a killed user, and ends with its last orderly one."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from app.database.embedded import EmbeddedPostgres
from tests.conftest import PROJECT

USER = """
import sys, time
from pathlib import Path
from app.database.embedded import EmbeddedPostgres
print(EmbeddedPostgres(Path(sys.argv[1]), durable=False).start(), flush=True)
time.sleep(600)
"""


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "data" / "postmaster.pid").read_text().split("\n", 1)[0])


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def user(data_dir: Path) -> subprocess.Popen[str]:
    """A process that uses the server until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(data_dir)], stdout=subprocess.PIPE, text=True, cwd=PROJECT
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("postgresql://")
    return process


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_it_keeps_what_was_written_over_a_stop_and_a_start(data_dir: Path) -> None:
    for attempt in range(2):
        server = EmbeddedPostgres(data_dir, durable=False)
        with psycopg.connect(server.start()) as connection:
            connection.execute("create table if not exists kept (n int)")
            connection.execute("insert into kept values (1)")
            assert connection.execute("select count(*) from kept").fetchone() == (attempt + 1,)
        pid = postmaster(data_dir)
        server.stop()
        assert not alive(pid)


def test_the_last_user_ends_it_and_no_other(data_dir: Path) -> None:
    first, second = EmbeddedPostgres(data_dir, durable=False), EmbeddedPostgres(data_dir, durable=False)
    assert first.start() == second.start()
    pid = postmaster(data_dir)
    first.stop()
    assert alive(pid)
    second.stop()
    assert not alive(pid)


def test_it_survives_a_killed_user_is_found_again_and_ends_in_order(data_dir: Path) -> None:
    process = user(data_dir)
    pid = postmaster(data_dir)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert alive(pid)
    server = EmbeddedPostgres(data_dir, durable=False)
    server.start()
    assert postmaster(data_dir) == pid
    server.stop()
    assert not alive(pid)


def test_it_comes_back_after_the_server_itself_was_killed(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, durable=False)
    server.start()
    os.kill(postmaster(data_dir), signal.SIGKILL)
    again = EmbeddedPostgres(data_dir, durable=False)
    with psycopg.connect(again.start()) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    server.stop()
    again.stop()


def test_a_pid_file_whose_number_belongs_to_another_program_is_no_obstacle(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, durable=False)
    server.start()
    server.stop()
    pid_file = data_dir / "postgres" / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{data_dir}\n1\n5432\n{data_dir}\n\n  1  1\nready\n")
    server.start()
    server.stop()


def test_a_half_made_cluster_is_made_anew(data_dir: Path) -> None:
    (data_dir / "postgres" / "data.new").mkdir(parents=True)
    (data_dir / "postgres" / "data.new" / "PG_VERSION").write_text("18")
    server = EmbeddedPostgres(data_dir, durable=False)
    server.start()
    server.stop()


def test_a_long_path_has_its_socket_elsewhere(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / ("long" * 30), durable=False)
    with psycopg.connect(server.start()) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    server.stop()


def test_it_listens_on_no_port_and_its_password_is_private(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, durable=False)
    with psycopg.connect(server.start()) as connection:
        assert connection.execute("show listen_addresses").fetchone() == ("",)
    password = data_dir / "postgres.password"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"postgresql://postgres:wrong@/postgres?host={data_dir / 'postgres'}")
    server.stop()


def test_stopping_twice_and_without_start_is_nothing(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, durable=False)
    server.stop()
    server.start()
    server.stop()
    server.stop()
