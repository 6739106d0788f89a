"""The states of an operation, and which way leads from one to the next. Pure.

queued ──▶ sent ──▶ succeeded
  │          ├────▶ failed ◀──────────┐   refused, or surely not sent
  │          └────▶ unknown ──▶ found: succeeded, absent: failed, ambiguous: review
  └──▶ failed                               review ──▶ succeeded or failed (by a person)
                                failed or review ──▶ succeeded (the order turned up late)
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What an operation does; each is one call of the upstream."""

    CREATE = "create"
    ACTIVATE = "activate"
    RESTORE = "restore"


class State(StrEnum):
    """Where an operation stands."""

    QUEUED = "queued"
    SENT = "sent"
    UNKNOWN = "unknown"
    REVIEW = "review"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


OPEN = frozenset({State.QUEUED, State.SENT, State.UNKNOWN, State.REVIEW})
"""States whose outcome is still to come."""

_WAYS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.SENT, State.FAILED}),
    State.SENT: frozenset({State.SUCCEEDED, State.FAILED, State.UNKNOWN}),
    State.UNKNOWN: frozenset({State.SUCCEEDED, State.FAILED, State.REVIEW}),
    State.REVIEW: frozenset({State.SUCCEEDED, State.FAILED}),
    State.FAILED: frozenset({State.SUCCEEDED}),
    State.SUCCEEDED: frozenset(),
}


def may_become(state: State, following: State) -> bool:
    """Whether an operation in one state may go to another."""
    return following in _WAYS[state]


def origins(following: State) -> frozenset[State]:
    """The states from which a state may be reached."""
    return frozenset(state for state, ways in _WAYS.items() if following in ways)
