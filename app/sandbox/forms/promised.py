"""The two forms that the provider has told of: today's, and that of its rental page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Body = dict[str, Any]

_DONE: Body = {"status": 1}


def today(method: str, data: Any) -> Body:
    """An answer as the provider's own client has it."""
    form = _TODAY.get(method)
    return form(data) if form else {"status": 1, "data": data}


def documented(method: str, data: Any) -> Body:
    """An answer as the provider's page shows it; of methods that the page doesn't have, as it is today."""
    form = _DOCUMENTED.get(method)
    return form(data) if form else today(method, data)


def _succeeded(data: Any) -> Body:
    return {"status": 1, "data": data}


def _first(data: Any) -> Body:
    """Of several orders, the answer tells one."""
    return _succeeded(data[0])


def _nothing(_data: Any) -> Body:
    return _DONE


_TODAY: Mapping[str, Callable[[Any], Body]] = {
    "create": _first,
    "create_multi": _first,
    "prolong": _nothing,
    "prolong_max": _nothing,
}


def _only(rows: list[Body], *fields: str) -> Body:
    return _succeeded([{name: row[name] for name in fields} for row in rows])


def _purchased(data: Any) -> Body:
    return _succeeded({**data[0], "until": int(data[0]["until"])})


def _history(data: Any) -> Body:
    return _succeeded(
        [{name: value for name, value in row.items() if name != "isAvailForRestore"} for row in data]
    )


_DOCUMENTED: Mapping[str, Callable[[Any], Body]] = {
    "getcountries": lambda data: _only(data, "name", "code"),
    "getdata": lambda data: _only(data["services"], "name", "service", "price_day", "count"),
    "getdataWithProviders": lambda data: _only(
        data["services"], "name", "service", "price_day", "count", "totalCount"
    ),
    "create": _purchased,
    "create_multi": _purchased,
    "add_service_to_order": _nothing,
    "sms": lambda data: _succeeded(data["SmsList"]),
    "activate": _first,
    "prolong": _succeeded,
    "prolong_max": _succeeded,
    "get_rent_history": _history,
    "restore_user": lambda _data: _succeeded(True),
}
