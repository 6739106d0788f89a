"""Phone numbers: whatever the form, one E.164 number comes out, or none."""

from __future__ import annotations

import re

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstream.phone import e164

REGIONS = ["RU", "GB", "US", "DE", "FR", "KZ", "ID", "PL", "UA", "BR", "IN", "NG"]


@given(st.text(max_size=40), st.text(max_size=6), st.sampled_from([None, "RU", "GB", "XX"]))
def test_anything_gives_e164_or_nothing(number: str, code: str, country: str | None) -> None:
    found = e164(number, dial_code=code, country=country)
    assert found is None or re.fullmatch(r"\+\d{7,15}", found)


@pytest.mark.parametrize("region", REGIONS)
def test_every_writing_of_a_number_gives_the_same(region: str) -> None:
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    assert example is not None
    expected = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    national, code = str(example.national_number), str(example.country_code)
    writings = [
        (national, f"+{code}", None),
        (national, code, None),
        (f"+{code}{national}", f"+{code}", None),
        (f"{code}{national}", f"+{code}", None),
        (f"+{code}{national}", "", None),
        (f"{code}{national}", "", region),
        (national, "", region),
        (f"++{code}{national}", f"+{code}", None),
    ]
    assert {e164(number, dial_code=dial, country=country) for number, dial, country in writings} == {expected}


def test_a_number_of_no_known_plan_is_taken_as_the_upstream_says() -> None:
    assert e164("0001112223", dial_code="+7") == "+70001112223"


@pytest.mark.parametrize("number", ["", "+", "abc", "1", "9" * 30])
def test_what_is_no_number_is_none(number: str) -> None:
    assert e164(number, dial_code="+7") is None


def test_a_part_of_a_number_is_none() -> None:
    assert e164("0000", country="GB") is None
