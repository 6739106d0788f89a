"""What in a new OpenAPI document breaks the callers of an old one: a small check of our own.

Callers break when what they send is refused or what they read is gone. Additions break nobody: clients
ignore what they don't know, which is also what the document promises.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Document = Mapping[str, Any]

CHECKED_IN = "openapi/openapi.json"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the document of a checkout was compared with, in words, and each change that breaks a caller."""

    against: str
    breaking: tuple[str, ...]


def compared_with_last_release(checkout: Path) -> Comparison:
    """The checked-in document of a git checkout, compared with that of the last tag before its HEAD.

    Raises:
        subprocess.CalledProcessError: git failed, such as because the tag has no document.
    """
    tag = _last_tag(checkout)
    if tag is None:
        return Comparison("nothing: no release is tagged", ())
    released = json.loads(_git(checkout, "show", f"{tag}:./{CHECKED_IN}"))
    present = json.loads((checkout / CHECKED_IN).read_text())
    return Comparison(tag, tuple(breaking_changes(released, present)))


def _last_tag(checkout: Path) -> str | None:
    """The last tag before HEAD; None without one, or in what is no git checkout, such as an archive."""
    if not (checkout / ".git").exists() or not _git(checkout, "tag", "--list"):
        return None
    if not _git(checkout, "tag", "--list", "--merged", "HEAD"):
        return None
    return _git(checkout, "describe", "--tags", "--abbrev=0").strip()


def _git(checkout: Path, *arguments: str) -> str:
    """What git says of a checkout, whoever owns it, and also from within a git hook."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-c", "safe.directory=*", "-C", str(checkout), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def breaking_changes(old: Document, new: Document) -> list[str]:
    """Each change that breaks a caller, in words; empty if there is none."""
    return list(_operations(old, new))


def _operations(old: Document, new: Document) -> Iterator[str]:
    for path, operations in old["paths"].items():
        for method, before in operations.items():
            where = f"{method.upper()} {path}"
            after = new["paths"].get(path, {}).get(method)
            if after is None:
                yield f"{where} is gone"
                continue
            if after["operationId"] != before["operationId"]:
                yield f"{where} is called {after['operationId']}, no more {before['operationId']}"
            yield from _parameters(where, before, after, old, new)
            yield from _bodies(where, before, after, old, new)
            yield from _answers(where, before, after, old, new)


def _parameters(where: str, before: Document, after: Document, old: Document, new: Document) -> Iterator[str]:
    was = {(p["in"], p["name"]): p for p in (resolved(p, old) for p in before.get("parameters", ()))}
    now = {(p["in"], p["name"]): p for p in (resolved(p, new) for p in after.get("parameters", ()))}
    for key, parameter in was.items():
        if key not in now:
            yield f"{where} takes no {key[0]} parameter {key[1]} any more"
        else:
            yield from _narrowed(f"{where} {key[1]}", parameter["schema"], now[key]["schema"], old, new)
    for key, parameter in now.items():
        if parameter.get("required") and not was.get(key, {}).get("required"):
            yield f"{where} needs the {key[0]} parameter {key[1]} now"


def _bodies(where: str, before: Document, after: Document, old: Document, new: Document) -> Iterator[str]:
    if "requestBody" not in after:
        if "requestBody" in before:
            yield f"{where} takes no body any more"
        return
    if after["requestBody"].get("required") and not before.get("requestBody", {}).get("required"):
        yield f"{where} needs a body now"
    if "requestBody" in before:
        yield from _narrowed(where, _json(before["requestBody"]), _json(after["requestBody"]), old, new)


def _answers(where: str, before: Document, after: Document, old: Document, new: Document) -> Iterator[str]:
    for status, answer in before["responses"].items():
        if status not in after["responses"]:
            if status[0] == "2":
                yield f"{where} answers {status} no more"
            continue
        was = _json(resolved(answer, old))
        if was:
            now = _json(resolved(after["responses"][status], new))
            yield from _widened(f"{where} {status}", was, now, old, new)


def _narrowed(where: str, before: Document, after: Document, old: Document, new: Document) -> Iterator[str]:
    """What a schema of something sent accepted before, and does not any more."""
    before, after = resolved(before, old), resolved(after, new)
    for field, schema in before.get("properties", {}).items():
        if field not in after.get("properties", {}):
            yield f"{where} takes no {field} any more"
        else:
            yield from _narrowed(f"{where} {field}", schema, after["properties"][field], old, new)
    for field in set(after.get("required", ())) - set(before.get("required", ())):
        yield f"{where} needs {field} now"
    for value in set(before.get("enum", ())) - set(after.get("enum", before.get("enum", ()))):
        yield f"{where} takes {value!r} no more"


def _widened(
    where: str,
    before: Document,
    after: Document,
    old: Document,
    new: Document,
    seen: frozenset[str] = frozenset(),
) -> Iterator[str]:
    """What a schema of something received promised before, and does not any more."""
    name = before.get("$ref", "")
    if name in seen:
        return
    seen |= {name} if name else set()
    before, after = resolved(before, old), resolved(after, new)
    for field, schema in before.get("properties", {}).items():
        if field not in after.get("properties", {}):
            yield f"{where} has no {field} any more"
        else:
            if field in before.get("required", ()) and field not in after.get("required", ()):
                yield f"{where} may lack {field} now"
            yield from _widened(f"{where} {field}", schema, after["properties"][field], old, new, seen)
    if "items" in before:
        yield from _widened(f"{where}[]", before["items"], after.get("items", {}), old, new, seen)
    if _types(before) and _types(after) - _types(before):
        yield f"{where} may be {', '.join(sorted(_types(after) - _types(before)))} now"


def _types(schema: Document) -> set[str]:
    """The JSON types that a schema allows, as far as it says so itself."""
    forms = schema.get("anyOf", [schema])
    return {form.get("type", "object") for form in forms if "type" in form or "$ref" in form}


def _json(carrier: Document) -> Document:
    content = carrier.get("content", {})
    found: Document = content.get("application/json", {}).get("schema", {})
    return found


def resolved(node: Document, document: Document) -> Document:
    """A part of a document, with what it refers to in its place."""
    while "$ref" in node:
        found: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node
