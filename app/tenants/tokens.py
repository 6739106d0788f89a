"""API tokens: `rg_` for secret scanners, 256 random bits, and a checksum against typing errors."""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib

TOKEN_MARK = "rg_"  # noqa: S105
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_LENGTH, _CHECKSUM_LENGTH, _PREFIX_LENGTH = 43, 6, 8


def new_token() -> str:
    """A new token; 43 characters of base 62 hold 256 bits."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    return TOKEN_MARK + body + _checksum(body)


def well_formed(token: str) -> bool:
    """Whether a token can be one of ours at all; spares the database a look for what can't."""
    body, checksum = token[len(TOKEN_MARK) : -_CHECKSUM_LENGTH], token[-_CHECKSUM_LENGTH:]
    return (
        token.isascii()
        and token.startswith(TOKEN_MARK)
        and len(body) == _RANDOM_LENGTH
        and checksum == _checksum(body)
    )


def token_hash(token: str) -> bytes:
    """What is kept of a token. A plain SHA-256 does, since nobody can guess 256 random bits."""
    return hashlib.sha256(token.encode()).digest()


def token_prefix(token: str) -> str:
    """The part of a token by which people recognise it; far too short to guess the rest."""
    return token[: len(TOKEN_MARK) + _PREFIX_LENGTH]


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
