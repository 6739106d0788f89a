"""Tokens: a mark for secret scanners, 256 random bits, and a checksum against typing errors."""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib

TOKEN_MARK, PLATFORM_MARK = "rg_", "rgp_"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_LENGTH, _CHECKSUM_LENGTH, _PREFIX_LENGTH = 43, 6, 8


def new_token(mark: str = TOKEN_MARK) -> str:
    """A new token, of an API key unless marked otherwise; 43 characters of base 62 hold 256 bits."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    return mark + body + _checksum(body)


def well_formed(token: str) -> bool:
    """Whether a token can be one of ours at all; spares the database a look for what can't."""
    body = token.partition("_")[2][:-_CHECKSUM_LENGTH]
    checksum = token[-_CHECKSUM_LENGTH:]
    return (
        token.isascii()
        and token.startswith((TOKEN_MARK, PLATFORM_MARK))
        and len(body) == _RANDOM_LENGTH
        and checksum == _checksum(body)
    )


def is_platform_token(token: str) -> bool:
    """Whether a token is a platform key's, rather than that of a tenant's API key."""
    return token.startswith(PLATFORM_MARK)


def token_hash(token: str) -> bytes:
    """What is kept of a token. A plain SHA-256 does, since nobody can guess 256 random bits."""
    return hashlib.sha256(token.encode()).digest()


def token_prefix(token: str) -> str:
    """The part of a token by which people recognise it; far too short to guess the rest."""
    return token[: token.index("_") + 1 + _PREFIX_LENGTH]


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
