"""What the OpenAPI document has to hold beside what linters know: names, examples, bounds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from app.api.openapi import TAGS
from app.errors import catalogue
from app.events.types import EventType
from tests.compatibility import resolved
from tests.conftest import PROJECT

DOCUMENT: dict[str, Any] = json.loads((PROJECT / "openapi" / "openapi.json").read_text())

OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}

OF_NO_OPERATION = {"method_not_allowed"}
"""Codes of requests that no operation was found for."""


def bodies() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every JSON that goes in or comes out, with where it does."""
    for name, operation in OPERATIONS.items():
        for media, content in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{name} body {media}", content
        for status, found in operation["responses"].items():
            for media, content in resolved(found, DOCUMENT).get("content", {}).items():
                if "json" in media:
                    yield f"{name} {status}", content
    for name, item in DOCUMENT["webhooks"].items():
        yield f"webhook {name}", item["post"]["requestBody"]["content"]["application/json"]


BODIES = dict(bodies())


def test_every_type_of_event_is_described_as_it_is_sent() -> None:
    types = []
    for item in DOCUMENT["webhooks"].values():
        content = item["post"]["requestBody"]["content"]["application/json"]
        kind = resolved(content["schema"], DOCUMENT)["properties"]["type"]
        types += kind.get("enum", [kind.get("const")])
    assert sorted(types) == sorted(event_type.value for event_type in EventType)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_named_and_described(name: str) -> None:
    operation = OPERATIONS[name]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", operation["operationId"])
    assert set(operation["tags"]) <= {tag["name"] for tag in TAGS}
    assert operation["summary"]
    assert operation["description"]


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("where", BODIES)
def test_every_body_has_an_example_that_fits_its_named_schema(where: str) -> None:
    content = BODIES[where]
    schema = content["schema"]
    forms = [form for form in schema.get("anyOf", [schema]) if form.get("type") != "null"]
    assert all("$ref" in form for form in forms), "schemas have names"
    examples = [content["example"]] if "example" in content else []
    examples += [resolved(example, DOCUMENT)["value"] for example in content.get("examples", {}).values()]
    if where.endswith("4XX"):
        return
    assert examples
    whole = {**schema, "components": DOCUMENT["components"]}
    for example in examples:
        Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(example)


def test_every_error_code_is_told_by_an_operation() -> None:
    told = {code for content in BODIES.values() for code in content.get("examples", {})}
    assert set(catalogue()) - told == OF_NO_OPERATION


def incoming() -> Iterator[tuple[str, dict[str, Any]]]:
    """The schema of everything that a caller sends."""
    for name, operation in OPERATIONS.items():
        for parameter in operation.get("parameters", ()):
            found = resolved(parameter, DOCUMENT)
            yield f"{name} {found['name']}", found["schema"]
        for content in operation.get("requestBody", {}).get("content", {}).values():
            yield name, content["schema"]


def unbounded(where: str, schema: Mapping[str, Any]) -> Iterator[str]:
    """The strings and arrays within a schema that may be of any length."""
    schema = resolved(schema, DOCUMENT)
    for form in schema.get("anyOf", ()):
        yield from unbounded(where, form)
    for field, inner in schema.get("properties", {}).items():
        yield from unbounded(f"{where} {field}", inner)
    if "items" in schema:
        if "maxItems" not in schema:
            yield where
        yield from unbounded(f"{where}[]", schema["items"])
    if schema.get("type") == "string" and not schema.keys() & {
        "maxLength",
        "enum",
        "const",
        "format",
        "pattern",
    }:
        yield where


@pytest.mark.parametrize(("where", "schema"), list(incoming()))
def test_everything_that_comes_in_is_bounded(where: str, schema: dict[str, Any]) -> None:
    assert not list(unbounded(where, schema))
