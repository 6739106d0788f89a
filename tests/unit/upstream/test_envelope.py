"""The envelope: status as number and as string, refusals, and everything that is not the promised JSON."""

from __future__ import annotations

import json
import tracemalloc
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstream.envelope import MESSAGE_NAMES, Answer, opened
from app.upstream.scalars import Unreadable


@pytest.mark.parametrize("body", [b'{"status": 1, "data": [2]}', b'\xef\xbb\xbf{"status": "1", "data": [2]}'])
def test_success(body: bytes) -> None:
    answer = opened(body)
    assert (answer.succeeded, answer.data) == (True, [2])


@pytest.mark.parametrize("status", ["1", "1.0", '"1"', '" 1 "', '"1.0"', "1e0", "true", '"True"'])
def test_a_status_is_read_in_every_form_that_was_seen(status: str) -> None:
    assert opened(f'{{"status": {status}, "data": 7}}'.encode()).succeeded


@pytest.mark.parametrize("status", ["0", '"0"', "0.0", '" 0"', '"0.0"', "-0", "false", '"false"'])
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
        b'{"status": null, "data": []}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"status": "yes"}',
        b'{"status": [true]}',
        b'{"status": 1.5}',
        b'{"status": NaN}',
        b'{"status": ' + b"9" * 10_000 + b"}",
    ],
)
def test_what_is_not_the_promised_json_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        opened(body)


@pytest.mark.parametrize(
    "number",
    [
        *("NaN", "Infinity", "-Infinity"),
        *("9" * 5000, "-" + "9" * 5000, "1e99999999999999999999", "1e999999999", "-1e-999999999"),
        *("0e999999999", "0." + "1" * 5000, "1" * 70 + ".5"),
    ],
)
def test_a_number_that_cannot_be_held_spoils_nothing_beside_it(number: str) -> None:
    tracemalloc.start()
    answer = opened(f'{{"status": 1, "data": [1, {number}, 0.34999999999999998]}}'.encode())
    first, odd, last = answer.data
    assert (first, last) == (1, Decimal("0.34999999999999998"))
    assert isinstance(odd, Decimal)
    assert not odd.is_finite()
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,400})(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,30})?", fullmatch=True))
def test_whatever_number_is_read_can_be_written(number: str) -> None:
    value = opened(f'{{"status": 1, "data": {number}}}'.encode()).data
    assert len(f"{Decimal(value):f}") < 2000


def test_bytes_that_are_no_utf8_and_raw_control_characters_spoil_only_their_text() -> None:
    answer = opened(b'{"status": 1, "data": ["a\xff", "two\nlines\x01", "ok"]}')
    assert answer.data == ["a\ufffd", "two\nlines\x01", "ok"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"msg": "a", "message": "b", "error": "c", "error_msg": "d"}, "a"),
        ({"msg": " ", "message": "b", "error": "c"}, "b"),
        ({"msg": None, "message": 5, "error": "c", "error_msg": "d"}, "c"),
        ({"error": {"type": "T", "description": "d"}}, "d"),
        ({"error": {"message": "m", "description": "d", "msg": "x"}}, "m"),
        ({"error": {"message": "", "msg": "x"}}, "x"),
        ({"error": {}, "error_msg": "d"}, "d"),
        ({"error": ["d"]}, ""),
        ({}, ""),
    ],
)
def test_a_refusals_text_stands_under_several_names(body: dict[str, Any], message: str) -> None:
    assert opened(json.dumps({"status": 0, **body}).encode()) == Answer(False, None, message)


@given(st.sampled_from(MESSAGE_NAMES), st.recursive(st.none() | st.text() | st.integers(), st.lists))
def test_whatever_stands_in_a_texts_place_is_no_failure(name: str, odd: Any) -> None:
    message = opened(json.dumps({"status": 0, name: odd}).encode()).message
    assert message == (odd if isinstance(odd, str) and odd.strip() else "")


@pytest.mark.parametrize("data", [None, "", [], {}, [{}], [[], None, ""], False])
def test_data_that_says_nothing(data: Any) -> None:
    assert not Answer(False, data, "").has_data


@pytest.mark.parametrize("data", [{"id": 5}, [{"id": 5}], True, "x", 7, [{}, {"id": None}]])
def test_data_that_says_something(data: Any) -> None:
    assert Answer(False, data, "").has_data
