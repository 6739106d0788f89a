"""`rentgate serve`, `worker`, `migrate`, `sandbox` and `openapi`."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import nullcontext
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from app.api.openapi import rendered
from app.cli.servers import GRACE_SECONDS, bound, held, run_to_end, server, stop_on_signals
from app.cli.terminal import complain, out
from app.main import WORKER_SWITCH, close_waiting, create_app
from app.migrate import database_urls, head, migrate_database
from app.sandbox import SandboxOptions, create_sandbox
from app.sandbox.options import Shape
from app.settings import Settings
from app.telemetry import configure_logging, traces
from app.wiring import services, vault_homes, warn_of_local_vault_key
from app.worker import Worker

Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(help="The port to listen on.", min=0, max=65535)]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Annotated[int, typer.Option(help="How many processes serve.", min=1)] = 1,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Leave the background to others.")] = False,
) -> None:
    """Serve the API, and run the background worker with it unless told not to."""
    settings = Settings()
    vault_homes(settings)  # a vault key that can't be used is better said now than at each request
    listener = bound(host, port)
    configure_logging(settings.log_level)
    warn_of_local_vault_key(settings)
    with held(database_urls(settings)):  # one that is refused is better said in words than by each process
        if workers == 1:
            run_to_end(_serve(settings, listener, with_worker=not no_worker))
            return
        listener.close()
        _serve_with(workers, host, port, no_worker=no_worker)


def _serve_with(workers: int, host: str, port: int, *, no_worker: bool) -> None:
    if no_worker:
        os.environ[WORKER_SWITCH] = "1"
    uvicorn.run(
        "app.main:app_from_environment",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


async def _serve(settings: Settings, listener: object, *, with_worker: bool) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    app = create_app(settings, with_worker=with_worker)
    gateway = server(app)
    serving = asyncio.ensure_future(gateway.serve(sockets=[listener]))  # type: ignore[list-item]
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    close_waiting(app)
    gateway.should_exit = True
    stopping.cancel()
    await serving
    if not gateway.started:
        sys.exit(1)


def worker(
    metrics_port: Annotated[
        int | None, typer.Option(help="The port to give metrics on; none if not set.", min=1, max=65535)
    ] = None,
    metrics_host: Annotated[str, typer.Option(help="The address to give metrics on.")] = "127.0.0.1",
) -> None:
    """Run the background worker alone; any number of them, on any number of machines."""
    settings = Settings()
    configure_logging(settings.log_level)
    warn_of_local_vault_key(settings)

    async def work() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop)
        async with (
            traces.exporting(),
            database_urls(settings) as urls,
            services(settings, urls.app) as built,
        ):
            with built.metrics.serving(metrics_host, metrics_port) if metrics_port else nullcontext():
                await Worker(built).run(stop)

    if metrics_port:
        bound(metrics_host, metrics_port).close()  # a port that is taken is better said at once
    run_to_end(work())


def migrate() -> None:
    """Make the database's roles and bring it to the newest migration; safe to run again."""
    settings = Settings()

    async def run() -> None:
        async with database_urls(settings) as urls:
            await asyncio.to_thread(migrate_database, urls)

    run_to_end(run())
    out.print(f"The database is at migration {head()}.")


def sandbox(
    host: Host = "127.0.0.1",
    port: Port = 8001,
    account: Annotated[
        list[str] | None, typer.Option(help="An account as KEY=BALANCE; may be given several times.")
    ] = None,
    activation_seconds: Annotated[float, typer.Option(help="Until a number is active.", min=0)] = 5.0,
    sms_seconds: Annotated[float, typer.Option(help="From then until an SMS comes; 0: never.", min=0)] = 8.0,
    shape: Annotated[Shape, typer.Option(help="The form of the answers.")] = Shape.TODAY,
) -> None:
    """Run the sandbox upstream alone: on the provider's own paths, its controls under /control."""
    options = SandboxOptions(
        accounts=_accounts(account or ["sandbox=1000"]),
        activation_seconds=activation_seconds,
        sms_seconds=sms_seconds,
        shape=shape,
    )
    listener = bound(host, port)
    out.print(
        f"Sandbox upstream: http://{host}:{listener.getsockname()[1]}/api/rent.php (controls: /control/docs)"
    )

    async def run() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop)
        upstream = server(create_sandbox(options), grace=1)
        serving = asyncio.ensure_future(upstream.serve(sockets=[listener]))
        await stop.wait()
        upstream.should_exit = True
        await serving

    run_to_end(run())


def _accounts(given: list[str]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for text in given:
        key, _, balance = text.rpartition("=")
        try:
            found[key] = Decimal(balance)
        except InvalidOperation:
            key = ""
        if not key:
            complain("--account takes KEY=BALANCE, such as --account test-key=100")
            raise typer.Exit(2)
    return found


def openapi(
    output: Annotated[
        Path | None, typer.Option(help="The file to write to; standard output if none.")
    ] = None,
) -> None:
    """Write the OpenAPI document."""
    text = rendered(create_app(Settings(_env_file=None)))
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, "utf-8")
