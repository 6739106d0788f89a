"""The errors that the upstream's refusals become, and what is shown of their texts."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from html import escape
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InsufficientBalance, UpstreamRefusal
from app.upstream.errors import LONGEST_MESSAGE, cleaned, refusal, unexplained


def test_a_refusal_keeps_method_and_text() -> None:
    error = refusal("restore_user", "NOBALANCE: \u202eToday need $2.40 for 30 days\n")
    assert isinstance(error, InsufficientBalance)
    assert error.required == Decimal("2.40")
    assert error.upstream == UpstreamRefusal("restore_user", "NOBALANCE: Today need $2.40 for 30 days")


def test_only_want_of_money_tells_a_sum() -> None:
    assert refusal("create", "Incorrect duration count. Min 7 days. Max 90 days.").required is None
    assert refusal("create", "out of stock: 5").required is None


def test_a_text_that_nobody_knows_is_told() -> None:
    assert "Etwas anderes" in refusal("orders", "Etwas anderes").detail
    assert refusal("orders", " ").detail == "The upstream refused: without a reason"


def test_what_is_not_certain_is_told_as_it_was_said() -> None:
    error = unexplained("create", "Insufficient balance, order made")
    assert error.code == "upstream_error"
    assert error.upstream == UpstreamRefusal("create", "Insufficient balance, order made")


@pytest.mark.parametrize("message", ["TOO MANY REQUESTS", "too many requests, slow down"])
def test_busy_says_when_to_come_again(message: str) -> None:
    assert refusal("orders", message).retry_after


KEY = "Abc123secretKEY+/="


def every_character(form: Callable[[int], str]) -> str:
    return "".join(form(ord(char)) for char in KEY)


@pytest.mark.parametrize(
    "shown",
    [
        KEY,
        KEY.upper(),
        KEY.lower(),
        quote(KEY, safe=""),
        quote(KEY, safe="").lower(),
        quote(quote(KEY, safe=""), safe=""),
        quote(quote(quote(KEY, safe=""), safe=""), safe=""),
        escape(KEY),
        escape(escape(KEY)),
        escape(quote(KEY, safe="")),
        every_character(lambda code: f"%{code:02X}"),
        every_character(lambda code: f"%25{code:02x}"),
        every_character(lambda code: f"&#{code};"),
        every_character(lambda code: f"&amp;#x{code:04X};"),
        every_character(lambda code: f"\\u{code:04x}"),
        KEY.upper().replace("+", "&plus;").replace("=", "&equals;"),
        "\u200b".join(KEY),
        f"{KEY[:6]}\r\n {KEY[6:]}",
    ],
)
def test_the_key_is_cleaned_out_of_a_message_in_every_form(shown: str) -> None:
    said = f"see rent.php?x={shown}&method=create, no {shown}."
    clean = cleaned(said, KEY)
    assert clean == "see rent.php?x=[redacted]&method=create, no [redacted]."
    error = refusal("create", f"Planet retrograde {shown}", secret=KEY)
    assert error.upstream is not None
    for text in (error.detail, error.upstream.message, str(error)):
        assert text.endswith("Planet retrograde [redacted]")


@given(st.text(st.characters(codec="ascii", exclude_categories=["C", "Z"]), min_size=12, max_size=40))
def test_no_key_survives_whatever_it_is_made_of(key: str) -> None:
    for shown in (key, quote(quote(key, safe=""), safe=""), escape(key), key.swapcase()):
        assert cleaned(f"a {shown} b", key) == "a [redacted] b"


def test_what_looks_like_a_key_goes_too() -> None:
    assert "0123456789abcdef" not in cleaned("bad 0123456789abcdef0123456789abcdef")


@pytest.mark.parametrize("longer", ["x" * 3_000_000, f"{KEY} " * 100_000, "&" * 100_000, "%25" * 500_000])
def test_endless_texts_end(longer: str) -> None:
    assert len(cleaned(longer, KEY)) <= LONGEST_MESSAGE
    assert KEY[:4] not in cleaned(longer, KEY)
    assert refusal("create", longer, secret=KEY).code == "upstream_error"


@given(st.text())
def test_what_is_shown_is_printable(said: str) -> None:
    clean = cleaned(said)
    assert clean.isprintable()
    clean.encode()
