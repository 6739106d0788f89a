"""One E.164 number out of every form in which the upstream writes it."""

from __future__ import annotations

import re

import phonenumbers

LONGEST_NUMBER = 15
"""Digits of the longest E.164 number."""


def e164(number: str, *, dial_code: str = "", country: str | None = None) -> str | None:
    """The number as `+` and digits; None if no reading of it is a possible number.

    Args:
        number: with or without plus and dial code.
        dial_code: the country's, with or without plus; may be missing.
        country: its letters (ISO 3166-1), which help where the dial code is missing.
    """
    written = re.sub(r"[^\d+]", "", number)
    digits = written.lstrip("+")
    code = re.sub(r"\D", "", dial_code)
    if not digits:
        return None
    if written.startswith("+"):
        readings = [f"+{digits}"]
    else:
        readings = [f"+{code}{digits}"] if code else []
        if not code or digits.startswith(code):
            readings.append(f"+{digits}")
    parsed = [found for text in readings if (found := _parsed(text)) is not None]
    if not code and not written.startswith("+") and country:
        national = _parsed(digits, country)
        parsed = ([national] if national is not None else []) + parsed
    for good in (phonenumbers.is_valid_number, phonenumbers.is_possible_number):
        for candidate in parsed:
            if good(candidate):
                return str(phonenumbers.format_number(candidate, phonenumbers.PhoneNumberFormat.E164))
    # Number plans change faster than the library: a reading of a plausible length is the upstream's word.
    plausible = [text for text in readings if 7 <= len(text) - 1 <= LONGEST_NUMBER]
    return plausible[0] if plausible else None


def _parsed(text: str, country: str | None = None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None
