"""The flood: SMS come all the while, and workers, gateways, endpoints and Postgres fail; what came through?

Messages arrive in any order of the upstream's list, equal ones too, some without a date. Three readers follow
each tenant: one its feed by the cursor, one its stream by Last-Event-ID, one waits for messages of a rental.
Each tenant has an endpoint that always answers, and one that fails now and then.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from app import migrate
from app.database.embedded import EmbeddedPostgres
from app.sandbox import SandboxOptions
from app.sandbox.forms.variations import Variation
from app.sandbox.options import Shape
from app.sandbox.world import Arrived, Number
from tests.acceptance.conftest import ADMIN_TOKEN, QUICK, Gateway, running_gateway, settings_for
from tests.acceptance.tenant import Tenant, eventually, ok
from tests.processes import Command, Forked
from tests.receiver import Received, Receiver, Reply, receiving
from tests.served import ServedSandbox

TENANTS, RENTALS_EACH, GATEWAYS, WORKERS = 3, 3, 2, 2

SETTINGS = {
    "RENTGATE_WEBHOOK_ALLOW_PRIVATE": "true",
    "RENTGATE_SYNC_INTERVAL": "0.3",
    "RENTGATE_SYNC_IDLE_INTERVAL": "0.5",
    "RENTGATE_UPSTREAM_TIMEOUT": "2",
    "RENTGATE_LOG_LEVEL": "WARNING",
}

Event = dict[str, Any]

CONCEALING = frozenset(
    {
        *(Variation.FIELDS_MISSING, Variation.SMS_STRINGS, Variation.DATE_TEXT, Variation.OTHER_SMS_NAMES),
        *(Variation.ROW_WITHOUT_ID, Variation.HUGE_NUMBERS, Variation.MASKED_NUMBERS),
    }
)
"""Forms that keep back a message's sender or time, by which the checker tells messages apart; and those that
can't be read, since they turn accounts' health over and over, so that events would have no end.
"""


@dataclass(slots=True)
class Followed:
    """A tenant's rental with its number at the upstream, and what came to that."""

    id: str
    number: Number
    service: str
    arrived: list[tuple[str | None, str, bool]] = field(default_factory=list)


@dataclass(slots=True)
class Watched:
    """A tenant, what its readers have seen, in their order, and what its endpoints got."""

    tenant: Tenant
    rentals: list[Followed] = field(default_factory=list)
    endpoints: list[Receiver] = field(default_factory=list)
    by_cursor: list[Event] = field(default_factory=list)
    by_stream: list[str] = field(default_factory=list)
    by_waiting: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What was done, and what came of it."""

    watched: list[Watched] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)


class Flood:
    """One run, chosen by a seed; `rise` lasts as long as it is told to, and then until all is delivered."""

    def __init__(self, seed: int, folder: Path) -> None:
        self._chance = random.Random(seed)
        self._folder = folder
        self._stop, self._dry, self._over = threading.Event(), threading.Event(), threading.Event()
        self._restarting = threading.Lock()
        self._report = Report()

    @contextmanager
    def rise(self, seconds: float) -> Iterator[Report]:
        """Let it rise for some seconds; then everything can be looked at."""
        with ExitStack() as stack:
            self._server = EmbeddedPostgres(self._folder / "data")
            superuser = self._server.start()
            stack.callback(self._server.stop)
            app_url, owner_url = migrate.prepare_embedded(superuser)
            migrate.upgrade(owner_url)
            options = SandboxOptions(
                activation_seconds=0.2,
                sms_seconds=0,
                stock=10**6,
                shape=Shape.SEEN,
                variations=frozenset(Variation) - CONCEALING,
            )
            self._sandbox = stack.enter_context(ServedSandbox(options))
            self._settings = {**QUICK, **settings_for(app_url, self._sandbox), **SETTINGS}
            self._gateways = [stack.enter_context(self._gateway(n)) for n in range(GATEWAYS)]
            self._workers = [self._worker() for _ in range(WORKERS)]
            stack.callback(self._end_workers)
            for _ in range(TENANTS):
                self._report.watched.append(self._settle_in(stack))
            self._run(seconds)
            yield self._report

    def _gateway(self, number: int) -> Any:
        log = self._folder / f"gateway-{number}.jsonl"
        return running_gateway(log, "--no-worker", **self._settings)

    def _worker(self) -> Command:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RENTGATE_")}
        return Forked(("worker",), {**inherited, **self._settings}, self._folder / "workers.jsonl")

    def _end_workers(self) -> None:
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.wait(60)

    def _settle_in(self, stack: ExitStack) -> Watched:
        """A tenant with endpoints for all events, whose numbers are active."""
        gateway = self._gateways[0]
        admin = stack.enter_context(gateway.client(ADMIN_TOKEN))
        watched = Watched(Tenant.create(gateway.client, admin, self._sandbox))
        tenant = watched.tenant
        for fails in (False, True):
            receiver = stack.enter_context(receiving())
            chance = random.Random(self._chance.random())
            if fails:
                receiver.reply = lambda _, chance=chance: self._reply(chance)  # type: ignore[misc]
            ok(tenant.http.post("/webhooks", json={"url": receiver.url, "events": ["*"]}), 201)
            watched.endpoints.append(receiver)
        for _ in range(RENTALS_EACH):
            rental = tenant.rent(activate=True)
            tenant.until(rental["id"], number_state="active")
            (order,) = [o for o in tenant.orders if str(o.id) == rental["upstream_order_id"]]
            watched.rentals.append(Followed(rental["id"], order.number, "opt1"))
        return watched

    def _reply(self, chance: random.Random) -> Reply:
        if self._dry.is_set() or chance.random() < 0.8:
            return Reply()
        self._report.done["endpoint failures"] += 1
        return chance.choice([Reply(500), Reply(503, after=1.0), Reply(302), Reply(404)])

    def _run(self, seconds: float) -> None:
        chaos: list[Callable[[], None]] = [
            self._let_messages_come,
            self._kill_workers,
            self._kill_gateways,
            self._crash_database,
        ]
        readers: list[Callable[[], None]] = []
        for watched in self._report.watched:
            for follow in (self._follow_feed, self._follow_stream, self._wait_for_messages):
                readers.append(lambda follow=follow, watched=watched: follow(watched))  # type: ignore[misc]
        with ThreadPoolExecutor(len(chaos) + len(readers)) as pool:
            working, reading = [pool.submit(w) for w in chaos], [pool.submit(r) for r in readers]
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and not any(done.done() for done in working + reading):
                time.sleep(0.1)
            self._stop.set()
            try:
                for done in working:
                    done.result()
                self._subside()
            finally:
                self._over.set()
            for done in reading:
                done.result()

    def _subside(self) -> None:
        """Nothing more comes or fails: wait until each message is in the feed, and everybody has it."""
        for watched in self._report.watched:
            wanted = sum(len(rental.arrived) for rental in watched.rentals)

            def came(watched: Watched = watched) -> int:
                return len([event for event in watched.by_cursor if event["type"] == "sms.received"])

            eventually(came, lambda count, wanted=wanted: count >= wanted, seconds=90)  # type: ignore[misc]
        self._dry.set()
        for watched in self._report.watched:
            # As long as the longest pause between an endpoint's first attempts, twice.
            eventually(lambda watched=watched: self._behind(watched), lambda late: not late, seconds=120)  # type: ignore[misc]
        time.sleep(2)  # what is invented would come now

    def _behind(self, watched: Watched) -> dict[str, int]:
        """How many events or messages of the feed each other reader and each endpoint has yet to get."""
        events = [event["id"] for event in list(watched.by_cursor)]
        waited_for = len(watched.rentals[0].arrived)
        late = {
            "stream": len(events) - len(watched.by_stream),
            "who waits": waited_for - len(watched.by_waiting),
            **{
                f"endpoint {n}": len(set(events) - {one.id for one in receiver.received})
                for n, receiver in enumerate(watched.endpoints)
            },
        }
        return {reader: count for reader, count in late.items() if count > 0}

    def _let_messages_come(self) -> None:
        chance = random.Random(self._chance.random())
        count = 0
        while not self._stop.wait(chance.uniform(0.02, 0.25)):
            count += 1
            rental = chance.choice(chance.choice(self._report.watched).rentals)
            again = chance.random() < 0.2
            text = "the same again" if again else f"code {count}"
            # One that is equal in both scopes is one message, by contract: so only the own ones come again.
            service = rental.service if again or chance.random() < 0.8 else "opt2"
            dated = chance.random() < 0.9
            message = Arrived(service, "Google", text, float(int(time.time())), dated)
            messages = [*rental.number.messages, message]
            if chance.random() < 0.3:
                chance.shuffle(messages)
            rental.number.messages = messages
            # Of a message without a date the upstream shows the bare text.
            rental.arrived.append((message.sender if dated else None, text, service == rental.service))
            self._report.done["messages"] += 1

    def _kill_workers(self) -> None:
        chance = random.Random(self._chance.random())
        while not self._stop.wait(chance.uniform(2.0, 8.0)):
            with self._restarting:
                chosen = chance.randrange(WORKERS)
                self._workers[chosen].send_signal(signal.SIGKILL)
                self._workers[chosen].wait()
                self._workers[chosen] = self._worker()
                self._report.done["worker kills"] += 1

    def _kill_gateways(self) -> None:
        chance = random.Random(self._chance.random())
        while not self._stop.wait(chance.uniform(3.0, 9.0)):
            with self._restarting:
                gateway: Gateway = chance.choice(self._gateways)
                gateway.process.send_signal(signal.SIGKILL)
                gateway.process.wait()
                gateway.start(self._settings)
                self._report.done["gateway kills"] += 1

    def _crash_database(self) -> None:
        chance = random.Random(self._chance.random())
        while not self._stop.wait(chance.uniform(8.0, 16.0)):
            with self._restarting:
                pid_file = self._folder / "data" / "postgres" / "data" / "postmaster.pid"
                os.kill(int(pid_file.read_text().split("\n", 1)[0]), signal.SIGQUIT)
                time.sleep(chance.uniform(0.1, 1.5))
                again = EmbeddedPostgres(self._folder / "data")
                again.start()
                self._server.stop()
                self._server = again
                self._report.done["database crashes"] += 1

    def _follow_feed(self, watched: Watched) -> None:
        """Read the feed from its beginning, page by page, as its cursor leads."""
        cursor: str | None = None
        while not self._over.is_set():
            page = self._get(watched, "/events", **({"cursor": cursor} if cursor else {}))
            if page is None:
                continue
            watched.by_cursor += page["items"]
            cursor = page["next_cursor"]
            if not page["has_more"]:
                time.sleep(0.1)

    def _follow_stream(self, watched: Watched) -> None:
        """Follow the stream, and go on after each break from the last event that came."""
        first = None
        while first is None:
            first = self._get(watched, "/events", limit="1")
        last = first["next_cursor"]
        watched.by_stream.append(first["items"][0]["id"])
        while not self._over.is_set():
            url = f"{self._any_gateway()}/events"
            headers = {**self._bearer(watched), "Accept": "text/event-stream", "Last-Event-ID": last}
            try:
                with httpx.stream("GET", url, headers=headers, timeout=3) as answer:
                    if answer.status_code != 200:
                        time.sleep(0.1)
                        continue
                    event: dict[str, str] = {}
                    for line in answer.iter_lines():
                        if self._over.is_set():
                            return
                        name, _, value = line.partition(": ")
                        event[name] = value
                        if not line and "data" in event:
                            watched.by_stream.append(json.loads(event["data"])["id"])
                            last = event["id"]
                            event = {}
            except httpx.TransportError:
                self._report.done["streams that broke"] += 1
                time.sleep(0.05)

    def _wait_for_messages(self, watched: Watched) -> None:
        """Wait for each message of one rental."""
        path, cursor = f"/rentals/{watched.rentals[0].id}/sms", None
        while not self._over.is_set():
            given = {"wait": "2", **({"cursor": cursor} if cursor else {})}
            page = self._get(watched, path, **given)
            if page is not None:
                watched.by_waiting += [item["id"] for item in page["items"]]
                cursor = page["next_cursor"]

    def _get(self, watched: Watched, path: str, **query: str) -> Event | None:
        try:
            answer = httpx.get(
                self._any_gateway() + path, params=query, headers=self._bearer(watched), timeout=10
            )
        except httpx.TransportError:
            time.sleep(0.05)
            return None
        if answer.status_code in (500, 502, 504) or 400 <= answer.status_code < 500:
            raise AssertionError(f"{path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.status_code == 200 else None

    def _any_gateway(self) -> str:
        gateway: Gateway = random.choice(self._gateways)
        return gateway.url

    def _bearer(self, watched: Watched) -> dict[str, str]:
        return {"Authorization": f"Bearer {watched.tenant.token}"}


def firsts(received: list[Received]) -> list[str]:
    """The ids of events in the order in which they came for the first time."""
    return list(dict.fromkeys(one.id for one in received))
