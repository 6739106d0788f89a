"""Takes secrets out of text, for logs and for what the upstream says. The last line of defence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "[redacted]"

_PATTERNS = (
    (
        re.compile(
            r"(?i)\b(api[_-]?key|token|secret|password)(=['\"]?|['\"]\s*:\s*['\"]?|:\s+['\"]?)[^\s&'\",;}]+"
        ),
        rf"\1\2{MASK}",
    ),
    (re.compile(r"(?i)\bbearer\s+[\w.~+/=-]+"), f"Bearer {MASK}"),
    (re.compile(r"\b(?:rg|whsec)_[\w+/=-]{8,}"), MASK),
    (re.compile(r"(?i)\b(postgres(?:ql)?(?:\+\w+)?://[^:@/\s]*):[^@/\s]*@"), rf"\1:{MASK}@"),
)

_KEYLIKE = re.compile(r"(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{20,}(?![\w-])")
"""A long run of letters and digits in a foreign text: more likely a key than a word."""


def redacted(text: str) -> str:
    """A text of our own without what is recognisably secret: keys in URLs, tokens, passwords."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def without_secrets(text: str, secret: str | None = None) -> str:
    """A foreign text without a known secret, in any encoding of it, and without what looks like one."""
    if secret:
        for form in {secret, quote(secret, safe=""), quote_plus(secret)}:
            text = re.sub(re.escape(form), MASK, text, flags=re.IGNORECASE)
    return _KEYLIKE.sub(MASK, redacted(text))


def redacted_values(value: Any) -> Any:
    """A log entry with every text in it redacted, however deep."""
    match value:
        case str():
            return redacted(value)
        case Mapping():
            return {redacted_values(key): redacted_values(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [redacted_values(item) for item in value]
        case _:
            return value
