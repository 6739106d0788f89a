"""A bounded fuzzing campaign over the whole document; `make fuzz` is a long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.conftest import ADMIN_TOKEN, running_gateway
from tests.fuzz.campaign import crashes, faults, fuzz, parts, tenant_for_fuzzing
from tests.served import ServedSandbox

EXAMPLES = 6

MADE_UP = "examples,fuzzing,stateful"
"""Without the two thousand requests that cover each bound of the document, tried already above."""


@pytest.mark.parametrize("number", [0, 1], ids=["tenant", "admin"])
def test_the_document_is_kept(
    number: int, settings: dict[str, str], sandbox: ServedSandbox, tmp_path: Path
) -> None:
    with running_gateway(tmp_path / "log", **settings) as gateway:
        tenant = tenant_for_fuzzing(gateway, sandbox)
        part = parts(tenant, ADMIN_TOKEN)[number]
        found = fuzz(gateway, part, tmp_path, seed=number + 1, examples=EXAMPLES)
        assert not found, found
        assert crashes(gateway) == []


def test_the_document_is_kept_while_the_upstream_fails(
    settings: dict[str, str], sandbox: ServedSandbox, tmp_path: Path
) -> None:
    with running_gateway(tmp_path / "log", **settings) as gateway:
        tenant = tenant_for_fuzzing(gateway, sandbox)
        own, _ = parts(tenant, ADMIN_TOKEN)
        with faults(tenant, seed=3):
            found = fuzz(
                gateway,
                own,
                tmp_path,
                seed=3,
                examples=EXAMPLES,
                excluded=("not_a_server_error",),
                phases=MADE_UP,
            )
        assert not found, found
        assert crashes(gateway) == []
