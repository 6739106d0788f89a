"""`make fuzz SECONDS=… SEED=…`: a long campaign, with and without faults of the upstream."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from app import migrate
from app.database.embedded import EmbeddedPostgres
from app.sandbox import SandboxOptions
from tests.acceptance.conftest import ADMIN_TOKEN, running_gateway, settings_for
from tests.fuzz.campaign import crashes, faults, fuzz, parts, tenant_for_fuzzing
from tests.served import ServedSandbox


def main() -> None:
    """Fuzz for some seconds, and fail if anything is found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = EmbeddedPostgres(folder / "data")
        app_url, owner_url = migrate.prepare_embedded(server.start())
        migrate.upgrade(owner_url)
        options = SandboxOptions(activation_seconds=0.5, sms_seconds=0.5, stock=10**6, seed=given.seed)
        with ServedSandbox(options) as sandbox:
            with running_gateway(folder / "log", **settings_for(app_url, sandbox)) as gateway:
                tenant = tenant_for_fuzzing(gateway, sandbox)
                own, administration = parts(tenant, ADMIN_TOKEN)
                each = max(1, given.seconds // 3)
                found.append(fuzz(gateway, own, folder, seed=given.seed, seconds=each))
                found.append(fuzz(gateway, administration, folder, seed=given.seed, seconds=each))
                with faults(tenant, given.seed):
                    more = ("not_a_server_error",)  # the upstream's failures are told as 502, 503 and 504
                    found.append(fuzz(gateway, own, folder, seed=given.seed, seconds=each, excluded=more))
                found += crashes(gateway)
        server.stop()
    for finding in filter(None, found):
        sys.stdout.write(f"{finding}\n")
    sys.exit(1 if any(found) else 0)


main()
