"""Canaries: secrets that a test knows, and the search for what is left of them anywhere."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

WINDOW, STEP = 12, 4
"""Pieces of a secret that are looked for: any 15 of its characters in a row hold one."""

_ZEROS = re.compile(rb"\0{16,}")


@dataclass(frozen=True, slots=True)
class Canary:
    """A secret; its first characters may be shown, and its last ones."""

    name: str
    text: str
    shown_first: int = 0
    shown_last: int = 4

    @property
    def hidden(self) -> bytes:
        """What may stand nowhere."""
        return self.text.encode()[self.shown_first : len(self.text) - self.shown_last]

    def forms(self) -> dict[str, bytes]:
        """What is looked for, by what it is."""
        hidden = self.hidden
        pieces = range(0, len(hidden) - WINDOW + 1, STEP)
        found = {f"characters from {start}": hidden[start : start + WINDOW] for start in pieces}
        text = hidden.decode()
        found["in a URL"] = quote(text, safe="").encode()
        found["in a URL, lower case"] = _lower_escapes(quote(text, safe="")).encode()
        found["in JSON"] = json.dumps(text)[1:-1].encode()
        found["in HTML"] = html.escape(text).encode()
        found["in hex"] = hidden.hex().encode()
        for shift in range(3):
            found[f"in base64, shifted by {shift}"] = _in_base64(hidden, shift)
            found[f"in base64 of URLs, shifted by {shift}"] = _in_base64(hidden, shift).translate(
                bytes.maketrans(b"+/", b"-_")
            )
        return found


def found_in(canaries: Iterable[Canary], places: Mapping[str, bytes]) -> list[str]:
    """Where something is left of a canary, and in which form."""
    return [
        f"{canary.name} {form} in {place}"
        for canary in canaries
        for form, needle in canary.forms().items()
        for place, content in places.items()
        if needle in content
    ]


def tables_of(superuser_url: str) -> Iterator[tuple[str, bytes]]:
    """Every table of a database as text, and what the server tells of its sessions."""
    with psycopg.connect(superuser_url) as connection:
        names = connection.execute(
            "select quote_ident(relname) from pg_class where relkind = 'r'"
            " and relnamespace = 'public'::regnamespace"
        ).fetchall()
        for (name,) in [*names, ("pg_stat_activity",), ("pg_settings",)]:
            rows = connection.execute(f"select t::text from {name} t").fetchall()
            yield f"table {name}", "\n".join(text for (text,) in rows).encode()


def files_under(folder: Path, since: float = 0) -> Iterator[tuple[str, bytes]]:
    """Every file of a folder that was written since a Unix time, as it lies on the disk; long runs of zeros,
    of which most of a database's files consist, are cut short.
    """
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_mtime >= since:
            yield f"file {path.relative_to(folder)}", _ZEROS.sub(b"\0", path.read_bytes())


def _in_base64(secret: bytes, shift: int) -> bytes:
    """How a secret looks in base64 after so many other bytes, without what those have a part in."""
    encoded = base64.b64encode(b"\0" * shift + secret)
    return encoded[-(-shift * 8 // 6) : (shift + len(secret)) * 8 // 6]


def _lower_escapes(quoted: str) -> str:
    head, *rest = quoted.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)
