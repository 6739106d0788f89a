"""What a probe found, as data. It holds places, kinds and counts, and nothing of any value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from app.upstream.kinds import MISSING
from app.upstream.set_aside import FieldSeen, SetAside

HOLDS_OTHERS = "members: other fields, in the lines below"
"""What is expected of a field that holds others."""


class Result(StrEnum):
    """What came of a call."""

    READ = "read"
    REFUSED = "refused"
    UNREADABLE = "unreadable"
    LIMITED = "refused for too many requests"
    TIMED_OUT = "timed out"
    UNREACHABLE = "not reached"
    FAILED = "failed"


class Verdict(StrEnum):
    """What the gateway makes of a field."""

    OK = "ok"
    SET_ASIDE = "set aside"
    NOT_USED = "not used"


@dataclass(frozen=True, slots=True)
class CallReport:
    """One call.

    Attributes:
        asked: its parameters, in words that name no id.
        result: what came of it.
        detail: more of that, in the gateway's own words.
        understood: whether the gateway knows what the answer means.
        rows: how many rows the answer had; None if it is no list, or was not read.
        complete: whether the list could be read whole; None if it is no list, or was not read.
        seconds: how long it took.
        size: bytes of the answer; None if there was none.
    """

    asked: str
    result: Result
    detail: str = ""
    understood: bool = False
    rows: int | None = None
    complete: bool | None = None
    seconds: float = 0.0
    size: int | None = None


@dataclass(slots=True)
class FieldReport:
    """A field of a method's answers, over all of its calls and rows.

    Attributes:
        expected: what the gateway reads there; None if it doesn't use the field.
        found: how often each kind of value stood there.
        set_aside: how often it could not be read.
    """

    expected: str | None = None
    found: Counter[str] = field(default_factory=Counter)
    set_aside: int = 0

    @property
    def verdict(self) -> Verdict:
        """What the gateway makes of it."""
        if self.set_aside:
            return Verdict.SET_ASIDE
        return Verdict.NOT_USED if self.expected is None else Verdict.OK

    @property
    def only_set_aside(self) -> bool:
        """Whether nothing but what could not be read was noted here."""
        return self.found.total() < self.set_aside

    @property
    def never_there(self) -> bool:
        """Whether the gateway expects it, and no row had it."""
        return self.expected is not None and set(self.found) == {MISSING}

    def add(self, seen: FieldSeen) -> None:
        """Add what one answer held."""
        self.expected = self.expected or seen.expected
        kinds = Counter(seen.met or seen.found)
        if missing := max(seen.met[MISSING], seen.found[MISSING]):
            kinds[MISSING] = missing
        self.found.update(kinds)
        self.set_aside += seen.set_aside


@dataclass(slots=True)
class MethodReport:
    """What was found of one method.

    Attributes:
        method: the upstream's method.
        keyed: whether it was called with the account's key.
        calls: the calls that were made of it.
        skipped: why it was not called; empty if it was.
        fields: the fields of its answers by path, in the order in which they were met.
        set_aside: what could not be read, and how often.
        notes: what else was seen.
    """

    method: str
    keyed: bool
    calls: list[CallReport] = field(default_factory=list)
    skipped: str = ""
    fields: dict[str, FieldReport] = field(default_factory=dict)
    set_aside: Counter[SetAside] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether a call of it had no answer that the gateway understands."""
        return any(not call.understood for call in self.calls)

    def add_set_aside(self, counts: Mapping[SetAside, int]) -> None:
        """Add what one answer held that can't be read; of what is no field, such as a row, its kinds too."""
        self.set_aside.update(counts)
        for finding, count in counts.items():
            found = self.fields.get(finding.field)
            if found is not None and found.only_set_aside:
                found.found[finding.kind] += count

    def add_fields(self, fields: Mapping[str, FieldSeen]) -> None:
        """Add the fields of one answer."""
        for path, seen in fields.items():
            self.fields.setdefault(path, FieldReport()).add(seen)
        for path, found in self.fields.items():
            if any(other.startswith((f"{path}.", f"{path}[")) for other in self.fields):
                found.expected = found.expected or HOLDS_OTHERS


@dataclass(slots=True)
class Report:
    """What a probe found.

    Attributes:
        methods: what it found of each, in the order in which they were called.
        pause: seconds between two calls.
    """

    pause: float
    methods: list[MethodReport] = field(default_factory=list)

    @property
    def calls(self) -> Iterator[CallReport]:
        """All calls that were made."""
        return (call for method in self.methods for call in method.calls)

    @property
    def good(self) -> bool:
        """Whether nothing would be set aside, and every answer was understood."""
        return not any(method.failed or method.set_aside for method in self.methods)

    def fields(self, verdict: Verdict) -> Iterator[tuple[str, str]]:
        """Method and path of the fields with a verdict."""
        for method in self.methods:
            for path, found in method.fields.items():
                if found.verdict is verdict:
                    yield method.method, path

    def never_there(self) -> Iterator[tuple[str, str]]:
        """Method and path of the fields that are expected and that no row had."""
        for method in self.methods:
            for path, found in method.fields.items():
                if found.never_there:
                    yield method.method, path
