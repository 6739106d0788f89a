"""Makes the reference page out of openapi/openapi.json while the site is built; a hook of mkdocs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

DOCUMENT = Path(__file__).parents[1] / "openapi" / "openapi.json"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page to the site's files."""
    document = json.loads(DOCUMENT.read_text())
    files.append(File.generated(config, "reference.md", content="\n".join(_page(document))))
    return files


def _page(document: dict[str, Any]) -> Iterator[str]:
    yield f"# Reference\n\n{document['info']['description']}"
    for tag in document["tags"]:
        yield f"\n## {tag['name'].capitalize()}\n\n{tag['description']}"
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(document, f"{method.upper()} {path}", operation)


def _operation(document: dict[str, Any], name: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"\n### `{name}`\n\n**{operation['summary']}.** {operation['description']}\n"
    parameters = [_resolved(parameter, document) for parameter in operation.get("parameters", ())]
    if parameters:
        yield "| parameter | in | needed | |\n|---|---|---|---|"
        for parameter in parameters:
            needed = "yes" if parameter.get("required") else ""
            meaning = parameter.get("description", "")
            yield f"| `{parameter['name']}` | {parameter['in']} | {needed} | {meaning} |"
    for content in operation.get("requestBody", {}).get("content", {}).values():
        yield f"\nBody:\n\n{_json(content['example'])}"
    errors = []
    for status, found in operation["responses"].items():
        answer = _resolved(found, document)
        for content in answer.get("content", {}).values():
            if "examples" in content:
                errors += [
                    f"| {status} | `{code}` | {_resolved(example, document)['summary']} |"
                    for code, example in content["examples"].items()
                ]
            elif "example" in content:
                yield f"\nAnswer {status}:\n\n{_json(content['example'])}"
        if status == "204":
            yield "\nAnswer 204, without a body."
    if errors:
        yield "\n| status | code | |\n|---|---|---|"
        yield from errors


def _json(value: Any) -> str:
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```"


def _resolved(node: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        found: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node
