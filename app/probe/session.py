"""One run of the probe: makes its calls one after the other, and notes what came of each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from app.errors import (
    RentgateError,
    UpstreamBadResponse,
    UpstreamBusy,
    UpstreamKeyRejected,
    UpstreamRefusedError,
    UpstreamTimeout,
)
from app.probe.reading import ReadingTransport
from app.probe.report import CallReport, MethodReport, Report, Result
from app.upstream.balance import BalanceClient
from app.upstream.client import News, UpstreamClient
from app.upstream.errors import CallFailed, Outcome
from app.upstream.rows import Listing
from app.upstream.set_aside import Findings
from app.upstream.wire import Country, DefaultService, HistoryEntry, Offer, Order, SmsLists

T = TypeVar("T")

RESTS = 6
"""How many pauses the probe waits at least after it was told that it asks too often."""

LONGEST_REST = 300.0
"""Seconds; an upstream that wants a longer wait is not asked again."""

MOST_UNREACHABLE = 3
"""After so many calls in a row that did not reach the upstream, the probe makes no more."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the person who runs the probe chose.

    Attributes:
        country: the upstream's code of the country to ask about; taken from the answers if None.
        service: the upstream's code of the service to ask about; taken from the answers if None.
        any_sms: whether messages may also be read of an order that has new ones.
    """

    country: str | None = None
    service: str | None = None
    any_sms: bool = False


@dataclass(slots=True)
class Known:
    """What later calls need of earlier answers."""

    countries: tuple[Country, ...] = ()
    orders: tuple[Order, ...] = ()
    archive: tuple[HistoryEntry, ...] = ()
    services: tuple[DefaultService, ...] = ()
    offers: tuple[Offer, ...] = ()


@dataclass(slots=True)
class Session:
    """One run.

    Attributes:
        transport: the way to the upstream.
        api_key: the account's.
        choices: what was chosen by the person who runs it.
        pause: seconds between two calls, from the end of one to the beginning of the next.
        sleep: waits so many seconds.
        balances: the way to the account's balance, which is at another host; None if it isn't asked for.
        report: what was found so far.
        current: what was found of the method that is being asked.
        known: what was read so far.
        over: why no more calls are made with the key, or at all; empty while they are.
    """

    transport: ReadingTransport
    api_key: str
    choices: Choices = field(default_factory=Choices)
    pause: float = 5.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    balances: BalanceClient | None = None
    report: Report = field(init=False)
    known: Known = field(default_factory=Known)
    over: str = ""
    over_with_key: str = ""
    current: MethodReport = field(init=False)
    _findings: Findings | None = None
    _unreachable: int = 0
    _called: bool = False
    _retry_after: float = 0.0

    def __post_init__(self) -> None:
        self.report = Report(self.pause)

    def begin(self, method: str, *, keyed: bool) -> None:
        """From now on, calls are those of a method."""
        self.current = MethodReport(method, keyed)
        self.report.methods.append(self.current)

    def skip(self, why: str) -> None:
        """Note why a method is not called."""
        self.current.skipped = why

    def note(self, text: str) -> None:
        """Note something that no field tells."""
        self.current.notes.append(text)

    def observe(self, findings: Findings) -> None:
        """Take the findings of an answer that was read: they belong to the call that is being made."""
        self._findings = findings

    async def call(
        self,
        make: Callable[[UpstreamClient], Awaitable[T]],
        *,
        asked: str = "",
        answers: tuple[type[RentgateError], ...] = (),
    ) -> T | None:
        """Make a call, at most once again if the upstream says that it is asked too often.

        Args:
            make: makes it.
            asked: its parameters, in words that name no id.
            answers: refusals that are as good an answer as any.

        Returns:
            What was read; None if nothing was.
        """
        if self._stopped():
            return None
        content = await self._once(make, asked, answers)
        rest = max(RESTS * self.pause, self._retry_after)
        if self._limited() and rest <= LONGEST_REST:
            await self.sleep(rest)
            content = await self._once(make, asked, answers)
        if self._limited():
            self.over = "the upstream says that it is asked too often"
        return content

    def _limited(self) -> bool:
        return self.current.calls[-1].result is Result.LIMITED

    def _stopped(self) -> bool:
        why = self.over or (self.current.keyed and self.over_with_key)
        if why and not self.current.calls:
            self.skip(why)
        return bool(why)

    async def _once(
        self,
        make: Callable[[UpstreamClient], Awaitable[T]],
        asked: str,
        answers: tuple[type[RentgateError], ...],
    ) -> T | None:
        if self._called:
            await self.sleep(self.pause)
        self._called = True
        self._findings = None
        self.transport.forget()
        content: T | None = None
        try:
            content = await make(UpstreamClient(self.transport, observe=self.observe, inspect=True))
        except CallFailed as failed:
            self._note_failure(failed, asked, answers)
        except Exception as error:  # what it says could hold what was answered
            mistake = f"the gateway's own mistake, {type(error).__name__}"
            self._note_call(CallReport(asked, Result.FAILED, mistake))
        else:
            rows, complete = _measured(content, self._findings)
            self._note_call(CallReport(asked, Result.READ, "", True, rows, complete))
        self._note_fields()
        return content

    def _note_call(self, call: CallReport) -> None:
        call = replace(call, seconds=self.transport.seconds, size=self.transport.size)
        self.current.calls.append(call)
        self._unreachable = self._unreachable + 1 if call.result is Result.UNREACHABLE else 0
        if self._unreachable == MOST_UNREACHABLE:
            self.over = "the upstream can't be reached"

    def _note_failure(self, failed: CallFailed, asked: str, answers: tuple[type[RentgateError], ...]) -> None:
        if isinstance(failed.error, UpstreamKeyRejected):
            self.over_with_key = "the upstream rejects the key"
        self._retry_after = failed.error.retry_after or 0.0
        result, detail = _result_of(failed)
        self._note_call(CallReport(asked, result, detail, isinstance(failed.error, answers)))

    def _note_fields(self) -> None:
        """Add what stood around the data, and what the findings tell of the data."""
        inner = (self._findings.fields or {}) if self._findings else {}
        told = "data" in inner and inner["data"].expected is not None
        around = {name: seen for name, seen in self.transport.envelope.items() if name != "data" or not told}
        self.current.add_fields(around)
        self.current.add_fields(inner)
        if self._findings:
            self.current.add_set_aside(self._findings.counts)


def _result_of(failed: CallFailed) -> tuple[Result, str]:
    """What came of a call that failed, in the gateway's own words: a refusal's text is foreign."""
    error = failed.error
    match error:
        case UpstreamBusy():
            detail = error.code if failed.outcome is Outcome.REFUSED else "HTTP status 429"
            return Result.LIMITED, detail
        case UpstreamRefusedError():
            words = len(error.upstream.message.split()) if error.upstream else 0
            said = (
                f"with a text of {words} words that the gateway doesn't know" if words else "without a reason"
            )
            return Result.REFUSED, said
        case _ if failed.outcome is Outcome.REFUSED:
            return Result.REFUSED, f"{error.code}: {error.title}"
        case UpstreamTimeout():
            return Result.TIMED_OUT, ""
        case _ if failed.outcome is Outcome.NOT_SENT:
            return Result.UNREACHABLE, error.detail
        case UpstreamBadResponse():
            return Result.UNREADABLE, error.upstream.message if error.upstream else error.detail
        case _:
            return Result.FAILED, error.detail


def _measured(content: Any, findings: Findings | None) -> tuple[int | None, bool | None]:
    """How many rows an answer had, and whether they could be read whole; None where it is no list."""
    if isinstance(content, News):
        content = content.content
    met = findings.rows if findings else 0
    match content:
        case Listing():
            return max(len(content.rows), content.size, met), content.complete
        case SmsLists():
            return max(len(content.rented) + len(content.other), met), content.complete
        case _:
            return None, None
