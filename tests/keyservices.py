"""Key services for the tests, over real HTTP: the transit and KV engines as Vault and OpenBao speak them."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "hvs.only-for-tests"
PREFIX = "vault:v1:"


class Transit:
    """A transit engine with one AES-256-GCM key for each name that was asked for by `key`."""

    def __init__(self) -> None:
        self.calls = 0
        self._keys: dict[str, AESGCM] = {}
        transit = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = transit.answer(self.path, self.headers["X-Vault-Token"], body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def key(self, name: str) -> str:
        """Make a key; gives the setting that names it."""
        self._keys[name] = AESGCM(AESGCM.generate_key(256))
        return f"hcvault://127.0.0.1:{self.server.server_address[1]}/transit/keys/{name}"

    def answer(self, path: str, token: str, body: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """What the engine says to a request."""
        self.calls += 1
        _, _, mount, action, name = path.split("/")
        if token != TOKEN:
            return 403, {"errors": ["permission denied"]}
        if mount != "transit" or name not in self._keys:
            return 404, {"errors": []}
        key, bound = self._keys[name], base64.b64decode(body.get("associated_data", ""))
        if action == "encrypt":
            nonce = os.urandom(12)
            sealed = nonce + key.encrypt(nonce, base64.b64decode(body["plaintext"]), bound)
            return 200, {"data": {"ciphertext": PREFIX + base64.b64encode(sealed).decode()}}
        try:
            sealed = base64.b64decode(body["ciphertext"].removeprefix(PREFIX), validate=True)
            plain = key.decrypt(sealed[:12], sealed[12:], bound)
        except (InvalidTag, ValueError):
            return 400, {"errors": ["cipher: message authentication failed"]}
        return 200, {"data": {"plaintext": base64.b64encode(plain).decode()}}


class KvStore:
    """A KV engine of version 2 at `kv`, and one of version 1 at `old`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False
        self._secrets: dict[str, dict[str, Any]] = {}
        store = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, answer = store.answer(self.path, self.headers["X-Vault-Token"])
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def put(self, path: str, **fields: Any) -> None:
        """Store a secret under the API's path of it."""
        self._secrets[path] = fields

    def delete(self, path: str) -> None:
        """Delete a secret."""
        del self._secrets[path]

    def answer(self, path: str, token: str) -> tuple[int, dict[str, Any]]:
        """What the engine says to a request."""
        self.asked.append(path)
        place = path.removeprefix("/v1/")
        if self.away:
            return 503, {"errors": ["Vault is sealed"]}
        if token != TOKEN:
            return 403, {"errors": ["permission denied"]}
        if place not in self._secrets:
            return 404, {"errors": []}
        fields = self._secrets[place]
        if place.startswith("kv/data/"):
            return 200, {"data": {"data": fields, "metadata": {"version": 1, "destroyed": False}}}
        return 200, {"data": fields}


@contextmanager
def _served(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def served_transit() -> Iterator[Transit]:
    """A transit engine that answers on loopback."""
    transit = Transit()
    with _served(transit.server):
        yield transit


@contextmanager
def served_kv() -> Iterator[KvStore]:
    """KV engines that answer on loopback."""
    store = KvStore()
    with _served(store.server):
        yield store
