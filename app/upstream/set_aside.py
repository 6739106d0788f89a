"""What of an answer could not be read: the place and the kind of value, never the value itself.

The upstream changes without notice. What one field, one row or one message holds must not take down what
stands beside it, and must not go unnoticed either: each answer is read with its own `Findings`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.upstream.kinds import MISSING, UNREADABLE, kind_of, shown_name


@dataclass(frozen=True, slots=True)
class SetAside:
    """A value that could not be read.

    Attributes:
        method: the upstream's method.
        field: where it stood, such as `data[].until`; made of names that the gateway reads, so that nothing
            foreign is in it.
        kind: what kind of value stood there: one of `KINDS`.
    """

    method: str
    field: str
    kind: str

    @property
    def message(self) -> str:
        """The finding in words."""
        if self.kind == MISSING:
            return f"{self.field} of {self.method} is missing."
        if self.kind == UNREADABLE:
            return f"The answer to {self.method} can't be read."
        return f"{self.field} of {self.method} can't be read: it holds a {self.kind}."


@dataclass(slots=True)
class FieldSeen:
    """What a field held in all rows of an answer.

    Attributes:
        expected: the kind of value that the gateway reads there; None for a field that it doesn't use.
        found: how often each kind of value stood there when it was read, or was missing then.
        met: how often each kind of value stood there in objects, whether it is read or not.
        set_aside: how often it could not be read.
    """

    expected: str | None = None
    found: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    set_aside: int = 0


class Findings:
    """Collects what one answer holds that can't be read.

    Args:
        method: the upstream's method that was called.
        inspect: also keep, for each field, what was found beside what is expected.

    Attributes:
        fields: what was found in each field by its path; None where fields are not inspected.
        rows: how many rows the answer had.
    """

    def __init__(self, method: str, *, inspect: bool = False) -> None:
        self.method = method
        self._counts: Counter[SetAside] = Counter()
        self.fields: dict[str, FieldSeen] | None = {} if inspect else None
        self.rows = 0

    @property
    def counts(self) -> Mapping[SetAside, int]:
        """The different findings, and how often each was met."""
        return self._counts

    @property
    def set_aside(self) -> tuple[SetAside, ...]:
        """The different findings, in the order in which they were met."""
        return tuple(self._counts)

    def put_aside(self, path: str, value: Any) -> None:
        """Note a value that can't be read; None stands for one that is missing."""
        self._counts[SetAside(self.method, path, kind_of(value))] += 1
        if self.fields is not None:
            self.fields.setdefault(path, FieldSeen()).set_aside += 1

    def put_aside_answer(self) -> None:
        """Note that nothing of the answer could be used, unless a finding says so already."""
        if not self._counts:
            self._counts[SetAside(self.method, "data", UNREADABLE)] += 1

    def expect(self, path: str, expected: str, value: Any) -> None:
        """Note what stands in a field that is read, where fields are inspected."""
        if self.fields is not None:
            seen = self.fields.setdefault(path, FieldSeen())
            seen.expected = expected
            seen.found[kind_of(value)] += 1

    def meet(self, path: str, values: Mapping[str, Any]) -> None:
        """Note the members of an object, where fields are inspected; odd names are not kept."""
        if self.fields is not None:
            for name, value in values.items():
                seen = self.fields.setdefault(f"{path}.{shown_name(name)}", FieldSeen())
                seen.met[kind_of(value)] += 1


def is_empty(value: Any) -> bool:
    """Whether a value holds nothing: null, blank text, or an empty list or object."""
    return value is None or (isinstance(value, str) and not value.strip()) or value in ([], {})
