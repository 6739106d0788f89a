"""One E.164 number out of every form in which the upstream writes it; none where it can't be told."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberType

SHORTEST_NUMBER, LONGEST_NUMBER = 7, 15
"""Digits of an E.164 number."""

_MOBILE = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})

_WRITTEN = re.compile(r"\+*[0-9][0-9 ().\-/\u00a0]*")
"""Pluses, then digits with what people put between them. A masked number has other characters, and several
numbers in one text have too many digits.
"""

_DIAL_CODE = re.compile(r"\+?0{0,2}([1-9][0-9]{0,3})")


def e164(number: str, *, dial_code: str = "", country: str | None = None, whole: bool = False) -> str | None:
    """The number as `+` and digits; None if no reading of it can be told to be one.

    A number may come with its dial code or without, and the dial code beside it or not. Each reading that
    this leaves is held against the number plans, and counts if a number of its length exists there. What is
    rented receives SMS, so a reading that is a mobile number beats any other.

    Args:
        number: with or without plus and dial code.
        dial_code: the country's, with or without plus; may be missing.
        country: its letters (ISO 3166-1), which help where the dial code is missing.
        whole: the number is documented to come with its dial code.
    """
    written = number.strip()
    if not _WRITTEN.fullmatch(written):
        return None
    digits = re.sub(r"\D", "", written)
    if written.startswith("+"):
        readings = [f"+{digits}"]
    else:
        codes = list(dict.fromkeys(_codes(dial_code, country)))
        together = [f"+{code}{digits}" for code in codes]
        alone = [f"+{digits}" for code in codes if digits.startswith(code)]
        if not whole:
            readings = together + alone
        elif (found := _first([f"+{digits}"], phonenumbers.is_valid_number)) is not None:
            return found
        else:
            readings = [f"+{digits}", *together]
        if not readings:
            return _first([f"+{digits}"], phonenumbers.is_valid_number)
    for good in (_is_mobile, phonenumbers.is_valid_number, phonenumbers.is_possible_number):
        found = _first(readings, good)
        if found is not None:
            return found
    return None


def region_fits(number: str, letters: str) -> bool:
    """Whether a country's letters (ISO 3166-1) can be those of a number (E.164)."""
    try:
        code = phonenumbers.parse(number, None).country_code
    except phonenumbers.NumberParseException:
        return False
    return code is not None and letters.upper() in phonenumbers.region_codes_for_country_code(code)


def _codes(dial_code: str, country: str | None) -> Iterator[str]:
    """The dial codes that a number may be written without: the one beside it, and its country's."""
    if found := _DIAL_CODE.fullmatch(dial_code.strip()):
        yield found[1]
    if country and (code := phonenumbers.country_code_for_region(country.upper())):
        yield str(code)


def _is_mobile(number: PhoneNumber) -> bool:
    return phonenumbers.is_valid_number(number) and phonenumbers.number_type(number) in _MOBILE


def _first(readings: list[str], good: Callable[[PhoneNumber], bool]) -> str | None:
    for text in readings:
        try:
            parsed = phonenumbers.parse(text, None)
        except phonenumbers.NumberParseException:
            continue
        written = str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))
        if good(parsed) and SHORTEST_NUMBER <= len(written) - 1 <= LONGEST_NUMBER:
            return written
    return None
