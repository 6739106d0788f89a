"""The probe's report: verdicts, what never was there, and lines that fit into 80 columns."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.probe_text import WIDTH, of_method, of_start, of_summary
from app.probe.account import order_of, skipping
from app.probe.consequences import consequences
from app.probe.report import CallReport, FieldReport, MethodReport, Report, Result, Verdict
from app.upstream import account_answers, catalog_answers, message_answers
from app.upstream.kinds import KINDS
from app.upstream.set_aside import Findings, SetAside
from app.upstream.wire import HistoryEntry
from app.values import utc_now

ROW = {"id": 77, "scode": "opt1", "state": 1, "pnumber": "9161234567", "ccode": "+7", "until": 1_771_494_473}


def report_of(method: str, findings: Findings, complete: bool | None = None) -> MethodReport:
    report = MethodReport(method, keyed=True)
    call = CallReport("", Result.READ, understood=True, rows=findings.rows, complete=complete)
    report.calls.append(call)
    report.add_fields(findings.fields or {})
    report.add_set_aside(findings.counts)
    return report


def test_each_field_has_its_kinds_counts_and_verdict() -> None:
    findings = Findings("orders", inspect=True)
    rows = [{**ROW, "rent_state": "x"}, {**ROW, "id": "78", "until": "2026-01-20 09:47"}, {**ROW, "id": ""}]
    listing = account_answers.orders(rows, findings)
    report = report_of("orders", findings, listing.complete)
    assert report.calls[0].rows == 3
    fields = report.fields
    assert fields["data[].id"].found == {"whole number": 1, "text of digits": 1, "empty text": 1}
    assert fields["data[].id"].verdict is Verdict.SET_ASIDE
    assert fields["data[].until"].found == {"number like a time": 2, "text like a date": 1}
    assert (fields["data[].until"].verdict, fields["data[].until"].set_aside) == (Verdict.SET_ASIDE, 1)
    assert fields["data[].rent_state"].verdict is Verdict.NOT_USED
    assert fields["data[].rent_state"].found == {"text": 1}
    assert fields["data[].scode"].verdict is Verdict.OK
    assert fields["data[].lastonline"].found == {"missing": 3}
    whole = Report(5.0, [report])
    assert ("orders", "data[].lastonline") in whole.never_there()
    assert ("orders", "data[].until") not in whole.never_there()
    assert report.set_aside[SetAside("orders", "data[].until", "text like a date")] == 1
    assert not whole.good
    told = " ".join(consequences(report))
    assert "no rental would be closed by it" in told
    assert "The end of such an order" in told


def test_an_object_that_holds_read_fields_is_used() -> None:
    findings = Findings("getdataWithProviders", inspect=True)
    row = {"name": "A", "service": "opt1", "price_day": 1, "count": {"Claro_AR": 2, "79161234567": 3}}
    catalog_answers.offers({"services": [row], "allOperators": ["Claro_AR"]}, findings)
    fields = report_of("getdataWithProviders", findings).fields
    assert fields["data.services[].count"].verdict is Verdict.OK
    assert fields["data.services[].count.*"].found == {"whole number": 2}
    assert fields["data.services"].verdict is Verdict.OK
    assert fields["data.allOperators"].verdict is Verdict.NOT_USED
    assert not [path for path in fields if "Claro" in path or "7916" in path]


def test_what_is_no_row_is_counted_with_its_kind() -> None:
    findings = Findings("orders", inspect=True)
    listing = account_answers.orders([ROW, None, "x", 7, {}], findings)
    report = report_of("orders", findings, listing.complete)
    assert report.calls[0].rows == 3
    assert report.fields["data[]"].found == {"text": 1, "whole number": 1}
    assert report.fields["data[]"].verdict is Verdict.SET_ASIDE


def test_an_empty_list_beside_another_is_used() -> None:
    findings = Findings("sms", inspect=True)
    message_answers.sms_lists({"SmsList": [{"text": "x"}], "OtherSms": [], "total": 1}, findings)
    fields = report_of("sms", findings).fields
    assert fields["data.OtherSms"].verdict is Verdict.OK
    assert fields["data.OtherSms"].found == {"empty list": 1}
    assert fields["data.total"].verdict is Verdict.NOT_USED


def test_foreign_names_are_not_kept_and_known_ones_are() -> None:
    findings = Findings("sms", inspect=True)
    message_answers.sms_lists({"SmsList": [{"text": "x", "79161234567": 1, "hello there": 2}]}, findings)
    fields = report_of("sms", findings).fields
    assert fields["data.SmsList[].(an odd name)"].found == {"whole number": 2}
    assert "data.SmsList[].text" in fields


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("abcd", "bc", "is honoured"),
        ("abcd", "ab", "is ignored"),
        ("a", "a", "is ignored"),
        ("a", "", "can't be told"),
        ("", "", "can't be told"),
        ("abcd", "cd", "begins with row 3"),
        ("abcd", "xy", "begins with another row"),
        ("abcd", "", "is empty"),
    ],
)
def test_whether_skip_is_honoured(first: str, second: str, said: str) -> None:
    assert said in skipping(*(tuple(HistoryEntry(name) for name in page) for page in (first, second)))


@pytest.mark.parametrize(
    ("days", "said"),
    [
        ((3, 2, 1), "latest first"),
        ((1, 2, 3), "earliest first"),
        ((2, 1, 3), "not ordered by their end"),
        ((1, None, 3), "can't be told"),
        ((1, 1, 1), "can't be told"),
        ((), "can't be told"),
    ],
)
def test_how_the_archive_is_ordered(days: tuple[int | None, ...], said: str) -> None:
    now = utc_now()
    ends = [None if day is None else now.replace(year=2000 + day) for day in days]
    assert said in order_of(tuple(HistoryEntry("1", ended_at=end) for end in ends))


NAMES = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=24)
FIELDS = st.dictionaries(
    NAMES.map(lambda name: f"data.services[].{name}"),
    st.builds(
        FieldReport,
        st.none() | st.just("time or flag: a Unix time, or yes or no"),
        st.dictionaries(st.sampled_from(sorted(KINDS)), st.integers(1, 99_999), min_size=1).map(Counter),
        st.integers(0, 3),
    ),
    max_size=8,
)


@given(FIELDS, st.text(st.characters(max_codepoint=126), max_size=200), st.sampled_from(Result))
def test_every_line_fits_into_eighty_columns_and_tells_every_count(
    fields: dict[str, FieldReport], words: str, result: Result
) -> None:
    call = CallReport(" ".join(words.split()), result, "HTTP status 503", rows=3, complete=False, size=9)
    report = MethodReport("getdataWithProviders", keyed=True, calls=[call], fields=fields, notes=[words])
    for path, found in fields.items():
        if found.set_aside:
            report.set_aside[SetAside(report.method, path, "text")] = found.set_aside
    lines = [*of_method(report), *of_summary(Report(5.0, [report]))]
    start = of_start("https://user:secret@smspva.com:8443/api/rent.php?apikey=x", 14, 5.0)
    told = "".join(line.text for line in start)
    assert "secret" not in told
    assert "apikey" not in told
    lines += start
    long = [line.text for line in lines if len(line.text) > WIDTH and not _unbreakable(line.text)]
    assert long == []
    text = "\n".join(line.text for line in lines)
    for path, found in fields.items():
        assert path in text
        assert found.verdict.value in text


def _unbreakable(text: str) -> bool:
    return max(len(word) for word in text.split()) > WIDTH - 4
