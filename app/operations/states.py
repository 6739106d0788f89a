"""The states of an operation, and which way leads from one to the next. Pure.

queued ──▶ sent ──▶ succeeded
  ▲│         ├────▶ failed                refused, or surely not sent
  ││         └────▶ unknown ──▶ found: succeeded, absent: failed, ambiguous: review
  │└──▶ failed                            review ──▶ succeeded or failed (by a person)
  │     queued, sent, unknown ──▶ review: the account was deleted, so nobody can look
  │                             failed or review ──▶ succeeded (the order turned up late)
  └── sent, unknown, review: one order is done, and the rental has another
      sent, unknown ──▶ review: an order was refused, or proves untouched, after another was done
"""

from __future__ import annotations

from enum import StrEnum


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
    State.QUEUED: frozenset({State.SENT, State.FAILED, State.REVIEW}),
    State.SENT: frozenset({State.SUCCEEDED, State.FAILED, State.UNKNOWN, State.QUEUED, State.REVIEW}),
    State.UNKNOWN: frozenset({State.SUCCEEDED, State.FAILED, State.REVIEW, State.QUEUED}),
    State.REVIEW: frozenset({State.SUCCEEDED, State.FAILED, State.QUEUED}),
    State.FAILED: frozenset({State.SUCCEEDED}),
    State.SUCCEEDED: frozenset(),
}


def may_become(state: State, following: State) -> bool:
    """Whether an operation in one state may go to another."""
    return following in _WAYS[state]


def origins(following: State) -> frozenset[State]:
    """The states from which a state may be reached."""
    return frozenset(state for state, ways in _WAYS.items() if following in ways)
