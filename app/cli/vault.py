"""`rentgate vault`: rotates the vault's keys, and tells which key wraps what."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.table import Table

from app.cli.terminal import complain, out
from app.cli.wired import with_services
from app.vault.rotation import KindOfRotation, Progress
from app.wiring import Services

WAIT_SECONDS = 1.0

vault_commands = typer.Typer(no_args_is_help=True)


@vault_commands.command("rotate")
def rotate(
    key: Annotated[
        bool, typer.Option("--key", help="Wrap every keyset by the present RENTGATE_VAULT_KEY.")
    ] = False,
    tenants: Annotated[
        bool, typer.Option("--tenants", help="Give every tenant a new keyset, and encrypt its secrets anew.")
    ] = False,
) -> None:
    """Rotate the vault's keys, going on with a rotation that was interrupted.

    Requests are served meanwhile. Should this command be stopped, the worker goes on; run it again to watch.
    """
    if key == tenants:
        complain("Say what to rotate: --key or --tenants.")
        raise typer.Exit(2)
    kind: KindOfRotation = "key" if key else "tenants"
    ended = with_services(lambda built: _rotate(built, kind))
    out.print(_line(ended))
    if ended.failed:
        complain(
            f"{ended.failed} keysets can't be opened by any key that is set.",
            "Add the key that wrapped them to RENTGATE_VAULT_OLD_KEYS; `rentgate vault status` names it.",
        )
        raise typer.Exit(1)


@vault_commands.command("status")
def status() -> None:
    """Tell how many keysets each key wraps, and how far rotations have come."""

    async def work(built: Services) -> Table:
        current = built.keyring.homes.current.name
        table = Table("keysets", "wrapped by", "")
        for name, count in await built.rotations.keysets_by_key():
            table.add_row(
                str(count), name or "not noted (an earlier release)", "current" if name == current else ""
            )
        for progress in await built.rotations.latest():
            out.print(_line(progress))
        return table

    out.print(with_services(work))


async def _rotate(built: Services, kind: KindOfRotation) -> Progress:
    """Start or resume a rotation and take it to its end, waiting where another process holds it."""
    started = await built.rotations.start(kind)
    while True:
        if not await built.rotations.step():
            await asyncio.sleep(WAIT_SECONDS)
        found = next(each for each in await built.rotations.latest() if each.id == started.id)
        if found.finished_at is not None:
            return found


def _line(progress: Progress) -> str:
    what = "vault key" if progress.kind == "key" else "tenants' keysets"
    state = "running" if progress.finished_at is None else f"finished {progress.finished_at:%Y-%m-%d %H:%M}"
    return (
        f"rotation of the {what}: {progress.done} of {progress.total} done, {progress.failed} failed; {state}"
    )
