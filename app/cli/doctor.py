"""`rentgate doctor`: checks settings, database, vault, upstream, Redis and issuer, and says what to mend."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import sqlalchemy as sa
import typer
from limits import RateLimitItemPerMinute
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import health_records
from app.accounts.health import HealthStatus
from app.api.windows import Windows
from app.cli.terminal import out
from app.cli.wired import transact
from app.database import WORKER, Access, Role
from app.errors import DatabaseUnavailable, NotReady, RentgateError, UpstreamBadResponse
from app.migrate import MigrationRefused, database_urls, mismatch
from app.settings import Settings
from app.telemetry import configure_logging
from app.wiring import Services, services, token_issuer


def doctor() -> None:
    """Check the settings, the database, the vault, the upstream and so on, and say what to mend."""
    settings = Settings()
    configure_logging("CRITICAL")
    if not asyncio.run(_examine(settings)):
        raise typer.Exit(1)


REMEDIES = {
    "migrations": 'See "Upgrading" in docs/running.md.',
    "database": "Check host, port, user and password in RENTGATE_DATABASE_URL, and that Postgres runs there.",
    "upstream": "Check RENTGATE_UPSTREAM_URL, and that this machine reaches it.",
    "accounts": "See `rentgate top` for which and what, and read one of them with `rentgate probe`.",
    "balance": "Check RENTGATE_BALANCE_URL, and that this machine reaches its host; all else works without.",
}
"""What to do where the error itself, which is made for callers of the API, advises to wait."""


async def _examine(settings: Settings) -> bool:
    checks: list[tuple[str, Callable[[Services], Awaitable[str]]]] = [
        ("database", _database),
        ("migrations", _migrations),
        ("least privilege", _privileges),
        ("vault", _vault),
        ("upstream", _upstream),
        ("accounts", _accounts),
        ("balance", _balance),
        ("redis", _redis),
        ("issuer", _issuer),
    ]
    good = True
    try:
        async with database_urls(settings) as urls, services(settings, urls.app) as built:
            _say("settings", _settings(settings))
            for name, check in checks:
                try:
                    _say(name, await check(built))
                except DatabaseUnavailable as error:
                    _say(name, error.detail, remedy=REMEDIES["database"])
                    return False  # of all that follows nothing could be told
                except RentgateError as error:
                    good = False
                    _say(name, error.detail, remedy=REMEDIES.get(name, error.remedy))
    except MigrationRefused as error:
        good = False
        _say("migrations", error.detail, remedy=REMEDIES["migrations"])
    except RentgateError as error:
        good = False
        _say("settings", error.detail, remedy=error.remedy or "See .env.example for every setting.")
    return good


def _say(name: str, text: str, *, remedy: str | None = None) -> None:
    mark = "[green]ok[/]  " if remedy is None else "[bold red]bad[/] "
    out.print(f"{mark} [bold]{name}[/]: {text}")
    if remedy:
        out.print(f"     to mend: {remedy}", markup=False)


def _settings(settings: Settings) -> str:
    where = "an own database" if settings.database_url else f"the embedded Postgres in {settings.data_dir}"
    admin = "an admin token" if settings.admin_token else "no admin token (administration by shell only)"
    return f"{where}, {admin}"


async def _database(built: Services) -> str:
    await built.database.ping()
    return "it answers, and the gateway's roles are there"


async def _migrations(built: Services) -> str:
    found = await built.database.revision()
    if wrong := mismatch(found):
        raise NotReady(wrong)
    return f"at {found}, the newest"


async def _privileges(built: Services) -> str:
    query = sa.text("select rolsuper or rolbypassrls from pg_roles where rolname = session_user")
    if await transact(built.database, Access(Role.APP), AsyncConnection.scalar, query):
        raise NotReady("The login passes row-level security: use one without SUPERUSER and BYPASSRLS.")
    return "the login can't pass row-level security"


async def _vault(built: Services) -> str:
    await built.keyring.check(built.database)
    return "it opens with this vault key"


async def _upstream(built: Services) -> str:
    countries = await built.calls.read_keyless(
        "getcountries", lambda client: client.get_countries(), caller=None
    )
    return f"it answers, with {len(countries)} countries"


async def _accounts(built: Services) -> str:
    found = await transact(built.database, WORKER, health_records.by_status)
    told = ", ".join(f"{count} {status}" for status, count in found.items())
    if found[HealthStatus.FAILING]:
        raise UpstreamBadResponse(f"{told}: the orders of some can't be read.")
    return told


async def _balance(built: Services) -> str:
    settings = built.settings
    if built.balances is None:
        return "RENTGATE_BALANCE_URL is empty, so no balance is read"
    host, upstream = (urlsplit(url).hostname for url in (settings.balance_url or "", settings.upstream_url))
    which = "the upstream's own host" if host == upstream else "another host than the upstream's"
    return f"{host}, {which}, is reached; asked without a key: {await built.balances.client.reach()}"


async def _redis(built: Services) -> str:
    if built.settings.redis_url is None:
        return "none is set, so each process counts rate limits for itself"
    windows = Windows(built.settings.redis_url.get_secret_value())
    try:
        await windows.hit(RateLimitItemPerMinute(1), "doctor")
        if windows.away:
            raise NotReady(
                "It does not answer, so each process counts rate limits for itself: check the URL."
            )
    finally:
        await windows.aclose()
    return "it answers, and rate limits are counted in it"


async def _issuer(built: Services) -> str:
    issuer = token_issuer(built.settings)
    if issuer is None:
        return "none is set, so services call with API keys"
    try:
        return f"it publishes {await issuer.check()} keys that may sign tokens"
    finally:
        await issuer.aclose()
