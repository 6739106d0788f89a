"""What is set aside is counted each time and logged once a shape and hour, without anything of the value."""

from __future__ import annotations

from structlog.testing import capture_logs

from app.accounts.set_aside_reports import REPEAT_SECONDS, SetAsideReports
from app.telemetry import Metrics
from app.upstream.set_aside import Findings

SECRET = "a-value-that-nobody-must-see"


def findings(field: str = "data[].until") -> Findings:
    found = Findings("orders")
    found.put_aside(field, SECRET)
    return found


def test_a_shape_is_logged_once_an_hour_and_counted_each_time() -> None:
    now, metrics = [0.0], Metrics()
    reports = SetAsideReports(metrics, clock=lambda: now[0])
    with capture_logs() as logged:
        for _ in range(3):
            reports.report(findings())
        reports.report(findings("data[].state"))
        now[0] = REPEAT_SECONDS
        reports.report(findings())
    assert [(line["log_level"], line["field"], line["kind"]) for line in logged] == [
        ("warning", "data[].until", "text"),
        ("warning", "data[].state", "text"),
        ("warning", "data[].until", "text"),
    ]
    shown = metrics.render().decode()
    assert 'rentgate_upstream_set_aside_total{field="data[].until",method="orders"} 4.0' in shown
    assert SECRET not in shown + str(logged)


def test_a_clean_answer_is_no_news() -> None:
    metrics = Metrics()
    with capture_logs() as logged:
        SetAsideReports(metrics).report(Findings("orders"))
    assert logged == []
