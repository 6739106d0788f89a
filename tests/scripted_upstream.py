"""An upstream that answers verbatim: each method with the body that the test gives it, and nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Parameters = Mapping[str, str]

UNKNOWN_METHOD = {"status": 0, "msg": "Incorrect method"}


class ScriptedUpstream:
    """Use it as a context manager; `url` is that of its rent.php.

    Attributes:
        bodies: by method, what is answered: JSON, bytes to send as they are, or what makes either of the
            call's parameters. Other methods are refused.
        calls: the parameters of each call.
    """

    def __init__(self) -> None:
        self.bodies: dict[str, Any] = {}
        self.calls: list[dict[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/api/rent.php"

    def called(self, method: str) -> list[dict[str, str]]:
        """The parameters of each call of a method, without its name."""
        return [
            {name: value for name, value in call.items() if name != "method"}
            for call in list(self.calls)
            if call["method"] == method
        ]

    def answer(self, parameters: dict[str, str]) -> bytes:
        """The body for a call."""
        self.calls.append(parameters)
        body = self.bodies.get(parameters["method"], UNKNOWN_METHOD)
        if callable(body):
            body = body(parameters)
        return body if isinstance(body, bytes) else json.dumps(body).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = upstream.answer(dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True)))
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Keys stand in the URLs: nothing is logged."""

        return Handler

    def __enter__(self) -> ScriptedUpstream:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
