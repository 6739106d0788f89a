"""A platform's issuer of tokens for the tests: publishes keys over real HTTP, and signs what it is told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import AllowedPrivateKeys, get_default_algorithms

ISSUER, AUDIENCE = "https://login.platform.example", "rentgate"


class TokenIssuer:
    """An issuer; `fetches` counts how often its keys were asked for, and `broken` has it answer 500."""

    def __init__(self) -> None:
        self.fetches = 0
        self.broken = False
        self.published: list[dict[str, Any]] = []
        self._private: dict[str, tuple[str, AllowedPrivateKeys]] = {}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.fetches += 1
                data = json.dumps({"keys": issuer.published}).encode()
                self.send_response(500 if issuer.broken else 200)
                self.send_header("Content-Type", "application/jwk-set+json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/keys"
        self.settings = {
            "RENTGATE_JWT_JWKS_URL": self.url,
            "RENTGATE_JWT_ISSUER": ISSUER,
            "RENTGATE_JWT_AUDIENCE": AUDIENCE,
        }

    def add_key(self, key_id: str, algorithm: str = "ES256", **described: Any) -> None:
        """Make a key and publish it."""
        private: AllowedPrivateKeys
        if algorithm == "EdDSA":
            private = ed25519.Ed25519PrivateKey.generate()
        elif algorithm.startswith("ES"):
            private = ec.generate_private_key(ec.SECP256R1())
        else:
            private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public: Any = private.public_key()
        jwk = get_default_algorithms()[algorithm].to_jwk(public, as_dict=True)
        self.published.append({**jwk, "kid": key_id, "alg": algorithm, "use": "sig", **described})
        self._private[key_id] = (algorithm, private)

    def withdraw(self, key_id: str) -> None:
        """Publish a key no more."""
        self.published = [jwk for jwk in self.published if jwk["kid"] != key_id]

    def token(self, tenant_id: str | None, *, key_id: str = "first", **claims: Any) -> str:
        """A token for a tenant, good for five minutes but for what the claims say; None leaves one out."""
        now = int(time.time())
        said = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "orders",
            "iat": now,
            "exp": now + 300,
            "tenant_id": tenant_id,
            "scope": "rentals:read rentals:write",
            **claims,
        }
        algorithm, private = self._private[key_id]
        payload = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(payload, private, algorithm, headers={"kid": key_id})


@contextmanager
def served_issuer() -> Iterator[TokenIssuer]:
    """An issuer that answers on loopback, with one key, `first`."""
    issuer = TokenIssuer()
    issuer.add_key("first")
    thread = Thread(target=issuer.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield issuer
    finally:
        issuer.server.shutdown()
        issuer.server.server_close()
        thread.join()
