"""The balance's answer: as text or number, rounded as money is; anything else is no balance, and raises."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import RentgateError, UpstreamBadResponse
from app.upstream.balance import read_balance

KEY = "0123456789abcdef0123456789abcdef"

BEYOND = Decimal(10) ** 10


def answer(balance: Any) -> bytes:
    return json.dumps({"statusCode": 200, "data": {"balance": balance}}).encode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"statusCode":200,"data":{"balance":10.5}}', "10.5000"),
        ('{"statusCode":200,"data":{"balance":"10.5"}}', "10.5000"),
        ('{"statusCode":"200","data":{"balance":10}}', "10.0000"),
        ('{"data":{"balance":"7"}}', "7.0000"),
        ('{"statusCode":200,"data":{"balance":-3.25},"error":null}', "-3.2500"),
        ('{"statusCode":200,"data":{"balance":" -0 "}}', "0.0000"),
        ('{"statusCode":200,"data":{"balance":"0.00005"}}', "0.0001"),
        ('{"statusCode":200,"data":{"balance":0.123449999999999999999999999999999999999}}', "0.1234"),
        ('{"statusCode":200,"data":{"balance":"+1.5e2"}}', "150.0000"),
        ('{"statusCode":200,"data":{"balance":9999999999.99994}}', "9999999999.9999"),
        ('\ufeff{"statusCode":200,"data":{"balance":1,"bonus":1e999999999999999999999,"x":NaN}}', "1.0000"),
    ],
)
def test_a_balance_is_read_as_text_and_as_number(body: str, expected: str) -> None:
    read = read_balance(body.encode(), KEY)
    assert str(read) == expected


@pytest.mark.parametrize(
    "balance",
    [
        *("", "  ", "***", "1*.**", "10,5", "1 000", "$10", "0x10", "\u0661\u0662", "1e", "."),
        *("NaN", "Infinity", "-inf"),
        *(None, True, False, [], {}, ["10.5"], {"amount": "10.5"}),
        *("1e10", "1e999999999", "1e99999999999", 10**10, -(10**10), "9999999999.99995", 10**4000),
    ],
)
def test_what_is_no_amount_is_unreadable(balance: Any) -> None:
    with pytest.raises(UpstreamBadResponse):
        read_balance(answer(balance), KEY)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"10.5",
        b"<html>",
        b"\xff\xfe",
        b'{"statusCode":200',
        b'{"statusCode":200}',
        b'{"statusCode":200,"data":null}',
        b'{"statusCode":200,"data":[]}',
        b'{"statusCode":200,"data":{}}',
        b'{"statusCode":true,"data":{"balance":1}}',
        b'{"statusCode":"ok","data":{"balance":1}}',
        b'{"statusCode":[],"data":{"balance":1}}',
        b'{"statusCode":200,"data":{"balance":1e999999999}}',
        b'{"statusCode":200,"data":{"balance":1e999999999999999999999}}',
        b'{"statusCode":200,"data":{"balance":NaN}}',
        b'{"statusCode":200,"data":{"balance":-Infinity}}',
        b'{"statusCode":200,"data":{"balance":' + b"9" * 10_000 + b"}}",
        b"[" * 200_000,
    ],
)
def test_what_is_not_the_promised_json_is_unreadable(body: bytes) -> None:
    with pytest.raises(UpstreamBadResponse):
        read_balance(body, KEY)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "upstream_key_rejected"),
        (403, "upstream_key_rejected"),
        ("429", "upstream_busy"),
        (404, "upstream_error"),
        (500, "upstream_unavailable"),
        (200, "upstream_error"),
    ],
)
@pytest.mark.parametrize("error", [{"type": "Broken", "description": f"apikey {KEY} is odd"}, "odd", [1]])
def test_an_error_is_told_by_its_status_and_never_shows_the_key(status: Any, code: str, error: Any) -> None:
    body = json.dumps({"statusCode": status, "data": {"balance": 1}, "error": error}).encode()
    with pytest.raises(RentgateError) as refused:
        read_balance(body, KEY)
    assert refused.value.code == code
    assert refused.value.upstream
    assert KEY not in f"{refused.value} {refused.value.upstream}"


@given(st.decimals(allow_nan=False, allow_infinity=False) | st.integers(), st.booleans())
def test_any_number_is_read_to_the_nearest_or_refused(number: Decimal | int, as_text: bool) -> None:
    body = '{"statusCode": 200, "data": {"balance": %s}}' % (f'"{number}"' if as_text else number)
    exact = Decimal(number)
    try:
        read = read_balance(body.encode(), KEY)
    except UpstreamBadResponse:
        assert not -40 <= exact.adjusted() < 9
    else:
        assert abs(read - exact) <= Decimal("0.00005")
        assert abs(read) < BEYOND


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["statusCode", "data", "balance", "error"]), inner)
        ),
    )
)
def test_whatever_json_comes_nothing_but_an_error_of_ours_is_raised(odd: Any) -> None:
    for form in (odd, {"statusCode": 200, "data": odd}, {"statusCode": 200, "data": {"balance": odd}}):
        try:
            read = read_balance(json.dumps(form).encode(), KEY)
        except RentgateError:
            continue
        assert read.is_finite()
