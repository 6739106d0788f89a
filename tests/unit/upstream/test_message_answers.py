"""Messages: one list or two, with and without date and sender, and some that can't be read among others."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from app.upstream.message_answers import sms_lists
from app.upstream.scalars import Unreadable
from app.upstream.set_aside import Findings
from app.upstream.wire import Sms, SmsLists

AT = datetime(2026, 12, 1, tzinfo=UTC)
MESSAGE = {"text": "code 1", "sender": "Google", "date": int(AT.timestamp())}
READ = Sms("code 1", "Google", AT)


def read(data: Any) -> SmsLists:
    return sms_lists(data, Findings("sms"))


@pytest.mark.parametrize(
    "data", [[MESSAGE], {"SmsList": [MESSAGE]}, {"0": MESSAGE}, {"SmsList": {"3": MESSAGE}}]
)
def test_messages_in_each_form(data: Any) -> None:
    assert read(data) == SmsLists((READ,))


def test_messages_for_other_services_are_kept() -> None:
    others = [{**MESSAGE, "text": "code 2"}, {"message": "hello", "from": "X"}, {"fullText": "hi"}]
    found = read({"SmsList": [MESSAGE], "OtherSms": others})
    assert found.rented == (READ,)
    assert found.other == (Sms("code 2", "Google", AT), Sms("hello", "X", None), Sms("hi", None, None))


@pytest.mark.parametrize(
    "data", [None, {}, [], [{}], {"SmsList": [], "OtherSms": []}, {"SmsList": None}, {"SmsList": {}}]
)
def test_no_messages(data: Any) -> None:
    assert read(data) == SmsLists((), ())


def test_messages_without_date_or_sender_and_bare_strings() -> None:
    found = read([{"text": "a"}, "b", {"text": 123456, "sender": None, "date": "0"}])
    assert found.rented == (Sms("a", None, None), Sms("b", None, None), Sms("123456", None, None))


def test_a_text_with_blanks_and_entities_stays_as_it_is() -> None:
    assert read([" a &amp; b \n"]).rented[0].text == " a &amp; b \n"


def test_characters_that_no_database_takes_are_replaced() -> None:
    assert read(["a\0b\ud800c"]).rented[0].text == "a\ufffdb?c"


@pytest.mark.parametrize("odd", [{"date": 1}, {"text": "", "sender": "x"}, {"text": [1]}, 7, True, ["a"]])
def test_a_message_that_cant_be_read_leaves_the_others(odd: Any) -> None:
    found = read([MESSAGE, odd, {**MESSAGE, "date": "2026-01-20 09:47:53"}])
    assert found == SmsLists((READ, Sms("code 1", "Google", None)), (), complete=False)


def test_a_list_that_cant_be_read_leaves_the_other_one() -> None:
    assert read({"SmsList": [MESSAGE], "OtherSms": "x"}) == SmsLists((READ,), (), complete=False)


@pytest.mark.parametrize(
    "data", ["none", 7, True, {"messages": [1]}, {"SmsList": "x"}, [[1]], [{"date": 1}], {"SmsList": [7]}]
)
def test_where_none_can_be_read_the_list_is_not_an_empty_one(data: Any) -> None:
    with pytest.raises(Unreadable):
        read(data)
