"""Lists that come with `status` 0: words that say that there are none, and lists beside that status.

Seen: `{"status": 0, "msg": "Orders not found"}` for an account without orders, `{"status": 0, "data": [{}]}`
for an order without messages, and a whole list of countries beside status 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from app.upstream.envelope import Answer

LISTS = frozenset(
    {
        *("orders", "get_rent_history", "sms"),
        *("get_country_by_service", "getcount", "getCountWithProviders", "get_days_canada_paypal"),
    }
)
"""The methods whose list may well be empty."""

_WHERE = r"(for|on|in) (this|your) (account|user|order|number)"
_ENDING = rf"( (found|yet|available|exist|here|now|at the moment|for you|{_WHERE}))*"
_NONE = (
    re.compile(
        r"((you|user) (have|has|had) |there (is|are|were) )?(no|not any|zero|0) "
        r"((active|rented|rent|archived|new) )?(orders?|rents?|rentals?|numbers?|sms|messages?|history)"
        + _ENDING
    ),
    re.compile(r"no (data|records?|results?|rows?|entries|items) (found|yet)" + _ENDING),
    re.compile(
        r"((your|the|active|rented|archived) )*(orders|rents|rentals|numbers|sms|messages?|history|archive)"
        r"( list)? (is |are |was |were )?(not found|empty)" + _ENDING
    ),
    re.compile(r"nothing (was )?found|((the )?(list|result|history) is )?empty"),
)
"""What says that a list is empty. An empty list may close orders, so nothing vaguer counts."""

_NO_ORDER = re.compile(r"((the|active) )?order (is |was )?not found")
"""Says that the account's list is empty; of `sms`, that its order is not there."""


def with_listed_data(method: str, answer: Answer) -> Answer:
    """An answer as it is to be read: one that says that a list is empty, or shows it, has succeeded."""
    if answer.succeeded:
        return answer
    shows_list = isinstance(answer.data, list | Mapping)
    if method == "getcountries" and answer.data:
        return replace(answer, succeeded=shows_list)
    if method == "sms" and not answer.message.strip():
        return replace(answer, succeeded=shows_list)
    words = " ".join(re.findall(r"[a-z0-9]+", answer.message.casefold()))
    patterns = _NONE if method == "sms" else (*_NONE, _NO_ORDER)
    if method in LISTS and any(pattern.fullmatch(words) for pattern in patterns):
        return replace(answer, succeeded=True, data=[])
    return answer
