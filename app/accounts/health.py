"""How well an upstream account can be read: pure rules, from one reading of a method to the next.

A problem begins when something in a reading had to be set aside, and ends after three clean readings in a
row. One of a method that nothing reads again by itself also ends a day after it was last met. An account with
a problem is degraded; one whose list of orders failed three times in a row is failing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.upstream.set_aside import Findings, SetAside

CLEAN_READINGS = 3
"""So many clean readings in a row end a problem."""

FAILURES = 3
"""After so many failed polls in a row an account is failing."""

MOST_PROBLEMS = 20
"""More problems of single orders are not kept apart: one is enough to be degraded. Those of the account
itself are always kept; there are no more of them than methods.
"""

LIST = "orders"
POLLED = frozenset({LIST, "sms", "get_rent_history", "balance"})
"""The methods that are read again and again, whatever callers do."""

LASTS = timedelta(days=1)
"""How long a problem of any other method lasts after it was last met: nobody may ever call that again."""


class HealthStatus(StrEnum):
    """What can be told of an account, from the best to the worst."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILING = "failing"

    def is_worse_than(self, other: HealthStatus) -> bool:
        """Whether this is further from the best than another."""
        order = tuple(HealthStatus)
        return order.index(self) > order.index(other)


@dataclass(frozen=True, slots=True)
class Observation:
    """One reading of a method.

    Attributes:
        subject: the order that was read of, for a method that reads one order at a time; else empty.
        set_aside: what could not be read.
    """

    method: str
    subject: str = ""
    set_aside: tuple[SetAside, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that can't be read.

    Attributes:
        field: where it stands in the answer; None if there is no answer that can be read.
        clean: how many readings in a row were clean since.
        ends_at: when it ends by itself; None if only clean readings end it.
    """

    method: str
    subject: str
    field: str | None
    message: str
    failing: bool = False
    clean: int = 0
    ends_at: datetime | None = None

    @property
    def rank(self) -> tuple[bool, bool, bool]:
        """The smaller, the worse: what blinds the account, then what is read all the time, and of that what
        is about the whole account.
        """
        return not self.failing, self.ends_at is not None, bool(self.subject)


@dataclass(frozen=True, slots=True)
class Health:
    """The problems of an account, the oldest first."""

    problems: tuple[Problem, ...] = ()

    @property
    def status(self) -> HealthStatus:
        """The status that the problems add up to."""
        if any(problem.failing for problem in self.problems):
            return HealthStatus.FAILING
        return HealthStatus.DEGRADED if self.problems else HealthStatus.OK

    @property
    def worst(self) -> Problem | None:
        """The problem to be told of: of several that are as bad, the oldest."""
        return min(self.problems, key=lambda problem: problem.rank, default=None)

    def has(self, method: str, subject: str = "") -> bool:
        """Whether readings of a method have a problem that has not ended."""
        return any((p.method, p.subject) == (method, subject) for p in self.problems)

    def at(self, now: datetime) -> Health:
        """The health when no reading was made until `now`: some problems end by themselves."""
        if not any(problem.ends_at is not None and problem.ends_at <= now for problem in self.problems):
            return self
        return Health(tuple(p for p in self.problems if p.ends_at is None or p.ends_at > now))

    def after(self, observation: Observation, now: datetime) -> Health:
        """The health after one more reading, made at `now`."""
        if observation.set_aside:
            first = observation.set_aside[0]
            ends_at = None if observation.method in POLLED else now + LASTS
            problem = Problem(observation.method, observation.subject, first.field, first.message)
            return self._with(replace(problem, ends_at=ends_at))
        left = []
        for problem in self.problems:
            cleaner = problem
            if (problem.method, problem.subject) == (observation.method, observation.subject):
                cleaner = replace(problem, clean=problem.clean + 1)
            if cleaner.clean < CLEAN_READINGS:
                left.append(cleaner)
        return Health(tuple(left))

    def after_all(
        self, observations: Sequence[Observation], now: datetime, living: Collection[str] | None = None
    ) -> Health:
        """The health at `now`, after some more readings.

        Args:
            living: the orders that are read from now on, if that is known; the problems of others end.
        """
        health = self.at(now)
        for observation in combined(observations):
            health = health.after(observation, now)
        return health if living is None else health._of_living(living)

    def after_failures(self, failures: int, message: str) -> Health:
        """The health after the list of orders failed so many times in a row."""
        if failures < FAILURES:
            return self
        return self._with(Problem(LIST, "", None, message, failing=True))

    def _of_living(self, order_ids: Collection[str]) -> Health:
        return Health(tuple(p for p in self.problems if not p.subject or p.subject in order_ids))

    def _with(self, problem: Problem) -> Health:
        for index, known in enumerate(self.problems):
            if (known.method, known.subject) == (problem.method, problem.subject):
                worse = replace(problem, failing=problem.failing or known.failing)
                return Health((*self.problems[:index], worse, *self.problems[index + 1 :]))
        of_orders = sum(bool(known.subject) for known in self.problems)
        if problem.subject and of_orders >= MOST_PROBLEMS:
            return self
        return Health((*self.problems, problem))

    def record(self) -> list[dict[str, Any]]:
        """The problems as they are stored."""
        return [
            {**asdict(problem), "ends_at": problem.ends_at and problem.ends_at.isoformat()}
            for problem in self.problems
        ]

    @classmethod
    def of_record(cls, record: Sequence[dict[str, Any]]) -> Health:
        """The health of stored problems."""
        return cls(tuple(_problem_of(problem) for problem in record))


def _problem_of(stored: dict[str, Any]) -> Problem:
    ends_at = stored.get("ends_at")
    return Problem(**{**stored, "ends_at": ends_at and datetime.fromisoformat(ends_at)})


class Observations:
    """Collects the readings of one call, which are about one subject."""

    def __init__(self, subject: str = "") -> None:
        self._subject = subject
        self.made: list[Observation] = []

    def add(self, findings: Findings) -> None:
        """Add the reading of one answer."""
        self.made.append(Observation(findings.method, self._subject, findings.set_aside))


def combined(observations: Sequence[Observation]) -> list[Observation]:
    """One observation for each method and subject: pages of one archive are read one after the other."""
    found: dict[tuple[str, str], Observation] = {}
    for one in observations:
        before = found.get((one.method, one.subject))
        found[one.method, one.subject] = (
            one if before is None else replace(before, set_aside=before.set_aside + one.set_aside)
        )
    return list(found.values())
