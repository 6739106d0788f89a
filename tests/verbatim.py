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
Body = bytes | dict[str, Any] | Callable[[Parameters], "bytes | dict[str, Any]"]

UNKNOWN_METHOD = {"status": 0, "msg": "Incorrect method"}


@dataclass(frozen=True, slots=True)
class Call:
    """A call that came in; `at` is a reading of `time.monotonic()`."""

    method: str
    parameters: Parameters
    at: float


@dataclass(slots=True)
class Verbatim:
    """Answers `GET /rent.php` by method. Use it as a context manager; `url` is what the gateway calls.

    Attributes:
        answers: what each method answers: bytes as they are, JSON, or a function of the parameters.
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
                parameters = dict(parse_qsl(urlsplit(self.path).query))
                body = upstream.answer(parameters)
                self.send_response(200)
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

    def answer(self, parameters: Parameters) -> bytes:
        """The body that a call is answered with."""
        method = parameters.pop("method", "")
        self.calls.append(Call(method, parameters, time.monotonic()))
        body = self.answers.get(method, UNKNOWN_METHOD)
        if callable(body):
            body = body(parameters)
        return body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()

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
