"""Metrics for Prometheus, of one process. No label holds anything that a caller chose freely."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    start_http_server,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

LATE = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400)
"""Seconds in which things that should happen at once do so, and days in which they still may."""

SETTLED = (1, 5, 15, 30, 60, 120, 180, 300, 600, 1800, 3600, 86400)
"""Seconds after which an operation of unknown outcome may be settled."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """What is counted; each process has its own registry."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        timer = partial(Histogram, buckets=SECONDS, registry=self._registry)
        gauge = partial(Gauge, registry=self._registry)
        self._requests = counter(
            "rentgate_http_requests", "Requests answered.", ["method", "route", "status"]
        )
        self._request_seconds = timer(
            "rentgate_http_request_seconds",
            "Seconds from a request's arrival to the end of its answer.",
            ["method", "route"],
        )
        self._upstream_calls = counter(
            "rentgate_upstream_calls",
            "Upstream calls by outcome: succeeded, or the error's code.",
            ["method", "outcome"],
        )
        self._upstream_seconds = timer(
            "rentgate_upstream_call_seconds",
            "Seconds of an upstream call, without the wait for its turn.",
            ["method"],
        )
        self._set_aside = counter(
            "rentgate_upstream_set_aside",
            "Values in upstream answers that could not be read, by method and field.",
            ["method", "field"],
        )
        self._pace_seconds = timer(
            "rentgate_pace_wait_seconds",
            "Seconds that an upstream call waits for its turn; who: caller or background.",
            ["who"],
        )
        self._pace_refused = counter(
            "rentgate_pace_refused",
            "Upstream calls that were not made because their turn would come too late, or, in the"
            " background, not at once; who: caller or background.",
            ["who"],
        )
        self._reads = counter(
            "rentgate_reads",
            "Reads of rentals and SMS that were answered; source: store if the request made no upstream call,"
            " upstream if it looked there first.",
            ["resource", "source"],
        )
        self._settled_seconds = timer(
            "rentgate_operation_settle_seconds",
            "Seconds from sending an operation of unknown outcome until it was settled.",
            ["kind", "state"],
            buckets=SETTLED,
        )
        self._look_lag = timer(
            "rentgate_look_lag_seconds",
            "Seconds from when the worker's look at an account was due until it began.",
            buckets=LATE,
        )
        self._webhook_attempts = counter(
            "rentgate_webhook_attempts",
            "Attempts to deliver a webhook: delivered, refused (answered, but not 2xx) or unreachable.",
            ["outcome"],
        )
        self._webhook_seconds = timer(
            "rentgate_webhook_attempt_seconds", "Seconds of an attempt to deliver a webhook."
        )
        self._webhook_delay = timer(
            "rentgate_webhook_delay_seconds", "Seconds from an event until an endpoint had it.", buckets=LATE
        )
        self._connections = gauge(
            "rentgate_database_connections_in_use", "Connections of this process's pool that are in use."
        )
        self._limits_not_shared = gauge(
            "rentgate_limits_not_shared",
            "1 while this process counts rate limits for itself, because its Redis does not answer.",
        )
        self._of_all_tenants = CollectorRegistry()
        measured = partial(Gauge, registry=self._of_all_tenants)
        self._operations = measured(
            "rentgate_operations_open", "Operations without an outcome, of all tenants, by state.", ["state"]
        )
        self._oldest_unknown = measured(
            "rentgate_oldest_unknown_operation_seconds",
            "Seconds since the oldest operation of unknown outcome was sent.",
        )
        self._look_age = measured(
            "rentgate_oldest_look_age_seconds", "Seconds since the account seen least recently was seen."
        )
        self._accounts = measured(
            "rentgate_accounts",
            "Upstream accounts of all tenants by health: ok, degraded or failing.",
            ["health"],
        )
        self._webhooks_due = measured(
            "rentgate_webhook_deliveries_due", "Webhook deliveries that are due, of all tenants."
        )
        self._oldest_webhook = measured(
            "rentgate_oldest_due_webhook_delivery_seconds",
            "Seconds for which the oldest webhook delivery has been due.",
        )
        self._below_balance_mark = measured(
            "rentgate_accounts_below_balance_mark",
            "Accounts whose balance is below their mark, of all tenants.",
        )
        self._balance_reading_age = measured(
            "rentgate_oldest_balance_reading_seconds",
            "Seconds since the balance that was read least recently was read.",
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; `route` is the path's template, never the path."""
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(method, route).observe(seconds)

    def repeated_read(self, route: str, status: int, resource: str) -> Callable[[float], None]:
        """What counts a request that is answered from memory, and the read that it is, by its seconds."""
        requests = self._requests.labels("GET", route, str(status))
        request_seconds = self._request_seconds.labels("GET", route)
        reads = self._reads.labels(resource, "store")

        def count(seconds: float) -> None:
            requests.inc()
            request_seconds.observe(seconds)
            reads.inc()

        return count

    def upstream_call(self, method: str, outcome: str, seconds: float) -> None:
        """Count an upstream call."""
        self._upstream_calls.labels(method, outcome).inc()
        self._upstream_seconds.labels(method).observe(seconds)

    def set_aside(self, method: str, field: str) -> None:
        """Count an answer that held something in this field that could not be read."""
        self._set_aside.labels(method, field).inc()

    def pace_wait(self, seconds: float, *, background: bool) -> None:
        """Count an upstream call whose turn comes in some seconds."""
        self._pace_seconds.labels(_who(background=background)).observe(seconds)

    def pace_refused(self, *, background: bool) -> None:
        """Count an upstream call that is not made, for want of a turn."""
        self._pace_refused.labels(_who(background=background)).inc()

    def read(self, resource: str, *, looked: bool) -> None:
        """Count a read that was answered, and whether it had the upstream looked at."""
        self._reads.labels(resource, "upstream" if looked else "store").inc()

    def measured(
        self,
        operations: Mapping[str, int],
        *,
        accounts: Mapping[str, int],
        oldest_unknown: float,
        look_age: float,
        deliveries_due: int,
        oldest_delivery: float,
        below_balance_mark: int,
        oldest_balance_reading: float,
    ) -> None:
        """Note how all tenants stand; only a process that measures it shows it.

        Args:
            operations: the open ones, by state.
            accounts: how many there are, by health.
            oldest_unknown: seconds since the oldest one of unknown outcome was sent.
            look_age: seconds since the account seen least recently was seen.
            deliveries_due: webhook deliveries that are due.
            oldest_delivery: seconds for which the oldest of them has been.
            below_balance_mark: accounts whose balance is below their mark.
            oldest_balance_reading: seconds since the balance that was read least recently was read.
        """
        for state, count in operations.items():
            self._operations.labels(state).set(count)
        for health, count in accounts.items():
            self._accounts.labels(health).set(count)
        self._oldest_unknown.set(oldest_unknown)
        self._look_age.set(look_age)
        self._webhooks_due.set(deliveries_due)
        self._oldest_webhook.set(oldest_delivery)
        self._below_balance_mark.set(below_balance_mark)
        self._balance_reading_age.set(oldest_balance_reading)
        self._registry.register(self._of_all_tenants)  # which it may be again

    def operation_settled(self, kind: str, state: str, seconds: float) -> None:
        """Count an operation of unknown outcome that was settled."""
        self._settled_seconds.labels(kind, state).observe(seconds)

    def look_lag(self, seconds: float) -> None:
        """Count a look of the worker that began so late."""
        self._look_lag.observe(seconds)

    def webhook(self, outcome: str, seconds: float) -> None:
        """Count an attempt to deliver a webhook."""
        self._webhook_attempts.labels(outcome).inc()
        self._webhook_seconds.observe(seconds)

    def webhook_delay(self, seconds: float) -> None:
        """Count an event that an endpoint had after so long."""
        self._webhook_delay.observe(seconds)

    def watch_connections(self, in_use: Callable[[], int]) -> None:
        """Have the pool asked whenever the metrics are read."""
        self._connections.set_function(in_use)

    def watch_limits(self, away: Callable[[], bool]) -> None:
        """Have it asked, whenever the metrics are read, whether the limits' Redis is away."""
        self._limits_not_shared.set_function(lambda: float(away()))

    @contextmanager
    def serving(self, host: str, port: int) -> Iterator[None]:
        """Gives the metrics over HTTP meanwhile, from a thread of its own.

        Raises:
            OSError: the address can't be listened on.
        """
        server, thread = start_http_server(port, host, self._registry)
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)


def _who(*, background: bool) -> str:
    return "background" if background else "caller"
