"""`rentgate top`: once as plain text, and live on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

from tests.acceptance.conftest import ADMIN_TOKEN, QUICK, running_gateway
from tests.acceptance.tenant import Tenant, eventually, ok
from tests.balance_server import BalanceServer, Reply
from tests.conftest import PROJECT
from tests.processes import done
from tests.served import ServedSandbox

COMMAND = [sys.executable, "-m", "app.cli", "top"]
PACE = {"RENTGATE_UPSTREAM_RATE": "0.001", "RENTGATE_UPSTREAM_BURST": "5000"}


def environment(settings: dict[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RENTGATE_")}
    return {**inherited, **QUICK, **PACE, **settings, "TERM": "xterm", "COLUMNS": "200"}


def once(settings: dict[str, str], folder: Path, *arguments: str) -> str:
    ended = done(("top", "--once", *arguments), environment(settings), folder)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def line_of(text: str, start: str) -> list[str]:
    """The words after a line's name, or after an account's id."""
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return line.removeprefix(start).split()


def test_once_tells_how_all_stands_and_no_secret(
    settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    with (
        BalanceServer(lambda _: Reply.balance("18.45")) as balances,
        running_gateway(tmp_path / "log", **settings, **PACE, RENTGATE_BALANCE_URL=balances.url) as gateway,
    ):
        with gateway.client(ADMIN_TOKEN) as admin:
            tenant = Tenant.create(gateway.client, admin, sandbox, name="[bold]A  [/x]")
            key = f"/tenants/{tenant.id}/upstream-keys/{tenant.upstream_key_id}"
            eventually(lambda: ok(tenant.http.get(key))["balance"], bool)
            hook = {"url": "https://one.example/hook", "events": ["*"]}
            webhook = ok(tenant.http.post("/webhooks", json=hook), 201)
            ok(tenant.http.patch(f"/webhooks/{webhook['id']}", json={"status": "disabled"}))
            tenant.in_review()
            tenant.rent()
            text = once(settings, tmp_path)
            for name in ("queued", "sent", "unknown"):
                assert line_of(text, f"operations {name}") == ["0", "-"]
            assert line_of(text, "operations review")[0] == "1"
            assert float(line_of(text, "operations review")[1]) > 0
            assert line_of(text, "webhook endpoints disabled")[0] == "1"
            assert line_of(text, "pace left, all accounts")[:2] == ["no", "limit"]
            account = line_of(text, tenant.upstream_key_id)
            assert account[:5] == ["[bold]A", "[/x]", "sandbox", "active", "3"]
            assert account[-2] == "18.45"
            ok(tenant.http.patch(key, json={"low_balance_below": "20"}))
            assert line_of(once(settings, tmp_path), tenant.upstream_key_id)[-4:-1] == ["18.45", "<", "20.00"]
            left, burst = account[-1].split("/")
            assert 0 < float(left) < float(burst) == 5000
            for secret in (tenant.upstream_key, tenant.token, ADMIN_TOKEN, webhook["secret"]):
                assert secret not in text
            tenant.close()
            assert tenant.upstream_key_id not in once(settings, tmp_path)


def test_looks_that_nobody_makes_are_late(
    settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    with running_gateway(tmp_path / "log", "--no-worker", **settings) as gateway:
        with gateway.client(ADMIN_TOKEN) as admin:
            first, second = (Tenant.create(gateway.client, admin, sandbox) for _ in range(2))
            text = once(settings, tmp_path)
            assert line_of(text, "looks late ")[0] == "2"
            together, longest = line_of(text, "looks late, together")[1], line_of(text, "looks late ")[1]
            assert float(together) > float(longest) > 0
            assert float(line_of(text, first.upstream_key_id)[-5]) > 0
            assert text.index(first.upstream_key_id) < text.index(second.upstream_key_id)
            short = once(settings, tmp_path, "--limit", "1")
            assert second.upstream_key_id not in short
            assert "There are more accounts" in short


def test_live_it_is_renewed_until_ctrl_c(
    settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    with running_gateway(tmp_path / "log", **settings) as gateway, gateway.client(ADMIN_TOKEN) as admin:
        screen = _Screen(environment(settings))
        try:
            eventually(lambda: screen.text, lambda text: "operations queued" in text)
            tenant = Tenant.create(gateway.client, admin, sandbox)
            eventually(lambda: screen.text, lambda text: tenant.upstream_key_id in text)
            screen.process.send_signal(signal.SIGINT)
            assert screen.process.wait(30) == 0
            tenant.close()
        finally:
            screen.close()


class _Screen:
    """A terminal of 200 columns that the command runs on; `text` is all that was ever written to it."""

    def __init__(self, given: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self.process = subprocess.Popen(
            COMMAND, env=given, stdin=theirs, stdout=theirs, stderr=theirs, cwd=PROJECT
        )
        os.close(theirs)
        self.text = ""
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        try:
            while block := os.read(self._ours, 65_536):
                self.text += block.decode("utf-8", "replace")
        except OSError:
            return  # the command has ended, and with it the terminal's other side

    def close(self) -> None:
        """End the command if it still runs, and the terminal."""
        self.process.kill()
        self.process.wait(30)
        self._reading.join(30)
        os.close(self._ours)
