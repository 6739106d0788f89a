"""The provider's other host as its pages describe it: answers to `GET /activation/balance`, word for word."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered: a status and a body, after some seconds."""

    body: bytes
    status: int = 200
    after: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def balance(cls, amount: Any) -> Reply:
        """The documented answer, with an amount as text or as a number."""
        return cls(json.dumps({"statusCode": 200, "data": {"balance": amount}}).encode())


UNKNOWN_KEY = Reply(b'{"statusCode":401,"error":{"type":"Unauthorized","description":"Invalid apikey"}}', 401)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as it came; `at` is a reading of `time.monotonic()`."""

    path: str
    headers: dict[str, str]
    at: float


class BalanceServer:
    """Use it as a context manager; `replies` holds what each key is answered, and may change at any time; any
    other key is answered as `otherwise` says.
    """

    def __init__(self, otherwise: Callable[[Asked], Reply] = lambda _: UNKNOWN_KEY) -> None:
        self._otherwise = otherwise
        self.replies: dict[str, Reply] = {}
        self.asked: list[Asked] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/activation/balance"

    def asked_for(self, api_key: str) -> list[Asked]:
        """The requests with a key, in their order."""
        return [one for one in list(self.asked) if one.headers.get("apikey") == api_key]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.path, headers, time.monotonic())
                outer.asked.append(asked)
                reply = outer.replies.get(headers.get("apikey", "")) or outer._otherwise(asked)
                time.sleep(reply.after)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def __enter__(self) -> BalanceServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
