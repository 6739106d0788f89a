"""Re-wraps many tenants' keysets while their secrets are opened: `make bench-vault SECRETS=100000`.

Fills a database of its own, rotates the vault key and then every tenant's keyset, and opens secrets at random
all the while, as calls to the upstream do. Prints a table; exits with 1 if a single secret did not open.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from app import migrate
from app.audit.caller import background
from app.database import PLATFORM, Access, Database
from app.database.embedded import EmbeddedPostgres
from app.errors import RentgateError
from app.idempotency.repository import NO_TENANT
from app.tenants import service as tenants
from app.vault.homes import Homes, home
from app.vault.keyring import Keyring
from app.vault.resolver import Resolver
from app.vault.rotation import KindOfRotation, Rotations
from app.vault.service import Vault
from tests.conftest import new_vault_key

Stored = Sequence[tuple[UUID, UUID]]


@dataclass(slots=True)
class Load:
    """What readers met while something else went on."""

    seconds: list[float] = field(default_factory=list)
    failures: int = 0

    def slowest(self, share: float) -> float:
        """Milliseconds below which this share of the openings lies."""
        return sorted(self.seconds)[int(share * (len(self.seconds) - 1))] * 1000


async def fill(database: Database, vault: Vault, secrets: int) -> Stored:
    """A tenant with one secret, `secrets` times."""

    async def one(number: int) -> tuple[UUID, UUID]:
        async with database.transaction(PLATFORM) as connection:
            tenant = await tenants.create_tenant(connection, background(NO_TENANT), name=f"t{number}")
        async with database.transaction(Access.tenant(tenant.id)) as connection:
            api_key = f"secret-number-{number}"
            key = await vault.add(connection, tenant.id, label="k", api_key=api_key, default=None)
        return tenant.id, key.id

    stored: list[tuple[UUID, UUID]] = []
    for start in range(0, secrets, 10):
        stored += await asyncio.gather(*(one(number) for number in range(start, min(start + 10, secrets))))
    return stored


async def read(database: Database, vault: Vault, stored: Stored, stop: asyncio.Event, load: Load) -> None:
    """Open secrets at random until told to stop."""
    while not stop.is_set():
        tenant_id, key_id = random.choice(stored)
        began = time.perf_counter()
        try:
            async with database.transaction(Access.tenant(tenant_id)) as connection:
                await vault.open_secret(connection, tenant_id, key_id)
        except RentgateError:
            load.failures += 1
        load.seconds.append(time.perf_counter() - began)


async def rotate(rotations: Rotations, kind: KindOfRotation) -> float:
    """Rotate to the end; the seconds that it took."""
    began = time.perf_counter()
    await rotations.start(kind)
    while await rotations.step():
        pass
    progress = (await rotations.latest())[0]
    if progress.failed or progress.done != progress.total:
        raise SystemExit(f"{progress.failed} failed, {progress.done} of {progress.total} done")
    return time.perf_counter() - began


async def measure(url: str, secrets: int, readers: int) -> bool:
    """Fill, rotate twice, print the table; whether every secret opened."""
    old, new = home(new_vault_key()), home(new_vault_key())
    database = Database(url)
    no_references = Resolver({}, tenants.reference_prefixes)
    stored = await fill(database, Vault(database, Keyring(Homes(old)), no_references), secrets)
    keyring = Keyring(Homes(new, [old]))
    vault, rotations = Vault(database, keyring, no_references), Rotations(database, keyring)
    print("| rotation | secrets | seconds | a second | opened meanwhile | failed | median | p99 |")
    print("|---|---|---|---|---|---|---|---|")
    good = True
    kinds: tuple[KindOfRotation, ...] = ("key", "tenants")
    for kind in kinds:
        stop, load = asyncio.Event(), Load()
        reading = [asyncio.ensure_future(read(database, vault, stored, stop, load)) for _ in range(readers)]
        seconds = await rotate(rotations, kind)
        stop.set()
        await asyncio.gather(*reading)
        good = good and not load.failures
        print(
            f"| {kind} | {secrets:,} | {seconds:.1f} | {secrets / seconds:,.0f} | {len(load.seconds):,}"
            f" | {load.failures} | {load.slowest(0.5):.1f} ms | {load.slowest(0.99):.1f} ms |"
        )
    await database.aclose()
    return good


def main() -> None:
    """Run the measurement on an embedded Postgres of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--secrets", type=int, default=2000)
    parser.add_argument("--readers", type=int, default=4)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder).absolute())
        try:
            app_url, owner_url = migrate.prepare_embedded(server.start())
            migrate.upgrade(owner_url)
            good = asyncio.run(measure(app_url, given.secrets, given.readers))
        finally:
            server.stop()
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
