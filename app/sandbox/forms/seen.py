"""The form of the wild: each answer in one of the ways that public clients were seen to handle."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from app.sandbox.forms.rows import Row, Rows, dated
from app.sandbox.forms.variations import Variation
from app.sandbox.options import Habits, HistoryForm, MultiForm
from app.sandbox.refusals import reworded

Body = dict[str, Any]


class Seen:
    """Varies the answer of one call by chance, among the variations that are allowed."""

    def __init__(self, chance: random.Random, allowed: frozenset[Variation]) -> None:
        self._chance = chance
        self._allowed = allowed
        self._rows = Rows(chance, allowed)
        self._may = self._rows.may
        self._new_id = False

    def asked(self, method: str) -> str:
        """The method whose data this answer tells: `getdata` was seen with the numbers of each operator."""
        if method == "getdata" and self._may(Variation.COUNT_BY_OPERATOR, 0.2):
            return "getdataWithProviders"
        return method

    def habits(self, habits: Habits) -> Habits:
        """What this call meets where nothing is promised."""
        if habits.multi is MultiForm.ORDERS and self._may(Variation.MULTI_ONE_ID, 0.5):
            habits = replace(habits, multi=self._chance.choice([MultiForm.ROWS, MultiForm.ROW]))
        if self._may(Variation.RESTORED_NEW_ID, 0.3):
            habits = replace(habits, restore_new_id=True)
        self._new_id = habits.restore_new_id
        return habits

    def history(self) -> HistoryForm:
        """How an account's archive is read; the upstream doesn't change that from call to call."""
        if self._may(Variation.HISTORY_ORDER, 0.4):
            return HistoryForm.OLDEST_FIRST
        if self._may(Variation.HISTORY_SKIP_IGNORED, 0.2):
            return HistoryForm.SKIP_IGNORED
        return HistoryForm.NEWEST_FIRST

    def answer(self, method: str, data: Any) -> Body:
        """The answer of a call that succeeded."""
        if data == [] and method in ("orders", "get_rent_history"):
            return self._none()
        if method == "sms" and not data["SmsList"] and not data["OtherSms"]:
            return self._no_sms()
        if method == "add_service_to_order" and self._may(Variation.ADDED_NOTHING, 0.5):
            return {"status": self._status(1)}
        status = self._status(1)
        if method == "getcountries" and self._may(Variation.COUNTRIES_STATUS_0, 0.4):
            status = self._status(0)
        form = _FORMS.get(method)
        return {"status": status, "data": form(self, data) if form else data}

    def refused(self, message: str) -> Body:
        """A refusal."""
        if self._may(Variation.REFUSAL_WORDS, 0.5):
            message = reworded(message, self._chance)
        return self.refused_so(message)

    def refused_so(self, message: str) -> Body:
        """A refusal in just these words."""
        name = "msg"
        if self._may(Variation.REFUSAL_NAMES, 0.4):
            name = self._chance.choice(["message", "error", "error_msg"])
        return {"status": self._status(0), name: message}

    def balance(self, balance: str) -> str | float:
        """The account's balance."""
        return float(balance) if self._may(Variation.BALANCE_NUMBER, 0.5) else balance

    def media_type(self) -> str:
        """The content type of an answer."""
        return "text/html" if self._may(Variation.CONTENT_TYPE, 0.4) else "application/json"

    def digits(self) -> int | None:
        """With how many digits an answer's floats are written; None for as many as it takes."""
        return 17 if self._may(Variation.FLOATS_17, 0.4) else None

    def _status(self, status: int) -> Any:
        return str(status) if self._may(Variation.STATUS_TEXT, 0.4) else status

    def _none(self) -> Body:
        """An empty list."""
        if self._may(Variation.EMPTY_REFUSED, 0.25):
            return self.refused_so("Orders not found")
        if self._may(Variation.EMPTY_DATA, 0.25):
            return self._no_data()
        if self._may(Variation.EMPTY_ROW, 0.25):
            return {"status": self._status(1), "data": [{}]}
        return {"status": self._status(1), "data": []}

    def _no_sms(self) -> Body:
        if self._may(Variation.EMPTY_ROW, 0.25):
            return {"status": self._status(0), "data": [{}]}
        if self._may(Variation.EMPTY_DATA, 0.25):
            return self._no_data()
        lists: Any = {"SmsList": [], "OtherSms": []}
        if self._may(Variation.SMS_LIST, 0.5):
            lists = self._chance.choice([{}, []])
        return {"status": self._status(1), "data": lists}

    def _no_data(self) -> Body:
        return self._chance.choice([{"status": self._status(1)}, {"status": self._status(1), "data": None}])

    def _countries(self, data: list[Row]) -> Any:
        shown = [self._rows.without(row, "rent_switch_type") for row in data]
        return self._rows.listed([self._rows.varied(row) for row in shown], "code")

    def _services(self, data: list[Row]) -> Any:
        return self._rows.listed([self._rows.varied(row) for row in data], "service")

    def _days(self, data: list[Row]) -> Any:
        return self._rows.listed([self._rows.varied(row) for row in data], "Days")

    def _row(self, data: Row) -> Row:
        return self._rows.varied(data)

    def _by_key(self, data: dict[str, Row]) -> Row:
        return {key: self._rows.varied(row) for key, row in data.items()}

    def _offers(self, data: Row) -> Any:
        rows = [self._rows.varied(row) for row in data["services"]]
        if self._may(Variation.OFFERS_KEYED, 0.2):
            return {**data, "services": {row["service"]: row for row in rows}}
        services = self._rows.listed(rows, "service")
        return services if self._may(Variation.OFFERS_LIST, 0.4) else {**data, "services": services}

    def _count(self, data: Any) -> Any:
        if isinstance(data, dict) and self._may(Variation.COUNT_TOTAL, 0.3):
            return sum(data.values())
        return data if isinstance(data, int) else self._rows.varied(data)

    def _created(self, data: list[Row]) -> Any:
        row = self._purchased(data[0])
        return [row] if self._may(Variation.CREATE_LIST, 0.3) else row

    def _created_multi(self, data: list[Row]) -> Any:
        if self._may(Variation.MULTI_LIST, 0.5):
            return [self._purchased(row) for row in data]
        return self._created(data)

    def _purchased(self, row: Row) -> Row:
        until = int(row["until"])
        if self._may(Variation.CREATE_NAMES, 0.2):
            number = row["ccode"].lstrip("+") + row["pnumber"]
            return self._rows.varied({"id": row["id"], "number": number, "expireAt": dated(until)})
        return self._rows.varied(self._rows.numbered({**row, "until": until}))

    def _orders(self, data: list[Row]) -> Any:
        rows = [self._order(row) for row in data]
        self._chance.shuffle(rows)
        if self._may(Variation.ROW_WITHOUT_ID, 0.05):
            rows.append({**rows[0], "id": self._chance.choice([None, ""])})
        return self._rows.listed(rows, "id")

    def _order(self, row: Row) -> Row:
        shown = self._rows.varied(self._rows.numbered(row))
        if self._may(Variation.HUGE_NUMBERS, 0.05):
            shown["canprolongmax"] = 10**12
        return self._rows.without(shown, self._chance.choice(["lastonline", "ccode"]))

    def _sms(self, data: Row) -> Any:
        rented = [self._of(row).message(row) for row in data["SmsList"]]
        other = [self._of(row).other_message(row) for row in data["OtherSms"]]
        rented.reverse()
        if not other and self._may(Variation.SMS_LIST, 0.3):
            return self._rows.listed(rented, twice=False)
        return {
            "SmsList": self._rows.listed(rented, twice=False),
            "OtherSms": self._rows.listed(other, twice=False),
        }

    def _of(self, row: Row) -> Rows:
        """For a message: it looks the same each time, as it has no id and is told by what it is."""
        return Rows(random.Random(repr(sorted(row.items()))), self._allowed)

    def _done(self, data: Any) -> Any:
        done = data[0] if isinstance(data, list) else data
        if not self._may(Variation.DONE_DATA, 0.8):
            return data
        shown = self._rows.varied(done)
        return self._chance.choice([[], {}, [{}], shown, [shown]])

    def _restored(self, data: Row) -> Any:
        if not self._new_id and self._may(Variation.RESTORED_TRUE, 0.5):
            return True
        return self._rows.varied(data)

    def _history(self, data: list[Row]) -> Any:
        return self._rows.listed([self._entry(row) for row in data], "orderId")

    def _entry(self, row: Row) -> Row:
        shown = self._rows.without(self._rows.varied(row), "branchId")
        if self._may(Variation.COUNTRY_EN, 0.2):
            shown["country"] = "EN"
        if self._may(Variation.MASKED_NUMBERS, 0.1):
            number = row["number"]
            shown["number"] = self._chance.choice([f"{number[:4]}****{number[-2:]}", number * 2])
        return shown

    def _quote(self, row: Row) -> Row:
        shown = self._rows.varied(row)
        if self._may(Variation.COUNTRY_EN, 0.3):
            shown["ccode"] = "EN"
        return shown


_FORMS: Mapping[str, Callable[[Seen, Any], Any]] = {
    "getcountries": Seen._countries,
    "get_default_services": Seen._services,
    "get_country_by_service": Seen._by_key,
    "getdata": Seen._offers,
    "getdataWithProviders": Seen._offers,
    "getcount": Seen._count,
    "getCountWithProviders": Seen._by_key,
    "get_count_multi": Seen._row,
    "get_min_paypal_days": Seen._row,
    "get_days_canada_paypal": Seen._days,
    "create": Seen._created,
    "create_multi": Seen._created_multi,
    "add_service_to_order": Seen._row,
    "orders": Seen._orders,
    "sms": Seen._sms,
    "activate": Seen._done,
    "delete": Seen._done,
    "prolong": Seen._done,
    "prolong_max": Seen._done,
    "get_rent_history": Seen._history,
    "restore_user_precalc": Seen._quote,
    "restore_user": Seen._restored,
}
