"""One E.164 number out of every form in which the upstream writes it."""

from __future__ import annotations

import re
from collections.abc import Callable

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberType

SHORTEST_NUMBER, LONGEST_NUMBER = 7, 15
"""Digits of an E.164 number."""

_MOBILE = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})


def e164(number: str, *, dial_code: str = "", country: str | None = None) -> str | None:
    """The number as `+` and digits; None if no reading of it can be told to be one.

    A number may come with its dial code or without, and the dial code beside it or not. Each reading that
    this leaves is held against the country's number plan: what is rented receives SMS, so a reading that
    is a mobile number beats any other.

    Args:
        number: with or without plus and dial code.
        dial_code: the country's, with or without plus; may be missing.
        country: its letters (ISO 3166-1), which help where the dial code is missing.
    """
    written = re.sub(r"[^\d+]", "", number)
    digits = written.lstrip("+")
    code = re.sub(r"\D", "", dial_code)
    if not code and country:
        code = str(phonenumbers.country_code_for_region(country.upper()) or "")
    if not digits:
        return None
    if written.startswith("+"):
        readings = [f"+{digits}"]
    elif not code:
        return _first([f"+{digits}"], phonenumbers.is_valid_number)
    else:
        readings = [f"+{code}{digits}"]
        if digits.startswith(code):
            readings.append(f"+{digits}")
    for good in (_is_mobile, phonenumbers.is_valid_number, phonenumbers.is_possible_number):
        found = _first(readings, good)
        if found is not None:
            return found
    # Number plans change faster than the library: a reading of a plausible length is the upstream's word.
    return next(filter(_is_plausible, readings), None)


def _is_mobile(number: PhoneNumber) -> bool:
    return phonenumbers.is_valid_number(number) and phonenumbers.number_type(number) in _MOBILE


def _first(readings: list[str], good: Callable[[PhoneNumber], bool]) -> str | None:
    for text in readings:
        try:
            parsed = phonenumbers.parse(text, None)
        except phonenumbers.NumberParseException:
            continue
        written = str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))
        if good(parsed) and _is_plausible(written):
            return written
    return None


def _is_plausible(written: str) -> bool:
    """Whether a plus and digits are as long as a number is; the library has parts of numbers as possible."""
    return SHORTEST_NUMBER <= len(written) - 1 <= LONGEST_NUMBER
