"""References to secrets kept elsewhere: `vault:kv/data/acme#api_key`, `aws-sm:acme/key`, `env:ACME_KEY`.

A reference is made of plain characters only. Nothing in it is decoded, normalised or resolved, so that what
is compared with a tenant's prefixes is, byte for byte, what its source is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from app.errors import RentgateError

HCVAULT, AWS, ENVIRONMENT = "vault", "aws-sm", "env"

LONGEST = 512

_FIELD = r"[A-Za-z0-9_.-]{1,128}"
_SECRETS_PATH = r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)+"
_AWS_NAME = r"[A-Za-z0-9_+=.@:-]+(?:/[A-Za-z0-9_+=.@-]+)*"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"

_REFERENCES = (
    re.compile(rf"(?P<kind>{HCVAULT}):(?P<path>{_SECRETS_PATH})#(?P<field>{_FIELD})"),
    re.compile(rf"(?P<kind>{AWS}):(?P<path>{_AWS_NAME})(?:#(?P<field>{_FIELD}))?"),
    re.compile(rf"(?P<kind>{ENVIRONMENT}):(?P<path>{_VARIABLE})(?P<field>)"),
)
_PREFIXES = (
    re.compile(rf"{HCVAULT}:(?P<path>(?:[A-Za-z0-9_.-]+/)+)"),
    re.compile(rf"{AWS}:(?P<path>[A-Za-z0-9_+=.@:-]+/(?:[A-Za-z0-9_+=.@-]+/)*)"),
    re.compile(rf"{ENVIRONMENT}:(?P<path>{_VARIABLE}_)"),
)
_OWN = "RENTGATE_"
"""What the gateway's own variables begin with, which no tenant may ever name."""


class ReferencesUnusable(RentgateError):
    """References of a kind were turned on without what they need."""

    title = "References can't be turned on"
    remedy = "Set what the detail names, or leave the kind out of RENTGATE_REFERENCE_KINDS."


class NothingThere(RentgateError):
    """The source of a reference answers, and holds no usable secret there."""

    title = "There is no secret at the reference"


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a secret is kept.

    Attributes:
        kind: whose it is: one of `vault`, `aws-sm` and `env`.
        path: what its source knows it by.
        field: which of the secret's fields; None where the secret is the whole.
    """

    kind: str
    path: str
    field: str | None

    def is_under(self, prefixes: Iterable[str]) -> bool:
        """Whether one of a tenant's prefixes leads to it. Prefixes end where a name ends (`/`, or `_` of a
        variable), so that `vault:kv/data/a/` does not lead to `vault:kv/data/ab`.
        """
        return any(f"{self.kind}:{self.path}".startswith(prefix) for prefix in prefixes if is_prefix(prefix))


def parsed(text: str) -> Reference | None:
    """The reference that a text is; None for what is none."""
    found = _matched(_REFERENCES, text)
    if found is None:
        return None
    return Reference(found["kind"], found["path"], found["field"] or None)


def is_prefix(text: str) -> bool:
    """Whether a text can be a tenant's prefix: the beginning of references, up to the end of a name."""
    return _matched(_PREFIXES, text) is not None


def _matched(forms: Iterable[re.Pattern[str]], text: str) -> re.Match[str] | None:
    if len(text) > LONGEST:
        return None
    found = next((match for form in forms if (match := form.fullmatch(text))), None)
    if found is None or text.upper().startswith(f"{ENVIRONMENT}:{_OWN}".upper()):
        return None
    return None if any(set(name) == {"."} for name in found["path"].split("/")) else found
