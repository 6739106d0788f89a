"""The two faces of the upstream: `rent.php`, and the account's balance beside it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Protocol

from fastapi.responses import Response

from app.sandbox.forms import promised
from app.sandbox.forms.seen import Seen
from app.sandbox.forms.writing import written
from app.sandbox.methods import perform
from app.sandbox.options import Shape
from app.sandbox.refusals import Refusal
from app.sandbox.state import Sandbox

KARMA = 0


class Face(Protocol):
    """A call that came in: what is done for it, and how it is answered."""

    def act(self) -> Response:
        """Do it and answer."""

    def charge(self) -> Response | None:
        """Take the money of a call that spends, and make nothing; the refusal if it would be refused."""

    def refused(self, message: str) -> Response:
        """A refusal in these words."""

    def nothing(self) -> Response:
        """A success that tells nothing."""


class Rent:
    """A call of `rent.php`; its key is among its parameters, and the status is 200 whatever comes."""

    def __init__(self, sandbox: Sandbox, method: str, parameters: Mapping[str, str]) -> None:
        self._sandbox, self._method, self._parameters = sandbox, method, parameters
        self._seen = sandbox.seen()

    def act(self) -> Response:
        """Perform the method."""
        seen = self._seen
        try:
            data = self._perform(make=True)
        except Refusal as refusal:
            return self._refused(refusal)
        if seen is not None:
            return self._shown(seen.answer(self._method, data))
        form = promised.documented if self._sandbox.shape is Shape.DOCUMENTED else promised.today
        return self._shown(form(self._method, data))

    def charge(self) -> Response | None:
        """Perform the method without what it makes."""
        try:
            self._perform(make=False)
        except Refusal as refusal:
            return self._refused(refusal)
        return None

    def _perform(self, *, make: bool) -> Any:
        sandbox, seen = self._sandbox, self._seen
        habits = sandbox.habits_towards(self._parameters.get("apikey", ""), seen)
        method = seen.asked(self._method) if seen else self._method
        return perform(sandbox.world, method, self._parameters, habits, make=make)

    def _refused(self, refusal: Refusal) -> Response:
        message = str(refusal)
        return self._shown(self._seen.refused(message) if self._seen else _refused(message))

    def refused(self, message: str) -> Response:
        """Status 0 with these words."""
        return self._shown(self._seen.refused_so(message) if self._seen else _refused(message))

    def nothing(self) -> Response:
        """An empty list."""
        return self._shown({"status": 1, "data": []})

    def _shown(self, body: dict[str, Any]) -> Response:
        return _response(body, 200, self._seen)


class Activation:
    """A call of `/activation/balance` or `/activation/userinfo`; its key is a header."""

    def __init__(self, sandbox: Sandbox, method: str, api_key: str) -> None:
        self._sandbox, self._method, self._api_key = sandbox, method, api_key
        self._seen = sandbox.seen()

    def act(self) -> Response:
        """Tell of the account."""
        account = self._sandbox.world.accounts.get(self._api_key)
        if account is None:
            return self._failed(401, "UNAUTHORIZED", "Invalid apikey")
        balance: Any = _plain(account.balance)
        data = {"balance": self._seen.balance(balance) if self._seen else balance}
        if self._method == "userinfo":
            data |= {"name": f"account-{self._api_key[-4:]}", "karma": KARMA}
        return self._shown({"statusCode": 200, "data": data}, 200)

    def charge(self) -> Response | None:
        """Nothing is charged here."""
        return None

    def refused(self, message: str) -> Response:
        """An error in these words."""
        return self._failed(400, "ERROR", message)

    def nothing(self) -> Response:
        """A success without data."""
        return self._shown({"statusCode": 200, "data": {}}, 200)

    def _failed(self, status: int, kind: str, description: str) -> Response:
        error = {"type": kind, "description": description}
        return self._shown({"statusCode": status, "error": error}, status)

    def _shown(self, body: dict[str, Any], status: int) -> Response:
        return _response(body, status, self._seen)


def _refused(message: str) -> dict[str, Any]:
    return {"status": 0, "msg": message}


def _response(body: dict[str, Any], status: int, seen: Seen | None) -> Response:
    text = written(body, digits=seen.digits() if seen else None)
    return Response(text, status, media_type=seen.media_type() if seen else "application/json")


def _plain(amount: Decimal) -> str:
    """An amount without zeros at its end: `10.5`."""
    return f"{amount.normalize():f}"
