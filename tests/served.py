"""A sandbox upstream that listens on a port of its own, in a thread of the tests' process."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import threading
import time
from decimal import Decimal
from types import TracebackType

from app.cli.servers import bound, server
from app.sandbox import SandboxOptions, create_sandbox
from app.sandbox.forms.variations import Variation
from app.sandbox.state import Sandbox
from app.sandbox.world import Account

READ_SO_FAR = frozenset(
    {
        Variation.STATUS_TEXT,
        Variation.COUNTRIES_STATUS_0,
        Variation.CONTENT_TYPE,
        Variation.NUMBERS_AS_TEXT,
        Variation.FLAGS_AS_NUMBERS,
        Variation.FIELDS_MISSING,
        Variation.DIAL_CODES,
        Variation.COUNTRY_EN,
        Variation.OFFERS_LIST,
        Variation.COUNT_BY_OPERATOR,
        Variation.CREATE_LIST,
        Variation.MULTI_LIST,
        Variation.DONE_DATA,
        Variation.SMS_LIST,
        Variation.ADDED_NOTHING,
        Variation.RESTORED_TRUE,
    }
)
"""The variations of the seen form that the gateway reads so far."""


class ServedSandbox:
    """Use it as a context manager; `url` is that of its rent.php."""

    def __init__(self, options: SandboxOptions) -> None:
        self._app = create_sandbox(options)
        self._listener = bound("127.0.0.1", 0)
        self._server = server(self._app, grace=1)
        self._server.config.lifespan = "off"  # it has none, and uvicorn would complain of its sudden end
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.base = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"{self.base}/rent.php"

    @property
    def sandbox(self) -> Sandbox:
        """Its state; the tests may reach into it, as the provider could."""
        found: Sandbox = self._app.state.sandbox
        return found

    def add_account(self, api_key: str, balance: Decimal) -> None:
        """Make an account."""
        self.sandbox.world.accounts[api_key] = Account(api_key, balance)

    def new_key(self) -> str:
        """A secret no account has yet. No two end alike: by its end the sandbox's records name an account."""
        return f"account-{secrets.token_hex(10)}{next(self._numbers):04x}"

    def new_account(self, balance: Decimal = Decimal(500)) -> str:
        """Make an account; its key."""
        api_key = self.new_key()
        self.add_account(api_key, balance)
        return api_key

    def _serve(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))

    def __enter__(self) -> ServedSandbox:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(10)
