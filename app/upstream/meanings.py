"""What the upstream's refusals mean, and which texts are certain to mean that nothing was done.

Case and wording vary, so a text is matched by its words: HTML, punctuation and numbers don't count.

A call that only reads takes a text for its meaning wherever the known words stand in it: if that is wrong,
an error has the wrong code. A call that spends or changes takes a text only if it begins with what the
provider's page documents, or is a known phrase with nothing beside it but articles, numbers, amounts and
punctuation: if that were wrong, what was bought would be called not bought.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import partial
from html import unescape

from app.errors import (
    ArchivedOrderNotFound,
    CountryUnknown,
    InsufficientBalance,
    NoNumbersAvailable,
    OrderNotOwned,
    PeriodInvalid,
    ProlongLimitReached,
    ProlongTooEarly,
    RentalNotActive,
    RentalNotExpired,
    RentgateError,
    RestoreNeedsSupport,
    RestoreNotAvailable,
    ServiceUnknown,
    UpstreamBusy,
    UpstreamKeyRejected,
    UpstreamRefusedError,
)

PROLONGING = frozenset({"prolong", "prolong_max"})
RESTORING = frozenset({"restore_user", "restore_user_precalc"})
CHANGING = frozenset(
    {"create", "create_multi", "add_service_to_order", "restore_user", "activate", "delete", *PROLONGING}
)
"""The methods that spend or change something."""

LONGEST_READ = 4096
"""How many characters of a text are read; a longer one is no phrase that is known."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What some texts mean. Each is a regular expression of words in lower case with one space between.

    Attributes:
        error: what the caller is told.
        documented: codes and messages of the provider's page; a text that begins with one is known.
        phrases: were seen, or say the same as what was seen; as a whole text, each is known.
        hints: tell enough for a call that only reads.
        methods: for which methods this holds; None for all.
    """

    error: type[RentgateError]
    documented: str | None = None
    phrases: str | None = None
    hints: str | None = None
    methods: frozenset[str] | None = None


_WRONG = "(?:incorrect|invalid|wrong|bad|unknown)"
_IS_WRONG = "(?:is |was )?(?:incorrect|invalid|wrong|bad|unknown|not (?:found|valid|known|correct))"
_KEY = "api ?key"
_MONEY = "(?:balance|funds?|money|credits?)"
_NUMBERS = "(?:phone numbers?|numbers?|phones?)"
_CALLS = "(?:requests?|quer(?:y|ies)|connections?|calls?|attempts?)"
_ORDER_UNKNOWN = (
    rf"{_WRONG} orders?(?: id| number)?|orders?(?: id| number)? {_IS_WRONG}|no such order|order closed"
    r"|orders?(?: id)? (?:does not|doesnt|not) exists?|order is (?:not active|closed)"
)
_SERVICE_UNKNOWN = (
    rf"{_WRONG} services?(?: codes?)?|services?(?: codes?)? {_IS_WRONG}|no such service"
    r"|services? (?:is |are )?not supported"
)
_SERVICE_NOT_FOUND = "service not found"

MEANINGS = (
    Meaning(
        RestoreNotAvailable,
        documented="noavaildays|phone number is unava?i?la?ble for automatically restoring",
        hints="not enough working days|unava?i?la?ble for (?:automatically |automatic )?restoring",
    ),
    Meaning(
        OrderNotOwned,
        documented="notowner|user had not this order|looks like order is not your",
        phrases=r"(?:order is )?not your order|order is not yours?|order (?:belongs to )?another user",
        hints="user had not order|order not yours?",
    ),
    Meaning(
        ArchivedOrderNotFound,
        documented="noremotedata|we could not find information about your order in archive",
        hints="not find information about order|order not found in archive|not in archive",
    ),
    Meaning(
        RestoreNeedsSupport,
        documented=(
            "noordercountry|noservicedata|we could not find all info about order"
            "|could not load information about service"
        ),
        hints="not find all info about order|not load information about service|write in live chat",
    ),
    Meaning(
        RentalNotExpired,
        documented="datediffinvert|looks like your order was not expired",
        phrases=r"order (?:is |was |has )?not expired(?: yet)?",
        hints="not expired",
    ),
    Meaning(RestoreNeedsSupport, _SERVICE_NOT_FOUND, _SERVICE_UNKNOWN, methods=RESTORING),
    Meaning(ServiceUnknown, _SERVICE_NOT_FOUND, _SERVICE_UNKNOWN),
    Meaning(
        InsufficientBalance,
        documented="nobalance|balance is not enough|your balance is not enough for restoring rental order",
        phrases=(
            rf"(?:insufficient|not enough|low|no) {_MONEY}"
            r"(?: (?:on|in) (?:your |user )?(?:balance|account))?"
            rf"|(?:your |user |account ){{0,2}}{_MONEY} (?:is |are )?(?:not enough|insufficient|too low|low)"
            rf"|(?:you )?(?:do not|dont) have enough {_MONEY}|lack of {_MONEY}"
        ),
        hints=rf"not sufficient {_MONEY}|{_MONEY} (?:account )?not (?:enough|sufficient)|top up",
    ),
    Meaning(
        NoNumbersAvailable,
        phrases=(
            rf"no (?:free |available )?{_NUMBERS}(?: (?:are )?(?:available|left|found|free|in stock))?"
            "(?: now)?"
            rf"|{_NUMBERS} (?:are |is )?(?:not available|out of stock)|not enough {_NUMBERS}"
            r"|out of stock|no stock|not in stock"
        ),
        hints=rf"no (?:suitable|more) {_NUMBERS}|{_NUMBERS} unavailable",
    ),
    Meaning(
        UpstreamKeyRejected,
        phrases=(
            rf"{_WRONG} {_KEY}|{_KEY} {_IS_WRONG}|no {_KEY}|{_KEY} (?:is |was )?(?:missing|empty|expired)"
            rf"|{_KEY} (?:does not|doesnt|not) exists?|^{_WRONG} key$|^key {_IS_WRONG}$"
        ),
    ),
    Meaning(
        CountryUnknown,
        phrases=(
            rf"{_WRONG} country(?: code)?|country(?: code)? {_IS_WRONG}|no such country"
            r"|country (?:is )?not supported"
        ),
    ),
    Meaning(
        PeriodInvalid,
        phrases=(
            rf"{_WRONG} duration(?: count)?(?: min days)?(?: max days)?|{_WRONG} dtype(?: or dcount)?"
            rf"|{_WRONG} (?:dcount|period|rent days|dtype and dcount)"
        ),
        hints="min days max days",
    ),
    Meaning(
        ProlongTooEarly,
        phrases="you can prolong number only if before expiring date left less(?: than)? days?",
        hints="can prolong number only if|can prolong only",
    ),
    Meaning(
        # No text for it was ever seen, but the lists carry such limits (`canprolongmax`, `canprolonguntil`).
        ProlongLimitReached,
        phrases=r"(?:prolong(?:ation|ing)? |maximum |max )?limit (?:is |was )?(?:reached|exceeded)",
        methods=PROLONGING,
    ),
    Meaning(
        UpstreamBusy,
        phrases=(
            rf"too many {_CALLS}|(?:rate|{_CALLS}) limit (?:is |was )?(?:reached|exceeded)"
            rf"|limit of {_CALLS} (?:is |was )?(?:reached|exceeded)"
        ),
        hints="limit exceeded|limit reached|try again later|try later|slow down",
    ),
    Meaning(ArchivedOrderNotFound, phrases=_ORDER_UNKNOWN, methods=RESTORING),
    Meaning(RentalNotActive, phrases=_ORDER_UNKNOWN),
    Meaning(
        # There is no code for these, yet they say that the call was turned down as it was put.
        UpstreamRefusedError,
        phrases=rf"{_WRONG} (?:method|pnumber|phone number|provider|operator|parameters?|skip or take)",
    ),
)
"""In the order in which they are tried."""

_TAGS = re.compile(
    r"</?(?:a|b|br|div|em|font|h[1-6]|hr|i|li|p|small|span|strong|u|ul)\b[^<>]*>", re.IGNORECASE
)
_FORMAT = re.compile(r"['\u2019\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
"""What stands within a word and parts none: apostrophes, soft hyphens, marks of width and direction."""

_AMOUNT = re.compile(
    r"(?i)(?:us ?\$|\$|\busd) ?\d[\d.,]*|(?<![\d.,])\d[\d.,]* ?(?:usd\b|us ?\$|\$|dollars?\b)"
)
_WORD = re.compile(r"[^\W\d_]+")
_ARTICLES = frozenset({"a", "an", "the"})
_FILLING = _ARTICLES | set(
    re.findall(
        r"\w+",
        "your our my this that these such is are was were be been has have had do does any there for of on"
        " in at to you we sorry please currently now",
    )
)
"""What says nothing of its own, so that words on both sides of it are taken together."""


def meaning(method: str, message: str) -> type[RentgateError]:
    """What a refusal means, UpstreamRefusedError if nobody knows.

    Args:
        method: the upstream's method that was called; some texts mean different things by it.
        message: the upstream's text, as it came.
    """
    known = _known(method, message)
    if known is None and method not in CHANGING:
        known = _guessed(method, message)
    return UpstreamRefusedError if known is None else known.error


def is_certain(method: str, message: str) -> bool:
    """Whether a refusal with this text is certain to mean that the call did nothing.

    A call that only reads does nothing whatever the text says.
    """
    return method not in CHANGING or _known(method, message) is not None


def plain(message: str) -> str:
    """A text without HTML and in the common form of its characters."""
    readable = unescape(unescape(message[:LONGEST_READ]))
    return unicodedata.normalize("NFKC", _FORMAT.sub("", _TAGS.sub(" ", readable)))


def _known(method: str, message: str) -> Meaning | None:
    """The meaning of a text that is known as a whole, or begins with what is documented."""
    words = " ".join(word for word in _words(message) if word not in _ARTICLES)
    candidates = [of for of in MEANINGS if of.methods is None or method in of.methods]
    for of in candidates:
        if of.documented and re.match(rf"(?:{of.documented})\b", words):
            return of
    if len(message) > LONGEST_READ:
        return None
    return next((of for of in candidates if of.phrases and re.fullmatch(of.phrases, words)), None)


def _guessed(method: str, message: str) -> Meaning | None:
    """The meaning of the known words that stand first in a text; of several in one place, the longest."""
    words = [word for word in _words(message) if word not in _ARTICLES]
    core = " ".join(word for word in words if word not in _FILLING)
    for text in (" ".join(words), core):
        found = []
        for of in MEANINGS:
            if of.methods is not None and method not in of.methods:
                continue
            patterns = [pattern for pattern in (of.documented, of.phrases, of.hints) if pattern]
            for hit in filter(None, map(partial(re.search, string=text), map(_whole_words, patterns))):
                found.append((hit.start(), -hit.end(), of))
        if found:
            return min(found, key=lambda one: one[:2])[2]
    return None


def _whole_words(pattern: str) -> str:
    return rf"\b(?:{pattern})\b"


def _words(message: str) -> list[str]:
    return _WORD.findall(_AMOUNT.sub(" ", plain(message)).casefold())
