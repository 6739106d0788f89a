"""An upstream that answers just what a test gives it and keeps no state, so nothing of ours is in it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Parameters = dict[str, str]
Body = bytes | dict[str, Any] | tuple[int, bytes] | list[Any] | Callable[[Parameters], Any]

UNKNOWN_METHOD = {"status": 0, "msg": "Incorrect method"}


@dataclass(frozen=True, slots=True)
class Call:
    """A call that came in; `at` is a reading of `time.monotonic()`."""

    method: str
    parameters: Parameters
    at: float


@dataclass(slots=True)
class Verbatim:
    """Answers `GET /rent.php` by method, and `GET /activation/balance` as the method `balance`. Use it as a
    context manager; `url` is what the gateway calls.

    Attributes:
        answers: what each method answers: bytes as they are, JSON, a status with bytes, or a function of the
            parameters that gives one of these. Of a list each call takes the next, and the last stays.
        calls: what was called, in order.
    """

    answers: dict[str, Body] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    _server: ThreadingHTTPServer = field(init=False)
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                parameters = dict(parse_qsl(url.query))
                if url.path == "/activation/balance":
                    parameters |= {"method": "balance", "apikey": self.headers.get("apikey", "")}
                status, body = upstream.answer(parameters)
                self.send_response(status)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Where its rent.php is."""
        return f"http://127.0.0.1:{self._server.server_port}/rent.php"

    @property
    def balance_url(self) -> str:
        """Where its balance is."""
        return f"http://127.0.0.1:{self._server.server_port}/activation/balance"

    def answer(self, parameters: Parameters) -> tuple[int, bytes]:
        """The status and the body that a call is answered with."""
        method = parameters.pop("method", "")
        self.calls.append(Call(method, parameters, time.monotonic()))
        body = self.answers.get(method, UNKNOWN_METHOD)
        if isinstance(body, list):
            body = body.pop(0) if len(body) > 1 else body[0]
        given: Any = body(parameters) if callable(body) else body
        status, content = given if isinstance(given, tuple) else (200, given)
        return status, content if isinstance(content, bytes) else json.dumps(
            content, ensure_ascii=False
        ).encode()

    def of(self, method: str) -> list[Call]:
        """The calls of a method."""
        return [call for call in self.calls if call.method == method]

    def __enter__(self) -> Verbatim:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
