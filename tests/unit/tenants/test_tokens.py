"""API tokens: recognisable, unguessable, and checked before the database is asked."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from app.telemetry.redaction import redacted
from app.tenants.tokens import new_token, token_hash, token_prefix, well_formed


def test_new_tokens_are_well_formed_and_differ() -> None:
    tokens = {new_token() for _ in range(50)}
    assert len(tokens) == 50
    assert all(re.fullmatch(r"rg_[0-9A-Za-z]{49}", token) and well_formed(token) for token in tokens)


@given(st.text(max_size=60))
def test_what_is_not_ours_is_told_apart(text: str) -> None:
    assert not well_formed(text)


def test_a_typing_error_is_noticed() -> None:
    token = new_token()
    wrong = token[:10] + ("a" if token[10] != "a" else "b") + token[11:]
    assert not well_formed(wrong)


def test_only_a_hash_and_a_short_prefix_are_kept() -> None:
    token = new_token()
    assert len(token_hash(token)) == 32
    assert token.startswith(token_prefix(token))
    assert len(token_prefix(token)) == 11


def test_logs_never_show_one() -> None:
    token = new_token()
    assert token not in redacted(f"got {token} from somewhere")
