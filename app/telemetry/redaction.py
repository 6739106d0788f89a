"""Takes secrets out of text, for logs and for what the upstream says. The last line of defence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.entities import html5
from typing import Any

MASK = "[redacted]"

_PATTERNS = (
    (
        re.compile(
            r"(?i)\b(api[_-]?key|token|secret|password)(=['\"]?|['\"]\s*:\s*['\"]?|:\s+['\"]?)[^\s&'\",;}]+"
        ),
        rf"\1\2{MASK}",
    ),
    (re.compile(r"(?i)\bbearer\s+[\w.~+/=-]+"), f"Bearer {MASK}"),
    (re.compile(r"\b(?:rgp?|whsec)_[\w+/=-]{8,}"), MASK),
    (re.compile(r"(?i)\b(postgres(?:ql)?(?:\+\w+)?://[^:@/\s]*):[^@/\s]*@"), rf"\1:{MASK}@"),
)

_KEYLIKE = re.compile(r"(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{20,}(?![\w-])")
"""A long run of letters and digits in a foreign text: more likely a key than a word."""

SHORTEST_HIDDEN = 12
_hidden: set[str] = set()


def hide(*secrets: str) -> None:
    """Take secrets of this process's own out of every text from now on; short ones would take words along."""
    _hidden.update(secret for secret in secrets if len(secret) >= SHORTEST_HIDDEN)


def redacted(text: str) -> str:
    """A text without what is recognisably secret: what was hidden, keys in URLs, tokens, passwords."""
    for secret in _hidden:
        text = text.replace(secret, MASK)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def without_secrets(text: str, secret: str | None = None) -> str:
    """A foreign text without a known secret, in any encoding of it, and without what looks like one."""
    if secret:
        text = re.sub(_BROKEN.join(map(_in_any_form, secret)), MASK, text, flags=re.IGNORECASE)
    return _KEYLIKE.sub(MASK, redacted(text))


_BROKEN = r"\s*"
"""What may stand between the characters of a secret: a text is wrapped, or had characters taken out."""


def _in_any_form(char: str) -> str:
    """A pattern of a character as it is, percent-encoded, as an HTML entity or as JSON's escape, also if the
    text that holds it was encoded more than once.
    """
    amp, encoded, plain = "&(?:amp;)*", [], []
    for form in sorted({char, char.lower(), char.upper()}):
        encoded += [rf"{amp}#0*{ord(c)};?|{amp}#x0*{ord(c):x};?|\\+u0*{ord(c):x}" for c in form]
        encoded += ["".join(f"%(?:25)*{byte:02x}" for byte in form.encode("utf-8", "replace"))]
        names = [name for name, meant in html5.items() if meant == form]
        encoded += [f"{amp}{re.escape(name)}" for name in sorted(names, key=len, reverse=True)]
        plain.append(re.escape(form))
    # What is encoded comes first: the plain form of % or & is the beginning of it.
    return f"(?:{'|'.join([*encoded, *plain])}{r'|[+]' if char == ' ' else ''})"


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
