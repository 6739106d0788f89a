"""How each variation of the seen form is recognised in an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.sandbox.forms.variations import Variation
from app.sandbox.refusals import DOCUMENTED

DAY = 86_400
TIMES = ("until", "lastonline", "date", "begin", "end", "closed", "canprolonguntil")
LISTS = ("getcountries", "get_default_services", "get_days_canada_paypal", "orders", "get_rent_history")
NO_DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the run: what was asked, and what came."""

    method: str
    asked: Mapping[str, Any]
    text: str
    media_type: str
    truth: Any = None

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found

    @property
    def data(self) -> Any:
        return self.body.get("data")

    def values(self) -> Iterator[tuple[str, Any]]:
        """All members of all objects of the answer."""
        waiting = [self.body]
        while waiting:
            found = waiting.pop()
            members = found.items() if isinstance(found, dict) else (("", item) for item in found)
            for name, value in members:
                yield name, value
                if isinstance(value, dict | list):
                    waiting.append(value)  # type: ignore[arg-type]

    def rows(self) -> list[Any]:
        """The rows of a list, however it is written."""
        data = self.data
        if isinstance(data, dict) and {"services", "SmsList"} & data.keys():
            data = data.get("services", data.get("SmsList"))
        if isinstance(data, dict) and all(isinstance(row, dict) for row in data.values()):
            return list(data.values())
        return data if isinstance(data, list) else []


Sign = Callable[[Answer], bool]


def of(*methods: str) -> Callable[[Sign], Sign]:
    """Looks at these methods only."""
    return lambda sign: lambda answer: answer.method in methods and sign(answer)


def has(answer: Answer, test: Callable[[str, Any], bool]) -> bool:
    return any(test(name, value) for name, value in answer.values())


def refusal(answer: Answer) -> str | None:
    if answer.body.get("status") not in (0, "0"):
        return None
    names = ("msg", "message", "error", "error_msg")
    return next((answer.body[name] for name in names if name in answer.body), None)


PLAIN_WORDS = {
    "Orders not found",
    "No numbers available",
    "Invalid apikey",
    *(text for text in DOCUMENTED if text.startswith("NOTOWNER")),
}


def seconds(value: Any) -> float | None:
    """A time as a number, if it is one."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def as_object(answer: Answer) -> bool:
    data = answer.data["services"] if answer.method.startswith("getdata") else answer.data
    lists = [data] if answer.method != "sms" else [data, *(data.values() if isinstance(data, dict) else ())]
    return any(
        isinstance(found, dict) and bool(found) and all(name.isdecimal() for name in found) for found in lists
    )


def twice(answer: Answer) -> bool:
    names = {"orders": ("id", "scode"), "get_rent_history": ("orderId",), "getcountries": ("code",)}
    if answer.method not in names:
        return False
    told = [
        tuple(str(row[name]) for name in names[answer.method])
        for row in answer.rows()
        if isinstance(row, dict) and row.get(names[answer.method][0])
    ]
    return len(told) > len(set(told))


def empty_among_rows(answer: Answer) -> bool:
    rows = answer.rows() or (list(answer.data.values()) if isinstance(answer.data, dict) else [])
    return any(row in (None, "", {}, []) for row in rows) and any(rows)


def one_id(answer: Answer) -> bool:
    """Two services of one order under one id, and no row that stands there twice."""
    rows = [row for row in answer.rows() if isinstance(row, dict) and row.get("id")]
    services: dict[str, set[str]] = {}
    for row in rows:
        services.setdefault(str(row["id"]), set()).add(row["scode"])
    return any(len(found) == 2 for found in services.values())


def messages(answer: Answer, name: str) -> list[Any]:
    data = answer.data if isinstance(answer.data, dict) else {}
    found = data.get(name) or []
    return list(found.values()) if isinstance(found, dict) else found


SIGNS: Mapping[Variation, Sign] = {
    Variation.STATUS_TEXT: lambda a: isinstance(a.body.get("status"), str),
    Variation.COUNTRIES_STATUS_0: of("getcountries")(lambda a: a.body["status"] in (0, "0") and bool(a.data)),
    Variation.CONTENT_TYPE: lambda a: a.media_type == "text/html",
    Variation.REFUSAL_NAMES: lambda a: (
        bool({"message", "error", "error_msg"} & a.body.keys()) and a.method != "balance"
    ),
    Variation.REFUSAL_WORDS: lambda a: refusal(a) not in (None, *PLAIN_WORDS),
    Variation.EMPTY_DATA: lambda a: a.truth == "empty" and refusal(a) is None and a.data is None,
    Variation.EMPTY_REFUSED: lambda a: a.truth == "empty" and refusal(a) == "Orders not found",
    Variation.EMPTY_ROW: lambda a: a.truth == "empty" and a.data == [{}],
    Variation.NUMBERS_AS_TEXT: of("orders")(
        lambda a: has(
            a, lambda name, value: name in ("id", "state") and isinstance(value, str) and value != ""
        )
    ),
    Variation.FLAGS_AS_NUMBERS: lambda a: has(
        a,
        lambda name, value: (
            name in ("hasnewsms", "canprolong", "haveSms", "isAvailForRestore")
            and not isinstance(value, bool)
        ),
    ),
    Variation.FLOATS_17: lambda a: re.search(r":0\.\d{17}", a.text) is not None,
    Variation.TIME_FRACTION: lambda a: has(
        a, lambda name, value: name in TIMES and bool((seconds(value) or 0) % 1)
    ),
    Variation.TIME_MILLISECONDS: lambda a: has(
        a, lambda name, value: name in TIMES and (seconds(value) or 0) > 10**12
    ),
    Variation.DATE_TEXT: lambda a: has(
        a, lambda name, value: name in TIMES and NO_DATE.fullmatch(str(value)) is not None
    ),
    Variation.FIELDS_MISSING: lambda a: any(
        isinstance(row, dict) and row.get("id") and not {"lastonline", "ccode"} <= row.keys()
        for row in (a.rows() if a.method == "orders" else [])
    ),
    Variation.HUGE_NUMBERS: lambda a: has(
        a, lambda name, value: name == "canprolongmax" and int(value) > 2**31
    ),
    Variation.COUNTRY_EN: lambda a: has(
        a, lambda name, value: name in ("country", "ccode") and value == "EN"
    ),
    Variation.DIAL_CODES: lambda a: has(
        a, lambda name, value: name == "pnumber" and str(value).startswith("+")
    ),
    Variation.MASKED_NUMBERS: of("get_rent_history")(
        lambda a: has(a, lambda name, value: name == "number" and "*" in value)
    ),
    Variation.LIST_AS_OBJECT: of(*LISTS, "sms")(as_object),
    Variation.ROWS_TWICE: twice,
    Variation.ROWS_EMPTY: of(*LISTS)(empty_among_rows),
    Variation.ROW_WITHOUT_ID: of("orders")(
        lambda a: any(isinstance(row, dict) and "scode" in row and not row.get("id") for row in a.rows())
    ),
    Variation.OFFERS_LIST: of("getdata")(lambda a: isinstance(a.data, list)),
    Variation.OFFERS_KEYED: of("getdata", "getdataWithProviders")(
        lambda a: (
            isinstance(a.data, dict) and "opt1" in a.data.get("services", ()) and "totalAmount" in a.data
        )
    ),
    Variation.COUNT_BY_OPERATOR: of("getdata")(
        lambda a: has(a, lambda name, value: name == "count" and isinstance(value, dict))
    ),
    Variation.COUNT_TOTAL: of("getcount")(lambda a: isinstance(a.data, int)),
    Variation.CREATE_LIST: of("create")(lambda a: isinstance(a.data, list)),
    Variation.CREATE_NAMES: of("create")(
        lambda a: has(a, lambda name, value: name == "expireAt" and NO_DATE.fullmatch(value) is not None)
    ),
    Variation.MULTI_LIST: of("create_multi")(lambda a: isinstance(a.data, list)),
    Variation.MULTI_ONE_ID: of("orders")(one_id),
    Variation.DONE_DATA: of("delete", "prolong", "prolong_max")(lambda a: a.data in ([], {}, [{}])),
    Variation.SMS_LIST: of("sms")(lambda a: a.truth is None and isinstance(a.data, list)),
    Variation.SMS_STRINGS: of("sms")(
        lambda a: any(isinstance(item, str) and item for item in messages(a, "SmsList"))
    ),
    Variation.OTHER_SMS_NAMES: of("sms")(
        lambda a: any(isinstance(item, dict) and "fullText" in item for item in messages(a, "OtherSms"))
    ),
    Variation.ADDED_NOTHING: of("add_service_to_order")(
        lambda a: refusal(a) is None and "data" not in a.body
    ),
    Variation.RESTORED_TRUE: of("restore_user")(lambda a: a.data is True),
    Variation.RESTORED_NEW_ID: of("restore_user")(
        lambda a: isinstance(a.data, dict) and int(a.data["id"]) != a.asked["id"]
    ),
    Variation.HISTORY_ORDER: of("get_rent_history")(
        lambda a: a.asked.get("skip") == 0 and oldest_first(a.rows())
    ),
    Variation.BALANCE_NUMBER: of("balance")(lambda a: isinstance(a.data["balance"], float)),
}


def oldest_first(rows: list[Any]) -> bool:
    told = [float(row["end"]) for row in rows if isinstance(row, dict) and row.get("orderId")]
    ends = [end / 1000 if end > 10**12 else end for end in told]
    return bool(ends) and ends[0] < ends[-1] - DAY
