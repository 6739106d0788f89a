"""`rentgate probe` as its users start it: what it prints, what it ends with, and what it never shows."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.sandbox import SandboxOptions
from app.sandbox.options import Shape
from tests.conftest import PROJECT
from tests.good_answers import ARCHIVED, GOOD, OFFER, ORDER, QUOTE, WHEN, success
from tests.processes import done
from tests.served import ServedSandbox
from tests.verbatim import Verbatim

KEY = "probekey-9f3ac1d2e4b5a697"
COMMAND = [sys.executable, "-m", "app.cli", "probe"]
Done = subprocess.CompletedProcess[str]


def environment(**settings: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RENTGATE_")}
    nowhere = {"RENTGATE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    return {**inherited, **nowhere, "RENTGATE_UPSTREAM_TIMEOUT": "2", **settings}


def probe(*arguments: str, key: bytes = f"{KEY}\n".encode(), url: str | None = None, **settings: str) -> Done:
    """Run the command with the key in a file, and with nothing on its standard input."""
    at = {} if url is None else {"RENTGATE_UPSTREAM_URL": url}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "key"
        file.write_bytes(key)
        given = () if "--key-file" in arguments else ("--key-file", str(file))
        return done(("probe", *given, *arguments), environment(**at, **settings), Path(folder))


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[ServedSandbox]:
    with ServedSandbox(SandboxOptions(shape=request.param, sms_seconds=0)) as served:
        served.add_account(KEY, Decimal(100))
        for days in (1, 2, 30, 30):
            order = {"api_key": KEY, "country": "UK", "service": "opt20", "days": days}
            assert httpx.post(f"{served.base}/control/orders", json=order).status_code == 201
        served.sandbox.world.age(3 * 86_400)
        yield served


@pytest.mark.parametrize("served", list(Shape), indirect=True)
def test_the_sandbox_is_read_in_every_form(served: ServedSandbox) -> None:
    told = probe("--url", served.url, "--pause", "0", key=f"\ufeff{KEY}\r\n".encode())
    assert told.stderr == ""
    for method in ("orders", "sms", "get_rent_history", "restore_user_precalc"):
        assert f"\n{method} (with the key)\n" in told.stdout
    for method in ("getcountries", "getdata", "get_count_multi", "get_days_canada_paypal"):
        assert f"\n{method} (without the key)\n" in told.stdout
    assert "  data[].lastonline " in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 80
    world = served.sandbox.world
    secrets = [KEY, "message"]
    for order in (*world.living.values(), *world.archive.values()):
        secrets += [str(order.id), order.number.national]
    assert [secret for secret in secrets if secret in told.stdout] == []
    assert world.ledger == []


def test_an_upstream_as_expected_is_told_and_ends_with_0() -> None:
    with Verbatim(dict(GOOD)) as upstream:
        told = probe("--pause", "0", url=upstream.url)
        assert (told.returncode, told.stderr) == (0, "")
        assert {call.method for call in upstream.calls} == set(GOOD)
        assert all(call.parameters.get("apikey", KEY) == KEY for call in upstream.calls)
    assert "nothing would be set aside" in told.stdout
    assert "set aside\n" not in told.stdout
    unused = told.stdout.partition("There, and not used:")[2].partition("\n\n")[0]
    assert "getdata: data.totalAmount, data.services[].procent_days" in unused
    assert "\x1b" not in told.stdout
    assert not set("│─┌┐└┘|") & set(told.stdout)


def test_what_would_be_set_aside_is_told_with_what_follows_and_ends_with_1() -> None:
    rows = [
        ORDER,
        {**ORDER, "id": "?", "until": "2026-01-20 09:47:53"},
        {**ORDER, "id": 40302, "state": "on"},
    ]
    with Verbatim({**GOOD, "orders": success(rows)}) as upstream:
        told = probe("--pause", "0", url=upstream.url)
    assert told.returncode == 1
    summary = told.stdout.partition("\nSummary\n")[2]
    aside = summary.partition("Would be set aside:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.strip() for line in aside] == [
        "orders data[].id: text, 1 time",
        "orders data[].until: text like a date, 1 time",
        "orders data[].state: text, 1 time",
    ]
    follows = " ".join(summary.partition("What follows from it:")[2].split())
    assert "no rental would be closed by it" in follows
    assert "read: 3 rows, incomplete" in told.stdout


CANARY_NUMBERS = ("79161230001", "9161230002", "791612300037", "8812340004", "4815162342")
CANARY_TEXTS = ("Your secret code is ruby", "Bobsender", "Alicename", "Kolibri operator", "Zebraword")


@pytest.mark.parametrize("place", ["values", "names", "refusals", "pages", "statuses", "keyed"])
def test_nothing_of_any_value_is_shown(place: str) -> None:
    """Canaries wherever the upstream can put one: none of them comes out."""
    odd: dict[Any, Any] = {text: text for text in (*CANARY_NUMBERS, *CANARY_TEXTS[:1], KEY, f"x {KEY}")}
    values = [*CANARY_NUMBERS, *map(int, CANARY_NUMBERS), *CANARY_TEXTS, KEY, [KEY], {KEY: KEY}]

    def of(method: str, row: dict[str, Any]) -> Any:
        match place:
            case "values":
                rows = [{**row, **dict.fromkeys(row, value)} for value in values]
                rows += [{**row, name: value} for name in row for value in values]
                return success(rows, msg=KEY)
            case "names":
                return success([{**row, **odd}], **{KEY: 1, CANARY_NUMBERS[0]: 2})
            case "refusals":
                said = "NOREMOTEDATA: " if method == "restore_user_precalc" else ""
                return {"status": 0, "msg": said + " ".join((KEY, *CANARY_NUMBERS, *CANARY_TEXTS))}
            case "pages":
                return f"<html>{' '.join((KEY, *CANARY_NUMBERS, *CANARY_TEXTS))}</html>".encode()
            case "statuses":
                return (503, " ".join((KEY, *CANARY_NUMBERS)).encode())
            case _:
                return success({name: {**row, **odd} for name in (*CANARY_NUMBERS, KEY)})

    rows: dict[str, dict[str, Any]] = {
        "getcountries": {"name": "A", "code": "RU"},
        "orders": ORDER,
        "get_rent_history": ARCHIVED,
        "sms": {"text": "x", "sender": "x", "date": WHEN},
        "restore_user_precalc": QUOTE,
        "getdata": OFFER,
    }
    answers = {method: of(method, rows.get(method, OFFER)) for method in GOOD}
    if place in ("refusals", "pages", "statuses"):  # else there would be nothing to ask these for
        answers |= {method: GOOD[method] for method in ("getcountries", "orders", "get_rent_history")}
    with Verbatim(dict(answers)) as upstream:
        told = probe("--pause", "0", "--sms", url=upstream.url, RENTGATE_LOG_LEVEL="DEBUG")
    assert told.returncode == 1, told.stdout + told.stderr
    assert "\nSummary\n" in told.stdout
    assert told.stderr == ""
    shapes = [KEY, KEY[:12], KEY[-8:], *CANARY_NUMBERS, *CANARY_TEXTS]
    assert [canary for canary in shapes if canary.casefold() in told.stdout.casefold()] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--key-file", f"/nowhere/{KEY}"),
        ("--key-file", "."),
        (KEY,),
        ("--country", f"{KEY} !"),
        ("--url", f"http://smspva.example/rent.php?apikey={KEY}"),
        ("--url", f"https://user:{KEY}@smspva.example/rent.php"),
        ("--url", "http://smspva.example/rent.php"),
        ("--url", f"{KEY}"),
        ("--url", "https://smspva.example/rent.php", "--pause", "3.9"),
        ("--url", "https://smspva.example/rent.php", "--pause", "nan"),
        ("--pause", "-1"),
        ("--pause", "nan"),
        ("--key", KEY),
    ],
)
def test_wrong_use_ends_with_2_and_repeats_no_key(arguments: tuple[str, ...]) -> None:
    _is_wrong_use(probe(*arguments, url="http://127.0.0.1:1/rent.php"))


@pytest.mark.parametrize(
    "key",
    [b"", b" \n", b"\xff\xfe\x00", f"{KEY}\n{KEY}".encode(), f"apikey = {KEY}".encode(), KEY.encode() * 100],
    ids=["empty", "blank", "no text", "two", "a setting", "long"],
)
def test_a_file_that_holds_no_key_is_wrong_use(key: bytes) -> None:
    _is_wrong_use(probe(key=key, url="http://127.0.0.1:1/rent.php"))


def _is_wrong_use(told: Done) -> None:
    assert told.returncode == 2, told.stdout + told.stderr
    assert told.stdout == ""
    assert "Traceback" not in told.stderr
    assert KEY not in told.stderr


def test_the_key_comes_on_standard_input_and_is_in_no_list_of_processes() -> None:
    with Verbatim(dict(GOOD)) as upstream:
        process = subprocess.Popen(
            [*COMMAND, "--pause", "0", "--url", upstream.url],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
        )
        started = Path(f"/proc/{process.pid}")
        told = (started / "cmdline").read_bytes() + (started / "environ").read_bytes()
        shown, _ = process.communicate(KEY, timeout=60)
        assert process.returncode == 0, shown
        assert {call.parameters.get("apikey", KEY) for call in upstream.calls} == {KEY}
    assert KEY not in shown
    assert KEY.encode() not in told


def test_on_a_terminal_the_key_is_asked_for_without_an_echo() -> None:
    ours, theirs = pty.openpty()
    with Verbatim(dict(GOOD)) as upstream:
        process = subprocess.Popen(
            [*COMMAND, "--pause", "0", "--url", upstream.url],
            env=environment(),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=PROJECT,
            start_new_session=True,
        )
        os.close(theirs)
        try:
            shown = _read_until(ours, "Upstream API key: ")
            os.write(ours, f"{KEY}\n".encode())
            shown += _read_until(ours, "nothing would be set aside")
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait(30)
            os.close(ours)
        assert {call.parameters.get("apikey", KEY) for call in upstream.calls} == {KEY}
    assert KEY not in shown


def _read_until(terminal: int, words: str) -> str:
    """What a terminal shows until it shows some words."""
    text = ""
    while words not in text:
        assert select.select([terminal], [], [], 30)[0], text
        text += os.read(terminal, 65_536).decode("utf-8", "replace")
    return text
