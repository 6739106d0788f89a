"""The report of a probe as lines of text, no wider than 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from textwrap import wrap
from urllib.parse import urlsplit

from app.probe.consequences import consequences
from app.probe.report import CallReport, FieldReport, MethodReport, Report, Result, Verdict

WIDTH = 80
FIELD, EXPECTED, FOUND, VERDICT = 29, 13, 24, 9
"""Columns of the table; with an indent of two and a blank between them they fill the width."""

MINUTE = 60


@dataclass(frozen=True, slots=True)
class Line:
    """A line, and how it is shown on a terminal."""

    text: str
    style: str = ""


def of_start(url: str, methods: int, pause: float) -> list[Line]:
    """What is told before the first call; of a URL, nothing that a key may stand in."""
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
    return [
        Line(f"Upstream: {place}"),
        *_wrapped(
            f"{methods} methods that neither cost nor change anything, {pause:g} s between two calls:"
            f" {_time(pause * (methods + 1))}. Kinds and counts only: no key, id, number or text.",
        ),
    ]


def of_method(report: MethodReport) -> list[Line]:
    """What was found of one method: its calls, its fields, and what else was seen."""
    lines = [Line(""), Line(f"{report.method} ({'with' if report.keyed else 'without'} the key)", "bold")]
    if report.skipped:
        lines += _wrapped(f"not called: {report.skipped}", indent=2)
    for call in report.calls:
        lines += _wrapped(_call(call), indent=2, style="" if call.understood else "bold red")
    if report.fields:
        lines += _row("field", "expected", "found", "verdict")
    for path, found in report.fields.items():
        lines += _field(path, found)
    for note in report.notes:
        lines += _wrapped(note, indent=2)
    return lines


def of_summary(report: Report) -> list[Line]:
    """What it comes to."""
    lines = [Line(""), Line("Summary", "bold")]
    lines += _wrapped(_pace(report))
    lines += _section("What was expected", _legend(report))
    lines += _section("Not called", (f"{one.method}: {one.skipped}" for one in report.methods if one.skipped))
    lines += _section("Without a row, so that its fields were not seen", _without_rows(report))
    lines += _section("There, and not used", _by_method(report.fields(Verdict.NOT_USED)))
    lines += _section("Expected, and in no row", _by_method(report.never_there()))
    lines += _section("Not understood", _failures(report), "bold red")
    lines += _section("Would be set aside", _set_aside(report), "bold red")
    lines += _section("What follows from it", (text for one in report.methods for text in _follows(one)))
    verdict = (
        "Every answer was understood, and nothing would be set aside."
        if report.good
        else "Not everything was understood: this report can be shown to the gateway's maintainers."
    )
    return [*lines, Line(""), *_wrapped(verdict, style="bold")]


def _call(call: CallReport) -> str:
    size = "" if call.size is None else f", {call.size} bytes"
    return f"{_outcome(call)} ({call.seconds:.2f} s{size})"


def _outcome(call: CallReport) -> str:
    said = call.result.value + (f": {call.detail}" if call.detail else "")
    if call.result is Result.READ and call.rows is not None:
        whole = "complete" if call.complete else "incomplete"
        said += f": {_times(call.rows, 'row')}, {whole}"
    return (f"{call.asked}: " if call.asked else "") + said.rstrip(".")


def _field(path: str, found: FieldReport) -> list[Line]:
    kinds = ", ".join(f"{kind} {count}" for kind, count in found.found.most_common())
    expected = "" if found.expected is None else found.expected.partition(":")[0]
    style = "bold red" if found.verdict is Verdict.SET_ASIDE else ""
    return _row(path, expected, kinds, found.verdict.value, style)


def _row(field: str, expected: str, found: str, verdict: str, style: str = "") -> list[Line]:
    cells = wrap(found, FOUND) or [""]
    lines = []
    if len(field) > FIELD:
        lines.append(Line(f"  {field}", style))
        field = ""
    first = f"  {field:<{FIELD}} {expected:<{EXPECTED}} {cells[0]:<{FOUND}} {verdict:<{VERDICT}}"
    lines.append(Line(first.rstrip(), style))
    indent = " " * (2 + FIELD + 1 + EXPECTED + 1)
    return [*lines, *(Line(indent + cell, style) for cell in cells[1:])]


def _wrapped(text: str, *, indent: int = 0, style: str = "") -> list[Line]:
    first, rest = " " * indent, " " * (indent + 2 if indent else 0)
    return [Line(line, style) for line in wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest)]


def _section(title: str, items: Iterable[str], style: str = "") -> list[Line]:
    lines = [line for item in items for line in _wrapped(item, indent=2)]
    return [Line(""), Line(f"{title}:", style or "bold"), *lines] if lines else []


def _pace(report: Report) -> str:
    calls = list(report.calls)
    limited = sum(call.result is Result.LIMITED for call in calls)
    told = (
        f"{limited} of them refused for too many requests"
        if limited
        else "none refused for too many requests"
    )
    slowest = max((call.seconds for call in calls), default=0.0)
    return (
        f"{_times(len(calls), 'call')} with {report.pause:g} s between them, {told};"
        f" the slowest took {slowest:.2f} s."
    )


def _legend(report: Report) -> list[str]:
    expected = {found.expected for one in report.methods for found in one.fields.values() if found.expected}
    return sorted(text for text in expected if ":" in text)


def _without_rows(report: Report) -> Iterator[str]:
    for one in report.methods:
        if one.calls and all(call.rows == 0 for call in one.calls):
            yield one.method


def _failures(report: Report) -> Iterator[str]:
    for one in report.methods:
        for call in one.calls:
            if not call.understood:
                yield f"{one.method}: {_outcome(call)}"


def _set_aside(report: Report) -> Iterator[str]:
    for one in report.methods:
        for finding, count in one.set_aside.items():
            yield f"{one.method} {finding.field}: {finding.kind}, {_times(count, 'time')}"


def _follows(report: MethodReport) -> Iterator[str]:
    for text in consequences(report):
        yield f"{report.method}: {text}"


def _by_method(places: Iterable[tuple[str, str]]) -> Iterator[str]:
    grouped: dict[str, list[str]] = {}
    for method, path in places:
        grouped.setdefault(method, []).append(path)
    for method, paths in grouped.items():
        yield f"{method}: {', '.join(paths)}"


def _times(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _time(seconds: float) -> str:
    if seconds < MINUTE:
        return f"less than {_times(max(1, round(seconds) + 1), 'second')}"
    return f"about {_times(round(seconds / MINUTE), 'minute')}"
