"""Kinds of values are of a closed list, and a foreign name is shown only if it is a plain one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstream.kinds import KINDS, ODD_NAME, kind_of, shown_name

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(VALUES)
def test_every_value_has_a_kind_of_the_closed_list(value: Any) -> None:
    assert kind_of(value) in KINDS


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "missing"),
        (True, "flag"),
        (0, "whole number"),
        (77, "whole number"),
        (-1, "negative number"),
        (1_771_494_473, "number like a time"),
        (1_771_494_473_000, "number like a time in ms"),
        (10**40, "number out of bounds"),
        (Decimal("NaN"), "number out of bounds"),
        (Decimal("0.35"), "fraction"),
        (" ", "empty text"),
        ("77", "text of digits"),
        ("1771494473", "text of digits like a time"),
        ("1771494473000", "text of digits like a time"),
        ("2.40", "text like a number"),
        ("-1", "text like a number"),
        ("+7", "text like a number"),
        ("2026-01-20 09:47:53", "text like a date"),
        ("20.01.2026", "text like a date"),
        ("09:47", "text like a date"),
        ("+79161234567", "text like a phone number"),
        ("(916) 123-45-67", "text like a phone number"),
        ("7916***4567", "text with asterisks"),
        ("Code Instagram: 671 094.", "text"),
        ("9" * 1000, "text"),
        ("٣٤", "text"),
        ([], "empty list"),
        ([1], "list"),
        ({}, "empty object"),
        ({"a": 1}, "object"),
    ],
)
def test_kinds_of_values_that_were_seen(value: Any, kind: str) -> None:
    assert kind_of(value) == kind


@pytest.mark.parametrize("name", ["id", "isAvailForRestore", "rent_switch_type", "DAYP", "opt29", "_x"])
def test_plain_names_are_shown(name: str) -> None:
    assert shown_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "79161234567",
        "n79161234567",
        "+79161234567",
        "order_100001",
        "Your code: 1234",
        "code 12",
        "a.b",
        "data[]",
        "имя",
        "",
        " ",
        "x" * 25,
        "sk_live_4f3a9c",
        "name\n",
        "<b>",
        7,
        None,
    ],
)
def test_what_may_hold_something_is_an_odd_name(name: Any) -> None:
    assert shown_name(name) == ODD_NAME


@given(st.text(st.sampled_from("aZ_09 .+é\n"), max_size=40))
def test_no_shown_name_is_long_or_holds_a_number(name: str) -> None:
    shown = shown_name(name)
    if shown != ODD_NAME:
        assert shown == name
        assert len(shown) <= 24
        assert sum(char.isdigit() for char in shown) <= 2
        assert shown.isascii()
        assert shown.isidentifier()
