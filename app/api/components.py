"""Moves what the OpenAPI document says more than once into its components, and refers to it from there.

Names follow from what a component holds, so that they stay as they are when routes are added.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

Node = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a part of the document stands: at `key` of `holder`, in an operation."""

    holder: Any
    key: Any
    name: str
    operation_id: str

    @property
    def part(self) -> Node:
        """What stands there."""
        found: Node = self.holder[self.key]
        return found


def shared(document: Node) -> Node:
    """The document with each example, answer and parameter that it says twice among its components."""
    document = json.loads(json.dumps(document))  # parts of the given one may be the same object
    operations = list(_operations(document))
    # Examples first: answers are compared by what they refer to.
    for kind, places in (("examples", _examples), ("responses", _answers), ("parameters", _parameters)):
        _move(
            kind, [place for operation in operations for place in places(operation)], document["components"]
        )
    return document


def _operations(document: Node) -> Iterator[Node]:
    for items in (document["paths"], document.get("webhooks", {})):
        for item in items.values():
            yield from item.values()


def _examples(operation: Node) -> Iterator[_Place]:
    for carrier in (operation.get("requestBody", {}), *operation["responses"].values()):
        for content in carrier.get("content", {}).values():
            examples = content.get("examples", {})
            for name in examples:
                yield _Place(examples, name, _pascal(name), operation["operationId"])


def _answers(operation: Node) -> Iterator[_Place]:
    for status, answer in operation["responses"].items():
        yield _Place(operation["responses"], status, _answer_name(status, answer), operation["operationId"])


def _parameters(operation: Node) -> Iterator[_Place]:
    parameters = operation.get("parameters", [])
    for index, parameter in enumerate(parameters):
        if "$ref" not in parameter:
            name = _pascal(parameter["name"]) + _pascal(parameter["in"])
            yield _Place(parameters, index, name, operation["operationId"])


def _move(kind: str, places: Iterable[_Place], components: Node) -> None:
    equal: dict[str, list[_Place]] = defaultdict(list)
    for place in places:
        if "$ref" not in place.part:
            equal[json.dumps(place.part, sort_keys=True)].append(place)
    found: Node = components.get(kind, {})
    for group in equal.values():
        if len(group) == 1:
            continue
        first = group[0]
        name = first.name
        if name in found:
            name += f"Of{_pascal(first.operation_id)}"
        found[name] = first.part
        for place in group:
            place.holder[place.key] = {"$ref": f"#/components/{kind}/{name}"}
    if found:
        components[kind] = dict(sorted(found.items()))


def _answer_name(status: str, answer: Node) -> str:
    """The codes of the problems that an answer may be; or its body, and what its status means."""
    contents = list(answer.get("content", {}).values())
    codes = [name for content in contents for name in content.get("examples", {})]
    if status[0] in "45" and codes:
        name = "Or".join(_pascal(code) for code in codes)
    else:
        meaning = HTTPStatus(int(status)).phrase.replace(" ", "") if status.isdecimal() else status
        name = _schema_name(contents) + meaning
    return name + ("Replayable" if "Idempotency-Replayed" in answer.get("headers", {}) else "")


def _schema_name(contents: list[Node]) -> str:
    for content in contents:
        schema = content.get("schema", {})
        for form in (schema, *schema.get("anyOf", ())):
            if "$ref" in form:
                return str(form["$ref"].rsplit("/", 1)[1])
    return ""


def _pascal(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", name))
