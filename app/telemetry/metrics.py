"""Metrics for Prometheus, of one process. No label holds anything that a caller chose freely."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """What is counted; each process has its own registry."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "rentgate_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._request_seconds = Histogram(
            "rentgate_http_request_seconds",
            "Seconds from a request's arrival to the end of its answer.",
            ["method", "route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._upstream_calls = Counter(
            "rentgate_upstream_calls",
            "Upstream calls by outcome: succeeded, or the error's code.",
            ["method", "outcome"],
            registry=self._registry,
        )
        self._upstream_seconds = Histogram(
            "rentgate_upstream_call_seconds",
            "Seconds of an upstream call, without the wait for its turn.",
            ["method"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._operations = Gauge(
            "rentgate_operations_open",
            "Operations without an outcome, of all tenants, by state; set where a worker runs.",
            ["state"],
            registry=self._registry,
        )
        self._oldest_unknown = Gauge(
            "rentgate_oldest_unknown_operation_seconds",
            "Seconds since the oldest operation of unknown outcome was sent; set where a worker runs.",
            registry=self._registry,
        )
        self._settled_seconds = Histogram(
            "rentgate_operation_settle_seconds",
            "Seconds from sending an operation of unknown outcome until it was settled.",
            ["kind", "state"],
            buckets=(1, 5, 15, 30, 60, 120, 180, 300, 600, 1800, 3600, 86400),
            registry=self._registry,
        )
        self._look_age = Gauge(
            "rentgate_oldest_look_age_seconds",
            "Seconds since the account seen least recently was seen; set where a worker runs.",
            registry=self._registry,
        )
        self._connections = Gauge(
            "rentgate_database_connections_in_use",
            "Connections of this process's pool that are in use.",
            registry=self._registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; `route` is the path's template, never the path."""
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(method, route).observe(seconds)

    def upstream_call(self, method: str, outcome: str, seconds: float) -> None:
        """Count an upstream call."""
        self._upstream_calls.labels(method, outcome).inc()
        self._upstream_seconds.labels(method).observe(seconds)

    def open_operations(self, by_state: Mapping[str, int], oldest_unknown_seconds: float) -> None:
        """Note how many operations are open, and for how long the oldest unknown one has been so."""
        for state, count in by_state.items():
            self._operations.labels(state).set(count)
        self._oldest_unknown.set(oldest_unknown_seconds)

    def operation_settled(self, kind: str, state: str, seconds: float) -> None:
        """Count an operation of unknown outcome that was settled."""
        self._settled_seconds.labels(kind, state).observe(seconds)

    def look_age(self, seconds: float) -> None:
        """Note how long ago the account seen least recently was seen."""
        self._look_age.set(seconds)

    def watch_connections(self, in_use: Callable[[], int]) -> None:
        """Have the pool asked whenever the metrics are read."""
        self._connections.set_function(in_use)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
