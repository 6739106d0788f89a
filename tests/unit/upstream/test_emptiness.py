"""Words that say that a list is empty, and words that say something else."""

from __future__ import annotations

import pytest

from app.upstream.emptiness import with_listed_data
from app.upstream.envelope import Answer


def refused(message: str, data: object = None) -> Answer:
    return Answer(False, data, message)


@pytest.mark.parametrize(
    "message",
    [
        "Orders not found",
        "No orders",
        "no orders found.",
        "You have no active orders",
        "NO ORDERS YET",
        "There are no rentals for this account",
        "Order not found",
        "No records found",
        "Nothing found",
        "List is empty",
    ],
)
@pytest.mark.parametrize("method", ["orders", "get_rent_history"])
def test_words_that_say_that_there_are_none(method: str, message: str) -> None:
    answer = with_listed_data(method, refused(message))
    assert (answer.succeeded, answer.data) == (True, [])


@pytest.mark.parametrize(
    "message",
    [
        "",
        "Invalid apikey",
        "No data received from the server, try again",
        "No orders could be loaded",
        "Orders not available, try later",
        "orders not found in cache, retry",
        "TOO MANY REQUESTS",
        "Not found",
        "No data",
    ],
)
@pytest.mark.parametrize("method", ["orders", "get_rent_history", "sms"])
def test_words_that_say_something_else(method: str, message: str) -> None:
    assert not with_listed_data(method, refused(message)).succeeded


@pytest.mark.parametrize("message", ["No sms", "No SMS yet", "Messages not found", "sms not found"])
def test_an_order_without_messages(message: str) -> None:
    assert with_listed_data("sms", refused(message)).data == []
    assert with_listed_data("sms", refused("", [{}])).succeeded


def test_an_order_that_is_not_there_has_no_empty_list_of_messages() -> None:
    assert not with_listed_data("sms", refused("order not found")).succeeded


def test_a_list_of_orders_beside_status_0_and_no_words_is_none() -> None:
    assert not with_listed_data("orders", refused("", [])).succeeded


def test_countries_beside_status_0_are_read() -> None:
    assert with_listed_data("getcountries", refused("", [{"code": "RU"}])).succeeded
    assert not with_listed_data("getcountries", refused("", [])).succeeded


@pytest.mark.parametrize("method", ["create", "activate", "getdata", "restore_user"])
def test_other_methods_have_no_empty_lists(method: str) -> None:
    assert not with_listed_data(method, refused("No numbers found")).succeeded
