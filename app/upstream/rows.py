"""Rows of an answer, read field by field: what can't be read is unknown, and takes nothing down beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from app.upstream.scalars import LABEL, Expected, Unreadable
from app.upstream.set_aside import Findings, is_empty

R = TypeVar("R")
T = TypeVar("T")

NESTED = "list: rows, or an object of rows"
"""What is expected of a member that holds a list, in the words of `Expected`."""


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list of the upstream's.

    Attributes:
        rows: what it shows.
        complete: whether it shows everything: what an incomplete list doesn't show may be there all the same.
        size: how many rows the answer had, read or not.
        digest: of what its rows hold, in whatever order, where it is needed to tell pages apart.
    """

    rows: tuple[T, ...]
    complete: bool = True
    size: int = 0
    digest: bytes = b""

    def __iter__(self) -> Iterator[T]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


class Row:
    """An object of an answer.

    Attributes:
        values: its members as they came.
        path: where it stands in the answer.
        findings: those of the answer that it belongs to.
    """

    def __init__(self, values: Mapping[str, Any], path: str, findings: Findings) -> None:
        self.values = values
        self.path = path
        self.findings = findings
        findings.rows += 1
        findings.meet(path, values)

    def read(self, name: str, expected: Expected[T], *aliases: str) -> T | None:
        """A field; None if it is missing, empty or can't be read, of which the last is put aside.

        Args:
            aliases: other names that it was seen under.
        """
        unreadable = [n for n in (name, *aliases) if not is_empty(self.values.get(n))]
        for present in unreadable:
            value = self.values[present]
            self.findings.expect(f"{self.path}.{present}", expected.name, value)
            try:
                return expected.read(value)
            except Unreadable:
                continue
        if unreadable:
            self.put_aside(unreadable[0])
        else:
            self.findings.expect(f"{self.path}.{name}", expected.name, self.values.get(name))
        return None

    def need(self, name: str, expected: Expected[T], *aliases: str) -> T | None:
        """As `read`, of a field that something hangs on: that it is missing is told as well."""
        if all(is_empty(self.values.get(present)) for present in (name, *aliases)):
            self.findings.put_aside(f"{self.path}.{name}", None)
        return self.read(name, expected, *aliases)

    def require(self, name: str, expected: Expected[T]) -> T:
        """A field without which the answer is none.

        Raises:
            Unreadable: it is missing, or can't be read.
        """
        value = self.need(name, expected)
        if value is None:
            raise Unreadable(f"{name} can't be read")
        return value

    def put_aside(self, name: str) -> None:
        """Note that a field can't be read."""
        self.findings.put_aside(f"{self.path}.{name}", self.values.get(name))


def entries_of(
    values: Mapping[str, Any], expected: Expected[T], findings: Findings, path: str
) -> dict[str, T]:
    """The members of an object whose keys are foreign names; those that can't be read are put aside under
    `path`, which doesn't hold their names.
    """
    found: dict[str, T] = {}
    for name, value in values.items():
        if is_empty(value) or is_empty(name):
            continue
        findings.expect(path, expected.name, value)
        try:
            found[LABEL.read(name)] = expected.read(value)
        except Unreadable:
            findings.put_aside(path, value)
    return found


def rows_of(data: Any, findings: Findings, path: str = "data") -> Listing[Row]:
    """The rows of a list, which may come as an object whose keys are numbers or ids.

    Rows that hold nothing are skipped. The listing is incomplete if something in it is no row.

    Raises:
        Unreadable: it is no list in any form that is known.
    """
    found = [value for _, value in keyed_rows_of(data, findings, path)]
    size = len(data) if isinstance(data, list | dict) else 0
    return Listing(tuple(row for row in found if row is not None), None not in found, size)


def keyed_rows_of(data: Any, findings: Findings, path: str = "data") -> list[tuple[str, Row | None]]:
    """The rows of a list with their keys; None for what is no row.

    Raises:
        Unreadable: it is no list in any form that is known.
    """
    if is_empty(data):
        return []
    match data:
        case list():
            items = [(str(index), value) for index, value in enumerate(data)]
        case dict() if any(isinstance(value, dict) for value in data.values()):
            items = list(data.items())
        case dict() if all(is_empty(value) for value in data.values()):
            return []
        case _:
            findings.put_aside(path, data)
            raise Unreadable(f"{path} is no list")
    found: list[tuple[str, Row | None]] = []
    for key, value in items:
        if isinstance(value, dict):
            if not all(is_empty(member) for member in value.values()):
                found.append((key, Row(value, f"{path}[]", findings)))
        elif not is_empty(value):
            findings.rows += 1
            findings.put_aside(f"{path}[]", value)
            found.append((key, None))
    return found


def each_once(
    rows: Listing[R],
    read: Callable[[R], T | None],
    key: Callable[[T], object],
    of_two: Callable[[T, T], T] = lambda first, _again: first,
) -> Listing[T]:
    """What the rows tell, each thing once; the listing is incomplete if one of the rows tells nothing.

    Args:
        read: what a row tells; None if it can't be read.
        key: what makes two of them the same thing.
        of_two: what counts of a thing that is told again.
    """
    found: dict[object, T] = {}
    readable = 0
    for row in rows:
        told = read(row)
        if told is not None:
            readable += 1
            before = found.get(key(told))
            found[key(told)] = told if before is None else of_two(before, told)
    return Listing(tuple(found.values()), rows.complete and readable == len(rows))


def rows_or_row_of(data: Any, findings: Findings) -> Listing[Row]:
    """The rows of a list, or of an object that is the only row itself."""
    is_row = (
        isinstance(data, dict)
        and any(not isinstance(value, dict) and not is_empty(value) for value in data.values())
        and not all(key.isdecimal() for key in data)
    )
    return Listing((Row(data, "data", findings),), size=1) if is_row else rows_of(data, findings)


def one_row_of(data: Any, findings: Findings) -> Row:
    """The only row of an answer, which may come as a list of one.

    Raises:
        Unreadable: there is not exactly one.
    """
    listed = rows_or_row_of(data, findings)
    if len(listed) != 1 or not listed.complete:
        raise Unreadable("data is not one object")
    return listed.rows[0]
