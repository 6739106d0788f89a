"""The documentation builds without a warning, and names only settings, commands and files that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.errors import catalogue
from app.probe.reading import READING
from app.settings import Settings
from app.upstream.kinds import KINDS
from tests.conftest import PROJECT

PAGES = [*sorted((PROJECT / "docs").rglob("*.md")), *sorted(PROJECT.glob("*.md"))]


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    # Not --quiet: with that, --strict doesn't see the warnings.
    command = [str(Path(sys.executable).with_name("mkdocs")), "build", "--strict"]
    done = subprocess.run(
        [*command, "--config-file", str(PROJECT / ".ci" / "mkdocs.yml"), "--site-dir", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "reference.html").read_text()
    assert "POST /rentals/{rental_id}/prolong" in reference


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    known = {f"RENTGATE_{name.upper()}" for name in Settings.model_fields}
    known |= {"RENTGATE_URL", "RENTGATE_TOKEN"}
    assert set(re.findall(r"\bRENTGATE_[A-Z_]+[A-Z]\b", text)) <= known
    for path in re.findall(r"`((?:app|tests|deploy|openapi|docs)/[\w./-]+)`", text):
        assert (PROJECT / path).exists(), path
    for status, code in re.findall(r"`(\d{3}) ([a-z_]+)`", text):
        assert catalogue()[code].status == int(status)


def test_the_page_on_the_upstream_has_every_kind_of_value_and_every_method_that_is_probed() -> None:
    text = (PROJECT / "docs" / "upstream.md").read_text()
    told = set(re.findall(r"`([^`\n]+)`", text))
    assert set(KINDS) <= told
    assert told >= READING
