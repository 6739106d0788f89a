"""The sandbox, asked as an application: no port, no thread."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.sandbox import SandboxOptions, create_sandbox
from app.sandbox.options import Shape
from app.sandbox.state import Sandbox
from app.sandbox.world import World

KEY = "an-account-of-the-tests"


class Upstream:
    """Asks the sandbox as a client of the provider would."""

    def __init__(self, app: FastAPI, runner: asyncio.Runner) -> None:
        self.sandbox: Sandbox = app.state.sandbox
        self.world: World = self.sandbox.world
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sandbox")
        self._runner = runner

    def request(self, verb: str, path: str, **more: Any) -> httpx.Response:
        """Send a request."""
        return self._runner.run(self._http.request(verb, path, **more))

    def call(self, method: str, *, key: str | None = KEY, **parameters: Any) -> httpx.Response:
        """Call a method of rent.php."""
        given = {"method": method, **({} if key is None else {"apikey": key}), **parameters}
        return self.request("GET", "/api/rent.php", params=given)

    def body(self, method: str, **parameters: Any) -> Any:
        """The whole body of an answer."""
        return json.loads(self.call(method, **parameters).text)

    def data(self, method: str, **parameters: Any) -> Any:
        """What a call that succeeds tells."""
        body = self.body(method, **parameters)
        assert body["status"] == 1, body
        return body.get("data")

    def refused(self, method: str, **parameters: Any) -> str:
        """The words of a refusal."""
        body = self.body(method, **parameters)
        assert body["status"] == 0, body
        return str(body["msg"])

    def rent(self, country: str = "RU", service: str = "opt1", **more: Any) -> Any:
        """Rent a number for a week, and what the answer tells of it."""
        return self.data(
            "create", **{"country": country, "service": service, "dtype": "week", "dcount": 1, **more}
        )

    def balance(self, path: str = "balance", key: str | None = KEY) -> httpx.Response:
        """Ask for the account's balance."""
        return self.request("GET", f"/activation/{path}", headers={} if key is None else {"apikey": key})

    def control(self, verb: str, path: str, body: Any) -> httpx.Response:
        """Turn one of the sandbox's controls."""
        answer = self.request(verb, f"/control/{path}", json=body)
        assert answer.is_success, answer.text
        return answer


MakeUpstream = Callable[..., Upstream]


@pytest.fixture
def make_upstream() -> Iterator[MakeUpstream]:
    """Makes sandboxes with one account."""
    with asyncio.Runner() as runner:

        def make(shape: Shape = Shape.TODAY, **options: Any) -> Upstream:
            accounts = {KEY: Decimal(1_000_000)}
            return Upstream(create_sandbox(SandboxOptions(accounts=accounts, shape=shape, **options)), runner)

        yield make


@pytest.fixture
def upstream(make_upstream: MakeUpstream) -> Upstream:
    """A sandbox in today's form."""
    return make_upstream()
