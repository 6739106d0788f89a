"""rentgate's commands, run to their end."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from tests.acceptance.conftest import QUICK
from tests.processes import done


def environment(**settings: str) -> dict[str, str]:
    """The environment of a command with these settings, and none of whoever runs the tests."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RENTGATE_")}
    return {**inherited, **QUICK, **settings}


def rentgate(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """What came of a command with these settings."""
    with tempfile.TemporaryDirectory() as folder:
        return done(arguments, environment(**settings), Path(folder))
