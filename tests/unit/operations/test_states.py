"""The states of an operation: which ways there are, and that none leads out of success."""

from __future__ import annotations

from itertools import product

from app.operations.states import OPEN, State, may_become, origins

WAYS = {
    (State.QUEUED, State.SENT),
    (State.QUEUED, State.FAILED),
    (State.QUEUED, State.REVIEW),
    (State.SENT, State.SUCCEEDED),
    (State.SENT, State.FAILED),
    (State.SENT, State.UNKNOWN),
    (State.SENT, State.QUEUED),
    (State.SENT, State.REVIEW),
    (State.UNKNOWN, State.QUEUED),
    (State.UNKNOWN, State.SUCCEEDED),
    (State.UNKNOWN, State.FAILED),
    (State.UNKNOWN, State.REVIEW),
    (State.REVIEW, State.SUCCEEDED),
    (State.REVIEW, State.FAILED),
    (State.REVIEW, State.QUEUED),
    (State.FAILED, State.SUCCEEDED),
}


def test_the_ways_are_these_and_no_others() -> None:
    assert {(a, b) for a, b in product(State, State) if may_become(a, b)} == WAYS


def test_what_was_queued_is_never_unknown_without_having_been_sent() -> None:
    assert State.QUEUED not in origins(State.UNKNOWN)


def test_success_is_final_and_open_states_have_a_way_on() -> None:
    assert not any(may_become(State.SUCCEEDED, state) for state in State)
    assert all(any(may_become(state, other) for other in State) for state in OPEN)
