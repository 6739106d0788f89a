"""The words in which the upstream refuses: those of its page, and those that public clients have met."""

from __future__ import annotations

import random

DOCUMENTED = (
    "NOAVAILDAYS: Phone number is unavalible for automatically restoring. "
    "There are not enough working days for the phone number",
    "NOTOWNER: Looks like the order is not your. Check it and try again",
    "NOREMOTEDATA: We could not find information about your order in archive. "
    "Check that your rental order was expired",
    "NOORDERCOUNTRY: We could not find all info about order. "
    "Please, write in live-chat on the website for restoring order",
    "DATEDIFFINVERT: Looks like your order was not expired. Check that your rental order was expired",
    "NOSERVICEDATA: Could not load information about service. "
    "Please, write in live-chat on the website for restoring order",
    "NOBALANCE: Your balance is not enough for restoring rental order. Today need",
    "the user had not this order: Looks like the order is not your. Check it and try again",
    "Service not found: Could not load information about service. "
    "Please, write in live-chat on the website for restoring order",
    "Balance is not enough: Your balance is not enough for restoring rental order",
)
"""The ten messages of restoring, word for word as the provider's page has them."""

_BY_CODE = {message.partition(":")[0]: message for message in DOCUMENTED}

_OTHERWISE = {
    "NOTOWNER": "the user had not this order",
    "NOSERVICEDATA": "Service not found",
    "NOBALANCE": "Balance is not enough",
}
"""Documented messages that mean the same, by their codes."""

_SEEN = (
    ("No numbers available", "out of stock"),
    ("Invalid apikey", "Incorrect apikey"),
    ("order not found", "Incorrect order", "incorrect order id"),
    ("Incorrect method",),
    ("Incorrect country",),
    ("Incorrect dtype or dcount",),
    ("Incorrect pnumber",),
    ("Insufficient balance",),
)
"""Texts that public clients have met; those of a row mean the same."""


class Refusal(Exception):
    """The upstream says no; the text is its `msg`."""


def documented(code: str, sum_needed: str | None = None) -> str:
    """The documented message that begins with a code; NOBALANCE ends with the sum. Other texts stay as is."""
    message = _BY_CODE.get(code, code)
    return f"{message} {sum_needed}" if sum_needed is not None else message


def reworded(message: str, chance: random.Random) -> str:
    """The same refusal in another wording that was seen for it; texts that nobody has seen stay as is."""
    other = _OTHERWISE.get(message.partition(":")[0])
    if other is not None:
        return chance.choice([message, _BY_CODE[other]])
    for texts in _SEEN:
        if message in texts:
            chosen = chance.choice(texts)
            return chance.choice([chosen, chosen.lower(), chosen.upper()])
    return message
