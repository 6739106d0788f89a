"""Trespassing requests, made from the OpenAPI document: each operation with another tenant's things put in.

What the document names and nobody here knows how to fill in, such as the id of a new kind of thing, is an
error: the walls of a new operation are tried, or the build fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from app.tenants.scopes import Scope
from tests.compatibility import resolved
from tests.conftest import PROJECT

DOCUMENT: dict[str, Any] = json.loads((PROJECT / "openapi" / "openapi.json").read_text())

OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}

OWNED_IN_PATH = {"tenant_id", "rental_id", "operation_id", "webhook_id", "delivery_id", "key_id"}
FREE_IN_PATH = {"country": "RU", "service": "opt1", "code": "not-found", "external_id": None}
"""Names that everybody may use; an external id is a tenant's own word, and so the other's is used."""

OWNED_IN_QUERY = {"rental_id", "phone_number", "upstream_order_id", "target", "actor"}
FREE_IN_QUERY = {
    *("created_after", "created_before", "kind", "outcome", "scope", "state", "status", "types"),
    *(
        "action",
        "count",
        "country",
        "force",
        "limit",
        "order",
        "refresh",
        "service",
        "services",
        "unit",
        "wait",
    ),
}
OWNED_IN_BODY = {"upstream_key_id", "upstream_order_id", "api_key"}
FREE_IN_BODY = {"external_id"}
LIKE_AN_ID = re.compile(r"(^|_)(ids?|key|cursor|number)$")

NOT_THERE, TAKEN, FORBIDDEN = 404, 409, 403


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the trespasser's, and what has to come of it."""

    why: str
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    statuses: frozenset[int] | None = None
    nothing_listed: bool = False

    @property
    def sent(self) -> str:
        """All that it says."""
        return json.dumps([self.path, dict(self.query), dict(self.headers), self.body])


@dataclass(frozen=True, slots=True)
class Trespasser:
    """One tenant (`own`) after another's things (`others`), both by the names of the document."""

    own: Mapping[str, str]
    others: Mapping[str, str]

    def requests(self, name: str, cursor: str | None) -> Iterator[Request]:
        """All requests that an operation can be tried with; `cursor` is the other's place in its list."""
        operation = OPERATIONS[name]
        by_place: dict[str, list[str]] = {"path": [], "query": [], "header": []}
        for parameter in operation.get("parameters", ()):
            shown = resolved(parameter, DOCUMENT)
            by_place[shown["in"]].append(shown["name"])
        refused = frozenset({NOT_THERE} if self._for_tenants(operation) else {NOT_THERE, FORBIDDEN})
        owned = [known for known in by_place["path"] if known in OWNED_IN_PATH]
        example = self._example(operation)
        own = self._request(name, "its own", (), body=example)

        for count in range(1, len(owned) + 1):
            for taken in combinations(owned, count):
                why = f"another's {' and '.join(taken)}"
                yield self._request(name, why, taken, body=example, statuses=refused)
        if not owned or own.method == "GET":
            yield own
        yield from self._by_query(own, by_place["query"], cursor)
        yield from self._by_header(own, by_place["header"], refused)
        yield from self._by_body(own, operation, refused)

    def _by_query(self, own: Request, names: list[str], cursor: str | None) -> Iterator[Request]:
        for name in names:
            if name in OWNED_IN_QUERY:
                query = {name: self.others[name]}
                yield _changed(own, f"another's {name}", query=query, nothing_listed=True)
            elif name == "cursor":
                if cursor is not None:
                    yield _changed(own, "another's cursor", query={name: cursor})
            else:
                assert name in FREE_IN_QUERY, f"say in {__name__} whose {name} is"

    def _by_header(self, own: Request, names: list[str], refused: frozenset[int]) -> Iterator[Request]:
        for name in names:
            match name:
                case "X-Tenant-ID":
                    headers = {name: self.others["tenant_id"]}
                    yield _changed(own, "another's tenant in a header", headers=headers, statuses=refused)
                case "last-event-id":
                    yield _changed(own, "another's place", headers={name: self.others["event_cursor"]})
                case "Idempotency-Key" | "If-None-Match":
                    pass  # the first has a test of its own, the second only compares
                case _:
                    raise AssertionError(f"say in {__name__} whose {name} is")

    def _by_body(self, own: Request, operation: dict[str, Any], refused: frozenset[int]) -> Iterator[Request]:
        for name in sorted(_fields(_schema(operation))):
            if name in OWNED_IN_BODY:
                body = _put(own.body, name, self.others[name])
                yield _changed(own, f"another's {name}", body=body, statuses=refused | {TAKEN})
            else:
                assert name in FREE_IN_BODY or not LIKE_AN_ID.search(name), (
                    f"say in {__name__} whose {name} is"
                )

    def _request(self, name: str, why: str, taken: tuple[str, ...], **more: Any) -> Request:
        method, _, path = name.partition(" ")

        def value(found: re.Match[str]) -> str:
            parameter = found[1]
            if parameter in FREE_IN_PATH:
                return FREE_IN_PATH[parameter] or self.others[parameter]
            assert parameter in OWNED_IN_PATH, f"say in {__name__} whose {parameter} is"
            whose = self.others if parameter in taken else self.own
            if parameter == "key_id":
                collection = path[: found.start() - 1].rsplit("/", 1)[1]
                return whose[f"{collection}.key_id"]
            return whose[parameter]

        return Request(why, method, re.sub(r"{(\w+)}", value, path), **more)

    @staticmethod
    def _for_tenants(operation: dict[str, Any]) -> bool:
        """Whether a tenant's key may call it at all."""
        return operation.get("x-required-scope") in {*Scope, None}

    @staticmethod
    def _example(operation: dict[str, Any]) -> Any:
        return operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")


def _changed(request: Request, why: str, **changes: Any) -> Request:
    given = {"method": request.method, "path": request.path, "body": request.body}
    return Request(why, **{**given, **changes})


def _put(body: Any, name: str, value: str) -> Any:
    """A body with a field set, wherever in it the field is; at its top where it is nowhere."""

    def within(part: Any) -> Any:
        if isinstance(part, list):
            return [within(item) for item in part]
        if isinstance(part, dict):
            return {key: value if key == name else within(inner) for key, inner in part.items()}
        return part

    found = within(body)
    return found if found != body else {**body, name: value}


def _schema(operation: dict[str, Any]) -> dict[str, Any]:
    content = operation.get("requestBody", {}).get("content", {})
    found: dict[str, Any] = content.get("application/json", {}).get("schema", {})
    return found


def _fields(schema: Any) -> set[str]:
    """The names of all fields of a body, however deep."""
    if isinstance(schema, list):
        return set().union(*map(_fields, schema))
    if not isinstance(schema, dict):
        return set()
    seen = resolved(schema, DOCUMENT)
    names = set(seen.get("properties", {}))
    parts = [*seen.get("properties", {}).values(), *seen.get("anyOf", ()), seen.get("items")]
    return names.union(*map(_fields, parts))
