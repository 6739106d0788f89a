"""The envelope: status as number and as string, refusals, and everything that is not the promised JSON."""

from __future__ import annotations

from decimal import Decimal

import pytest

from app.upstream.envelope import opened
from app.upstream.scalars import Unreadable


@pytest.mark.parametrize("body", [b'{"status": 1, "data": [2]}', b'\xef\xbb\xbf{"status": "1", "data": [2]}'])
def test_success(body: bytes) -> None:
    answer = opened(body)
    assert (answer.succeeded, answer.data) == (True, [2])


@pytest.mark.parametrize("status", ["0", '"0"'])
def test_refusal(status: str) -> None:
    answer = opened(f'{{"status": {status}, "msg": "out of stock"}}'.encode())
    assert (answer.succeeded, answer.message) == (False, "out of stock")


def test_prices_stay_exact() -> None:
    assert opened(b'{"status": 1, "data": 0.1}').data == Decimal("0.1")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Just a moment</html>",
        b'{"status": 1, "data": [',
        b"[]",
        b'"ok"',
        b"{}",
        b'{"status": 2}',
        b'{"status": true}',
        b'{"status": null, "data": []}',
        b'{"status": 1, "data": NaN}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"status": 1, "data": ' + b"9" * 10_000 + b"}",
    ],
)
def test_what_is_not_the_promised_json_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        opened(body)
