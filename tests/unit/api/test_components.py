"""What the document says more than once stands among its components, once."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from app.api.components import shared
from app.api.layout import LINE_LENGTH, laid_out
from tests.conftest import PROJECT

TEXT = (PROJECT / "openapi" / "openapi.json").read_text()
DOCUMENT: dict[str, Any] = json.loads(TEXT)


def references(node: Any) -> Iterator[str]:
    """Everything that a part of a document refers to."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in (*document["paths"].values(), *document.get("webhooks", {}).values()):
        yield from item.values()


def inline(document: dict[str, Any], kind: str) -> list[str]:
    """The parts of a kind that stand in operations themselves, to be compared."""
    found: list[Any] = []
    for operation in operations(document):
        if kind == "parameters":
            found += operation.get("parameters", [])
        elif kind == "responses":
            found += operation["responses"].values()
        else:
            for answer in operation["responses"].values():
                for content in answer.get("content", {}).values():
                    found += content.get("examples", {}).values()
    return [json.dumps(part, sort_keys=True) for part in found if "$ref" not in part]


KINDS = ["examples", "parameters", "responses"]


def test_every_reference_leads_somewhere() -> None:
    for reference in set(references(DOCUMENT)):
        start, part, kind, name = reference.split("/")
        assert (start, part) == ("#", "components")
        assert name in DOCUMENT["components"][kind]


def test_no_component_is_unused() -> None:
    used = set(references(DOCUMENT))
    for kind, components in DOCUMENT["components"].items():
        if kind != "securitySchemes":  # these are named, not referred to
            assert {name for name in components if f"#/components/{kind}/{name}" not in used} == set()
    schemes = {name for operation in operations(DOCUMENT) for need in operation["security"] for name in need}
    assert schemes == DOCUMENT["components"]["securitySchemes"].keys()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_equal_stands_in_two_operations(kind: str) -> None:
    assert [part for part, count in Counter(inline(DOCUMENT, kind)).items() if count > 1] == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_in_an_operation_is_no_component_already(kind: str) -> None:
    components = {json.dumps(part, sort_keys=True) for part in DOCUMENT["components"][kind].values()}
    assert components.isdisjoint(inline(DOCUMENT, kind))
    assert len(components) == len(DOCUMENT["components"][kind])


def test_names_of_components_are_words() -> None:
    for kind in KINDS:
        assert all(re.fullmatch(r"([A-Z][A-Za-z0-9]*)+", name) for name in DOCUMENT["components"][kind])


def problem(*codes: str) -> dict[str, Any]:
    examples = {code: {"summary": code, "value": {"code": code}} for code in codes}
    return {"description": "·", "content": {"application/problem+json": {"examples": examples}}}


def operation(operation_id: str, **parts: Any) -> dict[str, Any]:
    return {"get": {"operationId": operation_id, "responses": {}, **parts}}


def made(*items: dict[str, Any], **components: Any) -> dict[str, Any]:
    return {"paths": {f"/{i}": item for i, item in enumerate(items)}, "components": components}


def test_equal_answers_are_named_by_their_codes() -> None:
    answers = {"404": problem("not_found", "rental_not_found"), "409": problem("taken")}
    document = made(
        operation("a", responses=answers),
        operation("b", responses={"404": answers["404"], "409": problem("x")}),
    )
    found = shared(document)
    assert list(found["components"]["responses"]) == ["NotFoundOrRentalNotFound"]
    reference = {"$ref": "#/components/responses/NotFoundOrRentalNotFound"}
    assert [part["responses"]["404"] for part in operations(found)] == [reference, reference]
    assert [part["responses"]["409"] for part in operations(found)] == [problem("taken"), problem("x")]


def test_an_example_of_different_answers_stands_once() -> None:
    found = shared(
        made(
            operation("a", responses={"404": problem("not_found")}),
            operation("b", responses={"404": problem("not_found", "gone")}),
        )
    )
    assert found["components"]["examples"] == {
        "NotFound": {"summary": "not_found", "value": {"code": "not_found"}}
    }
    assert "responses" not in found["components"]


def test_other_answers_are_named_by_their_body_and_status() -> None:
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Rental"}}}}
    replayed = {**body, "headers": {"Idempotency-Replayed": {}}}
    answers = {"200": body, "202": replayed, "204": {"description": "·"}, "4XX": {"description": "!"}}
    found = shared(made(operation("a", responses=answers), operation("b", responses=answers)))
    names = {"RentalOK", "RentalAcceptedReplayable", "NoContent", "4XX"}
    assert found["components"]["responses"].keys() == names


def test_different_parts_of_one_name_stay_apart() -> None:
    def limit(most: int) -> list[Any]:
        return [{"name": "limit", "in": "query", "schema": {"maximum": most}}]

    found = shared(
        made(
            *(operation(name, parameters=limit(50)) for name in ("list_a", "list_b")),
            *(operation(name, parameters=limit(200)) for name in ("list_c", "list_d")),
        )
    )
    parameters = found["components"]["parameters"]
    assert parameters == {"LimitQuery": limit(50)[0], "LimitQueryOfListC": limit(200)[0]}


def test_a_declared_component_stays_and_the_given_document_too() -> None:
    declared = {"X": {"name": "X", "in": "header", "schema": {}}}
    document = made(
        operation(
            "a", parameters=[{"$ref": "#/components/parameters/X"}], responses={"404": problem("gone")}
        ),
        operation(
            "b", parameters=[{"$ref": "#/components/parameters/X"}], responses={"404": problem("gone")}
        ),
        parameters=declared,
    )
    before = json.dumps(document)
    assert shared(document)["components"]["parameters"] == declared
    assert json.dumps(document) == before
    assert shared(shared(document)) == shared(document)


def test_the_checked_in_text_is_laid_out_for_readers() -> None:
    assert laid_out(DOCUMENT) == TEXT
    assert len(TEXT.splitlines()) < 12_000


def test_references_and_short_lists_of_words_stand_on_one_line() -> None:
    words = ["w" * 30] * 4
    text = laid_out(
        {"a": {"$ref": "#/x"}, "b": ["x", 1, None], "c": words, "d": {"e": 1}, "f": {}, "g": [{}]}
    )
    assert text.splitlines()[:4] == ["{", '  "a": {"$ref": "#/x"},', '  "b": ["x", 1, null],', '  "c": [']
    assert text.splitlines()[8:] == [
        "  ],",
        '  "d": {',
        '    "e": 1',
        "  },",
        '  "f": {},',
        '  "g": [',
        "    {}",
        "  ]",
        "}",
    ]
    assert all(len(line) <= LINE_LENGTH for line in text.splitlines())
    assert json.loads(text)["c"] == words
