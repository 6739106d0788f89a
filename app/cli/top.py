"""`rentgate top`: accounts, pace, open operations and webhooks as they are now, renewed while one looks."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.accounts.balances import is_low
from app.accounts.overview import Account
from app.accounts.pace import Allowance
from app.cli.servers import stop_on_signals
from app.cli.terminal import out
from app.cli.wired import with_services
from app.errors import DatabaseUnavailable
from app.operations.states import State
from app.overview import Overview, overview
from app.values import amount_text
from app.wiring import Services

REFRESH_SECONDS = 2.0
WIDEST_NAME = 24
NOTHING = "-"


def top(
    once: Annotated[bool, typer.Option("--once", help="Print it once, as plain text, and end.")] = False,
    limit: Annotated[int, typer.Option(help="How many accounts to show.", min=1, max=1000)] = 50,
) -> None:
    """Show accounts, pace, open operations and webhooks as they are now; ends on Ctrl-C."""

    async def work(built: Services) -> None:
        if once:
            out.print(shown(await overview(built.database, built.pace, limit)))
        else:
            await _watch(built, limit)

    with_services(work, log_level="CRITICAL")


async def _watch(built: Services, limit: int) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    latest = await overview(built.database, built.pace, limit)
    with Live(shown(latest), console=out, screen=True, auto_refresh=False) as live:
        while not stop.is_set():
            try:
                async with asyncio.timeout(REFRESH_SECONDS):
                    await stop.wait()
            except TimeoutError:
                note = ""
                try:
                    latest = await overview(built.database, built.pace, limit)
                except DatabaseUnavailable as error:
                    note = f"not renewed: {error.detail}"
                live.update(shown(latest, note), refresh=True)


def shown(seen: Overview, note: str = "") -> RenderableType:
    """An overview as plain words and numbers, in columns; times are seconds."""
    parts: list[RenderableType] = [_sums(seen), "", _accounts(seen)]
    if note:
        parts.insert(0, Text(note, style="bold red"))
    if seen.more:
        parts.append("There are more accounts: see --limit.")
    return Group(*parts)


def _sums(seen: Overview) -> Table:
    """What is counted over all tenants, and for how long the oldest of it has been so."""
    table = _table("", "count", "oldest")
    table.add_row("looks late", str(seen.lag.accounts), _seconds(seen.lag.longest_seconds))
    table.add_row("looks late, together", NOTHING, _seconds(seen.lag.seconds))
    for state, standing in seen.operations.items():
        style = "bold red" if state is State.REVIEW and standing.count else None
        age = _seconds(standing.oldest_seconds if standing.count else None)
        table.add_row(f"operations {state.value}", str(standing.count), age, style=style)
    queue = seen.webhooks
    table.add_row("webhook deliveries pending", str(queue.pending), NOTHING)
    table.add_row("webhook deliveries late", str(queue.due), _seconds(queue.oldest_due_seconds))
    table.add_row("webhook endpoints disabled", str(queue.disabled), NOTHING)
    table.add_row("pace left, all accounts", _allowance(seen.pace.get(None)), NOTHING)
    return table


def _accounts(seen: Overview) -> Table:
    table = _table(
        "account",
        "tenant",
        "label",
        "status",
        "rentals",
        "last look",
        "next look",
        "lag",
        "back-off",
        "health",
        "balance",
        "pace left",
    )
    for account in seen.accounts:
        late = account.watched and account.due_in < 0
        table.add_row(
            str(account.id),
            Text(account.tenant),
            Text(account.label),
            account.status,
            str(seen.living.get(account.id, 0)),
            _seconds(account.seen_ago),
            _next_look(account),
            _seconds(-account.due_in if late else 0.0),
            f"{account.failures} {account.error_code}" if account.failures else NOTHING,
            _health(account),
            _balance(account),
            _allowance(seen.pace.get(account.id)),
        )
    return table


def _health(account: Account) -> RenderableType:
    """The status, and what can't be read: the upstream's method, and the field if it is one."""
    problem = account.health.worst
    if problem is None:
        return account.health.status.value
    where = problem.method if problem.field is None else f"{problem.method} {problem.field}"
    return Text(f"{account.health.status.value}: {where}", style="bold red")


def _balance(account: Account) -> RenderableType:
    """US dollars, and the mark where they are below it."""
    if account.balance is None:
        return NOTHING
    shown = amount_text(account.balance)
    if not is_low(account.balance, account.low_balance_below) or account.low_balance_below is None:
        return shown
    return Text(f"{shown} < {amount_text(account.low_balance_below)}", style="bold red")


def _next_look(account: Account) -> str:
    return _seconds(max(0.0, account.due_in)) if account.watched else "none"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        widest = WIDEST_NAME if name in ("tenant", "label") else None
        # On a narrow terminal the ids are broken first: they are the widest, and the least to look at.
        table.add_column(name, no_wrap=name != "account", max_width=widest)
    return table


def _seconds(seconds: float | None) -> str:
    return NOTHING if seconds is None else f"{seconds:.1f}"


def _allowance(allowance: Allowance | None) -> str:
    return "no limit" if allowance is None else f"{allowance.left:.1f}/{allowance.burst:g}"
