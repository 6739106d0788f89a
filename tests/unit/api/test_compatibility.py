"""The check that a new document breaks no caller: its rules, and what the checked-in one is compared with."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.compatibility import CHECKED_IN, breaking_changes, compared_with_last_release
from tests.conftest import PROJECT

DOCUMENT: dict[str, Any] = json.loads((PROJECT / CHECKED_IN).read_text())


def test_nothing_breaks_the_callers_of_the_last_release() -> None:
    comparison = compared_with_last_release(PROJECT)
    print("compared with", comparison.against)
    assert comparison.breaking == ()


def without_path(document: dict[str, Any]) -> None:
    del document["paths"]["/rentals/{rental_id}/prolong"]


def renamed(document: dict[str, Any]) -> None:
    document["paths"]["/rentals"]["post"]["operationId"] = "buy"


def without_filter(document: dict[str, Any]) -> None:
    parameters = document["paths"]["/rentals"]["get"]["parameters"]
    parameters[:] = [parameter for parameter in parameters if parameter.get("name") != "country"]


def without_shared_filter(document: dict[str, Any]) -> None:
    parameters = document["paths"]["/rentals"]["get"]["parameters"]
    parameters[:] = [p for p in parameters if p.get("$ref") != "#/components/parameters/CursorQuery"]


def narrower_shared_filter(document: dict[str, Any]) -> None:
    document["components"]["parameters"]["UnitQuery"]["schema"]["enum"].remove("month")


def other_shared_answer(document: dict[str, Any]) -> None:
    content = document["components"]["responses"]["TenantOK"]["content"]["application/json"]
    content["schema"] = {"$ref": "#/components/schemas/Health"}


def without_shared_answer(document: dict[str, Any]) -> None:
    answers = document["paths"]["/tenants/{tenant_id}"]["get"]["responses"]
    assert answers.pop("200") == {"$ref": "#/components/responses/TenantOK"}


def new_need(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["RentalRequest"]["required"].append("operator")


def without_field(document: dict[str, Any]) -> None:
    del document["components"]["schemas"]["Rental"]["properties"]["expires_at"]


def nullable(document: dict[str, Any]) -> None:
    field = document["components"]["schemas"]["Rental"]["properties"]["has_new_sms"]
    field["anyOf"] = [{"type": field.pop("type")}, {"type": "null"}]


def fewer_values(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["RentalPeriod"]["properties"]["unit"]["enum"].remove("month")


CHANGES = [
    *(without_path, renamed, without_filter, without_shared_filter, narrower_shared_filter, new_need),
    *(without_field, nullable, fewer_values, other_shared_answer, without_shared_answer),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_would_break_a_caller_is_seen(change: Callable[[dict[str, Any]], None]) -> None:
    changed = copy.deepcopy(DOCUMENT)
    change(changed)
    assert breaking_changes(DOCUMENT, changed)
    assert not breaking_changes(DOCUMENT, DOCUMENT)


def inlined(node: Any) -> Any:
    """A document with its shared answers, parameters and examples in the places that refer to them."""
    if isinstance(node, list):
        return [inlined(item) for item in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref", "")
    if reference.startswith("#/components/") and not reference.startswith("#/components/schemas/"):
        _, _, kind, name = reference.split("/")
        return inlined(DOCUMENT["components"][kind][name])
    return {key: inlined(value) for key, value in node.items()}


def test_where_a_part_of_the_document_stands_breaks_nobody() -> None:
    other = inlined(DOCUMENT)
    assert other["paths"] != DOCUMENT["paths"]
    assert breaking_changes(DOCUMENT, other) == breaking_changes(other, DOCUMENT) == []


class Checkout:
    """A git repository with a document."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "openapi").mkdir()
        self.git("init", "--quiet", "--initial-branch", "main")

    def git(self, *arguments: str) -> None:
        who = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgSign=false")
        subprocess.run(["git", "-C", str(self.folder), *who, *arguments], check=True, capture_output=True)

    def commit(self, document: dict[str, Any], tag: str | None = None) -> None:
        (self.folder / CHECKED_IN).write_text(json.dumps(document))
        self.git("add", ".")
        self.git("commit", "--quiet", "--allow-empty", "--message", "a change")
        if tag is not None:
            self.git("tag", tag)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture
def changed() -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    without_path(document)
    return document


def test_without_a_tag_there_is_nothing_to_compare_with(
    checkout: Checkout, changed: dict[str, Any], tmp_path: Path
) -> None:
    assert compared_with_last_release(tmp_path).against == "nothing: no release is tagged"
    checkout.commit(DOCUMENT)
    checkout.commit(changed)
    comparison = compared_with_last_release(tmp_path)
    assert (comparison.against, comparison.breaking) == ("nothing: no release is tagged", ())


def test_the_document_is_compared_with_that_of_the_last_tag(
    checkout: Checkout, changed: dict[str, Any], tmp_path: Path
) -> None:
    checkout.commit(DOCUMENT, "v1.0.0")
    assert compared_with_last_release(tmp_path).breaking == ()
    checkout.commit(changed)
    comparison = compared_with_last_release(tmp_path)
    assert comparison.against == "v1.0.0"
    assert comparison.breaking == ("POST /rentals/{rental_id}/prolong is gone",)
    checkout.commit(changed, "v2.0.0")
    comparison = compared_with_last_release(tmp_path)
    assert (comparison.against, comparison.breaking) == ("v2.0.0", ())


def test_a_tag_of_another_branch_is_no_release_of_this_one(
    checkout: Checkout, changed: dict[str, Any], tmp_path: Path
) -> None:
    checkout.commit(changed)
    checkout.git("switch", "--quiet", "--create", "other")
    checkout.commit(DOCUMENT, "v1.0.0")
    checkout.git("switch", "--quiet", "main")
    assert compared_with_last_release(tmp_path).against == "nothing: no release is tagged"


def test_an_unpacked_archive_within_another_checkout_is_compared_with_nothing(
    checkout: Checkout, tmp_path: Path
) -> None:
    checkout.commit(DOCUMENT, "v1.0.0")
    inner = tmp_path / "inner"
    (inner / "openapi").mkdir(parents=True)
    (inner / CHECKED_IN).write_text(json.dumps(DOCUMENT))
    assert compared_with_last_release(inner).against == "nothing: no release is tagged"
