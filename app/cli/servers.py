"""HTTP servers in one event loop, stopped by us rather than by their own signal handlers."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI
from uvicorn.loops.auto import auto_loop_factory

from app.errors import RentgateError

T = TypeVar("T")

GRACE_SECONDS = 60
"""How long requests that are under way may take to end when the server stops."""


class PortTaken(RentgateError):
    """Another program listens on this port."""

    title = "The port is taken"


class Server(uvicorn.Server):
    """A server that leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def server(app: FastAPI, *, grace: int = GRACE_SECONDS) -> Server:
    """A server for an application; run it with `serve(sockets=[bound(…)])`."""
    return Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=grace
        )
    )


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens on a port; 0 takes a free one.

    Raises:
        PortTaken: another program has it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, so that asyncio turns off Nagle's algorithm: else each answer waits for a delayed ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"{host}:{port} can't be listened on ({error.strerror}). Is another rentgate running?"
            " Choose another port with --port (or PORT= for make)."
        ) from None
    listener.listen(2048)
    return listener


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set `stop` when the process is asked to end."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)


@contextlib.contextmanager
def held(resource: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Hold something that is entered asynchronously around work that runs event loops of its own."""
    with asyncio.Runner() as runner:
        entered = runner.run(_entered(resource))
        try:
            yield entered
        finally:
            runner.run(_left(resource))


async def _entered(resource: AbstractAsyncContextManager[T]) -> T:
    return await resource.__aenter__()


async def _left(resource: AbstractAsyncContextManager[Any]) -> None:
    await resource.__aexit__(None, None, None)


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a process's work to its end, on the event loop that the HTTP server's own processes take too."""
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        return runner.run(work)
