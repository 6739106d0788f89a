"""What refusals mean, and which of them are certain."""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstream.meanings import CHANGING, LONGEST_READ, MEANINGS, is_certain, meaning

EXAMPLES = Path(__file__).parents[2] / "upstream_examples"
DOCUMENTED = dict(
    zip(
        json.loads((EXAMPLES / "documented_refusals.json").read_text()),
        (
            "restore_not_available",
            "order_not_owned",
            "archived_order_not_found",
            "restore_needs_support",
            "rental_not_expired",
            "restore_needs_support",
            "insufficient_balance",
            "order_not_owned",
            "restore_needs_support",
            "insufficient_balance",
        ),
        strict=True,
    )
)
SEEN = {
    "Incorrect method": "upstream_error",
    "order not found": "rental_not_active",
    "Incorrect order": "rental_not_active",
    "incorrect order id": "rental_not_active",
    "Incorrect duration count. Min 7 days. Max 90 days.": "period_invalid",
    "Insufficient balance": "insufficient_balance",
    "No numbers available": "no_numbers_available",
    "No number available": "no_numbers_available",
    "out of stock": "no_numbers_available",
    "Invalid apikey": "upstream_key_rejected",
    "Incorrect apikey": "upstream_key_rejected",
    "Incorrect country": "country_unknown",
    "Incorrect dtype or dcount": "period_invalid",
    "Incorrect pnumber": "upstream_error",
    "You can prolong number only if before expiring date left less 7 days": "prolong_too_early",
    "TOO MANY REQUESTS": "upstream_busy",
}
ALIKE = {
    "NO_NUMBERS": "no_numbers_available",
    "No free phones": "no_numbers_available",
    "no phone numbers available now": "no_numbers_available",
    "Numbers are not available": "no_numbers_available",
    "Insufficient funds": "insufficient_balance",
    "Not enough money": "insufficient_balance",
    "Not enough money on your balance": "insufficient_balance",
    "You don't have enough money": "insufficient_balance",
    "You don\u2019t have enough funds": "insufficient_balance",
    "LOW_BALANCE": "insufficient_balance",
    "account balance is too low": "insufficient_balance",
    "NOBALANCE 12.50": "insufficient_balance",
    "apikey not found": "upstream_key_rejected",
    "API key is invalid": "upstream_key_rejected",
    "api_key not found": "upstream_key_rejected",
    "Wrong key": "upstream_key_rejected",
    "WRONG COUNTRY": "country_unknown",
    "Country not found": "country_unknown",
    "Incorrect service": "service_unknown",
    "ORDER_CLOSED": "rental_not_active",
    "Order does not exist": "rental_not_active",
    "Rate limit exceeded": "upstream_busy",
}
UNCERTAIN = (
    "",
    "Something went wrong",
    "Try again later",
    "Service unavailable",
    "Service opt16 not found",
    "Insufficient balance, but order 5 was made",
    "No numbers available, sorry",
    "Order not found yet",
    "TOO MANY REQUESTS, slow down",
    "Successfully bought",
    "OK",
    "Not insufficient balance",
    "NOBALANCED",
    "See NOBALANCE",
)
KNOWN = [*DOCUMENTED, *SEEN, *ALIKE]
READING = sorted({"orders", "sms", "getdata", "get_rent_history", "restore_user_precalc", "getcountries"})

PHRASES = st.sampled_from([*SEEN, *(text for text in ALIKE if not text.startswith("NOBALANCE"))])
KNOWN_TEXTS = [text or "" for of in MEANINGS for text in (of.phrases, of.documented)]
WORDS_OF_PHRASES = set(re.findall(r"[a-z]+", " ".join(KNOWN_TEXTS).casefold()))
FOREIGN = st.text(st.characters(categories=["L"]), min_size=2, max_size=12).filter(
    lambda word: word.casefold() not in WORDS_OF_PHRASES | {"an", "the", "usd", "dollar", "dollars"}
)
BESIDE = st.sampled_from(
    [
        "5",
        "$2.40",
        "12.50 USD",
        "USD 7",
        "US$ 1,000.00",
        "!",
        "...",
        "the",
        "A",
        "an",
        " - ",
        "\n",
        "(",
        "#40300",
    ]
)


@pytest.mark.parametrize(("message", "code"), [*DOCUMENTED.items(), *SEEN.items(), *ALIKE.items()])
def test_each_text_has_its_meaning(message: str, code: str) -> None:
    for method in ("restore_user", "restore_user_precalc") if message in DOCUMENTED else ("create", "sms"):
        assert meaning(method, message).code == code


@pytest.mark.parametrize("method", sorted(CHANGING))
@pytest.mark.parametrize("message", KNOWN)
def test_what_is_known_is_certain_in_every_dress(method: str, message: str) -> None:
    named = f"<b>{escape(escape(message))}</b>&nbsp;"
    for said in (
        message,
        message.upper(),
        message.lower(),
        f"  {message}!!",
        named,
        message.replace(" ", "_"),
    ):
        assert is_certain(method, said)
        assert meaning(method, said) is meaning(method, message)


@pytest.mark.parametrize("method", sorted(CHANGING))
@pytest.mark.parametrize("message", UNCERTAIN)
def test_what_is_not_known_is_not_certain(method: str, message: str) -> None:
    assert not is_certain(method, message)
    assert meaning(method, message).code == "upstream_error"


@pytest.mark.parametrize("method", READING)
@pytest.mark.parametrize("message", [*KNOWN, *UNCERTAIN])
def test_a_call_that_only_reads_has_surely_done_nothing(method: str, message: str) -> None:
    assert is_certain(method, message)


@given(st.sampled_from(sorted(CHANGING)), PHRASES, st.lists(FOREIGN, min_size=1), st.data())
def test_a_known_phrase_with_a_foreign_word_is_not_certain(
    method: str, phrase: str, foreign: list[str], data: st.DataObject
) -> None:
    words = phrase.replace("_", " ").split()
    for word in foreign:
        words.insert(data.draw(st.integers(0, len(words))), word)
    assert not is_certain(method, " ".join(words))


@given(
    st.sampled_from(sorted(CHANGING)),
    st.sampled_from([*SEEN, *ALIKE]),
    st.lists(BESIDE, max_size=6),
    st.data(),
)
def test_a_known_phrase_stays_certain_beside_what_says_nothing(
    method: str, phrase: str, beside: list[str], data: st.DataObject
) -> None:
    split = data.draw(st.integers(0, len(beside)))
    said = " ".join([*beside[:split], phrase, *beside[split:]])
    assert is_certain(method, said) is is_certain(method, phrase)
    assert meaning(method, said) is meaning(method, phrase)


@given(st.sampled_from(sorted(CHANGING)), st.sampled_from([*DOCUMENTED]), st.text())
def test_what_begins_as_documented_is_certain(method: str, message: str, more: str) -> None:
    beginning = message.partition(":")[0]
    assert is_certain(method, f"{beginning}: {more}")
    assert is_certain(method, message)


@pytest.mark.parametrize(
    ("method", "message", "code"),
    [
        ("orders", "Error 5: too many requests, slow down", "upstream_busy"),
        ("orders", "Please, try again later", "upstream_busy"),
        ("orders", "Limit exceeded", "upstream_busy"),
        ("orders", "Your API key was not found, check it", "upstream_key_rejected"),
        ("getdata", "Sorry, there are no any free numbers for you", "no_numbers_available"),
        ("restore_user_precalc", "The balance of your account is not enough", "insufficient_balance"),
        ("restore_user_precalc", "Sorry: order 5 not found in the archive", "archived_order_not_found"),
        ("restore_user_precalc", "There are not enough working days for it", "restore_not_available"),
        ("sms", "The order with this number: not found", "upstream_error"),
        ("orders", "invalid country for this apikey", "country_unknown"),
        ("orders", "unknown key 'dtype' in the request", "upstream_error"),
        ("orders", "Service unavailable", "upstream_error"),
        ("sms", "Etwas ganz anderes", "upstream_error"),
    ],
)
def test_a_call_that_only_reads_is_told_what_known_words_mean(method: str, message: str, code: str) -> None:
    assert meaning(method, message).code == code


@pytest.mark.parametrize(
    ("method", "message", "code"),
    [
        ("create", "Limit exceeded", "upstream_error"),
        ("restore_user", "order not found", "archived_order_not_found"),
        ("restore_user", "Service not found", "restore_needs_support"),
        ("create", "Service not found", "service_unknown"),
        ("prolong", "Prolong limit is reached", "prolong_limit_reached"),
        ("prolong_max", "Limit exceeded", "prolong_limit_reached"),
        ("create", "Prolong limit is reached", "upstream_error"),
    ],
)
def test_some_texts_mean_different_things_by_method(method: str, message: str, code: str) -> None:
    assert meaning(method, message).code == code


@pytest.mark.parametrize("mark", ["\u200b", "\u00ad", "\u202e", "\ufeff", "\u2066"])
def test_marks_that_nobody_sees_part_no_words(mark: str) -> None:
    assert is_certain("create", f"{mark}Insuffi{mark}cient balance{mark}")
    assert not is_certain("create", f"Insufficient balance{mark} made")


def test_a_text_of_which_only_a_part_is_read_is_no_known_phrase() -> None:
    hidden = "Insufficient balance" + " " * LONGEST_READ + "but bought"
    assert not is_certain("create", hidden)
    assert is_certain("create", "NOBALANCE" + " " * LONGEST_READ)


@given(st.sampled_from([*sorted(CHANGING), *READING]), st.text())
def test_whatever_is_said_means_something(method: str, message: str) -> None:
    known = {of.error for of in MEANINGS}
    assert meaning(method, message) in known
