"""`rentgate probe`: reads a real account with what costs nothing, and says what the gateway can't read."""

from __future__ import annotations

import asyncio
import sys
from getpass import getpass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.text import Text

from app.cli.probe_text import Line, of_method, of_start, of_summary
from app.cli.terminal import complain, out
from app.probe import METHODS, Choices, MethodReport, ReadingTransport, Session, run
from app.settings import LOOPBACK, Settings
from app.telemetry import configure_logging
from app.telemetry.redaction import hide, without_secrets
from app.upstream.balance import BalanceClient
from app.upstream.scalars import CODE, Unreadable
from app.upstream.transport import Transport

PAUSE_SECONDS = 5.0
LEAST_PAUSE = 4.0
"""The provider wants 4 to 5 s between two calls of an account, and may refuse who is hastier."""

LONGEST_KEY = 1024


def probe(
    context: typer.Context,
    key_file: Annotated[
        Path | None,
        typer.Option(help="The file that holds the account's key; standard input if none.", metavar="FILE"),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="The upstream's rent.php; RENTGATE_UPSTREAM_URL if none.")
    ] = None,
    balance_url: Annotated[
        str | None,
        typer.Option(
            help="The balance's URL; RENTGATE_BALANCE_URL if none, and if --url isn't given either."
        ),
    ] = None,
    country: Annotated[
        str | None,
        typer.Option(help="The upstream's code of the country to ask about.", metavar="CODE"),
    ] = None,
    service: Annotated[
        str | None,
        typer.Option(help="The upstream's code of the service to ask about.", metavar="CODE"),
    ] = None,
    sms: Annotated[
        bool, typer.Option("--sms", help="Read messages even of an order with news; may clear that flag.")
    ] = False,
    pause: Annotated[
        float, typer.Option(help="Seconds between two calls; below 4 only on this machine.", min=0, max=600)
    ] = PAUSE_SECONDS,
) -> None:
    """Read an account with what costs nothing, and say what of it the gateway can't read.

    Prints places, kinds and counts: no key, id, number or text. Exits with 1 on a finding.
    """
    if context.args:  # which are not repeated: one of them may be the key
        raise _wrong("The key is no argument, since everybody on this machine could see it: see --key-file.")
    settings = Settings()
    address = _address("--url", url or settings.upstream_url, checked=url is not None)
    _check_pause(pause, address)
    choices = Choices(_code("--country", country, upper=True), _code("--service", service), any_sms=sms)
    configure_logging("CRITICAL")
    key = _key(key_file)
    hide(key)
    transport = ReadingTransport(address, settings.upstream_timeout)
    session = Session(transport, key, choices, pause)
    # The key goes to no host that wasn't named for it: another upstream's key is none for the default one.
    known_balance_url = settings.balance_url if url is None else None
    balance = _address("--balance-url", balance_url, checked=True) if balance_url else known_balance_url
    if balance:
        to_balance = Transport(balance, settings.upstream_timeout)
        session.balances = BalanceClient(to_balance, observe=session.observe, inspect=True)
    asyncio.run(_probe(session, address))
    if not session.report.good:
        raise typer.Exit(1)


async def _probe(session: Session, address: str) -> None:
    def say(lines: list[Line]) -> None:
        for line in lines:
            out.print(Text(without_secrets(line.text, session.api_key), style=line.style))
        out.file.flush()

    def tell(found: MethodReport) -> None:
        say(of_method(found))

    try:
        say(of_start(address, len(METHODS), session.pause))
        await run(session, METHODS, tell)
        say(of_summary(session.report))
    finally:
        await session.transport.aclose()


def _check_pause(pause: float, address: str) -> None:
    """See that the pause between calls is long enough for an upstream that others use too."""
    least = 0.0 if urlsplit(address).hostname in LOOPBACK else LEAST_PAUSE
    if not pause >= least:  # nor is it so of what is no number
        raise _wrong(f"--pause: has to be {least:g} s at the least with this upstream.")


def _wrong(what: str) -> typer.Exit:
    complain(what)
    return typer.Exit(2)


def _address(option: str, url: str, *, checked: bool) -> str:
    """The URL that is called: one that was given has to keep the key from being read on its way."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise _wrong("The upstream's URL is none: see --url and RENTGATE_UPSTREAM_URL.")
    plain = parts.username is None and not parts.query and not parts.fragment
    safe = parts.scheme == "https" or host in LOOPBACK
    if checked and not (plain and safe):
        raise _wrong(f"{option}: has to be an https URL without user and query, or http on loopback.")
    return url


def _code(option: str, given: str | None, *, upper: bool = False) -> str | None:
    if given is None:
        return None
    try:
        code = CODE.read(given)
    except Unreadable:
        raise _wrong(f"{option}: has to be a code of the upstream, such as RU or opt1.") from None
    return code.upper() if upper else code


def _key(path: Path | None) -> str:
    """The key out of a file, of standard input, or asked for without an echo.

    Nothing of what was read or named is repeated: the key may be where something else was meant.
    """
    source = "Standard input" if path is None else "The key file"
    try:
        if path is None and sys.stdin.isatty():
            written = getpass("Upstream API key: ")  # which says so only once nothing is echoed
        elif path is None:
            written = sys.stdin.buffer.read(LONGEST_KEY + 1).decode("utf-8-sig")
        else:
            with path.open("rb") as file:
                written = file.read(LONGEST_KEY + 1).decode("utf-8-sig")
    except EOFError:
        raise _wrong(f"{source} holds no key: it is empty.") from None
    except OSError as error:
        raise _wrong(f"{source} can't be read ({error.strerror}).") from None
    except ValueError:
        raise _wrong(f"{source} holds no key: it is no text.") from None
    key = written.strip()
    if not key:
        raise _wrong(f"{source} holds no key: it is empty.")
    if len(written) > LONGEST_KEY or len(key.split()) > 1 or not key.isprintable():
        raise _wrong(f"{source} holds no key: a key is one word, alone on its line.")
    return key
