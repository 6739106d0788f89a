"""A TypeScript client generated from the OpenAPI document compiles strictly and does the whole journey."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.conftest import ADMIN_TOKEN, Gateway
from tests.conftest import PROJECT
from tests.served import ServedSandbox

SOURCES = Path(__file__).with_name("typescript")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The sources with their locked packages."""
    for name in ("package.json", "package-lock.json", "tsconfig.json", "journey.ts"):
        shutil.copy(SOURCES / name, tmp_path / name)
    _run("npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", cwd=tmp_path)
    return tmp_path


def test_the_whole_journey(gateway: Gateway, sandbox: ServedSandbox, folder: Path) -> None:
    upstream_key = sandbox.new_account()
    document = PROJECT / "openapi" / "openapi.json"
    options = ["--default-non-nullable", "false", "-o", "rentgate.d.ts"]
    _run("npx", "--no-install", "openapi-typescript", str(document), *options, cwd=folder)
    _run("npx", "--no-install", "tsc", cwd=folder)
    settings = {
        "RENTGATE_URL": gateway.url,
        "RENTGATE_ADMIN_TOKEN": ADMIN_TOKEN,
        "UPSTREAM_KEY": upstream_key,
    }
    assert "journey done" in _run("node", "built/journey.js", cwd=folder, **settings)


def _run(*command: str, cwd: Path, **settings: str) -> str:
    environment = {**os.environ, **settings}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
