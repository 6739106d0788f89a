"""Rotations: every keyset wrapped by the present vault key, or every tenant given a new keyset.

A rotation is a row that says how far it has come. Whoever holds it works on: the shell that started it, or
any worker after it. What wraps a keyset is replaced by comparing and swapping, and a tenant's new keyset is
committed together with everything that it encrypts, so that a row can be opened at any instant, wherever the
work was interrupted. No key service is asked inside a transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from tink import aead

from app.audit import repository as audit
from app.audit.caller import background
from app.database import PLATFORM, WORKER, Access, Database, new_id
from app.vault import cipher
from app.vault.cipher import VaultKeyUnusable
from app.vault.keyring import FINGERPRINT_KEY, Keyring, Keyset
from app.vault.models import upstream_keys, vault_fingerprint_keys, vault_keysets, vault_rotations
from app.vault.sealed import place_of

KindOfRotation = Literal["key", "tenants"]
HELD = "interval '60 seconds'"
BATCH = {"key": 100, "tenants": 20}
ASKED_AT_ONCE = 4

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rotation has come."""

    id: UUID
    kind: KindOfRotation
    target: str
    total: int
    done: int
    failed: int
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is worked on next: the rotation, and the keysets after the last that was done."""

    id: UUID
    kind: KindOfRotation
    first: bool
    keysets: Sequence[tuple[UUID, Keyset]]


Turn = Callable[[bytes, bytes], bytes]
"""Gives a ciphertext of a place, sealed by the former keyset, sealed by the new one."""

SealAnew = Callable[[AsyncConnection, UUID, Turn], Awaitable[None]]
"""Turns all of a tenant's ciphertexts of one kind, in the transaction that is given."""

_SHOWN = [vault_rotations.c[name] for name in Progress.__slots__]


class Rotations:
    """Starts rotations, and takes them a batch further. Any number of processes may do so at once."""

    def __init__(self, database: Database, keyring: Keyring, *others: SealAnew) -> None:
        """Rotate with this keyring.

        Args:
            others: what beside the upstream keys is sealed by tenants' keysets. What is forgotten here can't
                be opened after a rotation.
        """
        self._database = database
        self._keyring = keyring
        self._sealed: tuple[SealAnew, ...] = (_seal_upstream_keys_anew, *others)
        self._me = new_id()
        self.target = keyring.homes.current.name

    async def start(self, kind: KindOfRotation) -> Progress:
        """A new rotation, or the one of this kind that is not finished yet.

        One towards another vault key than the present is ended: nobody would go on with it.
        """
        unfinished = sa.and_(vault_rotations.c.kind == kind, vault_rotations.c.finished_at.is_(None))
        async with self._database.transaction(PLATFORM) as connection:
            total = await connection.scalar(sa.select(sa.func.count(vault_keysets.c.tenant_id)))
            await connection.execute(
                vault_rotations.update()
                .where(unfinished, vault_rotations.c.target != self.target)
                .values(finished_at=sa.func.now())
            )
            statement = insert(vault_rotations).values(
                id=new_id(), kind=kind, target=self.target, total=total
            )
            await connection.execute(statement.on_conflict_do_nothing())
            row = (await connection.execute(sa.select(*_SHOWN).where(unfinished))).one()
        return Progress(*row)

    async def latest(self) -> Sequence[Progress]:
        """The newest rotations, the newest first."""
        query = sa.select(*_SHOWN).order_by(vault_rotations.c.id.desc()).limit(10)
        async with self._database.transaction(PLATFORM) as connection:
            return [Progress(*row) for row in await connection.execute(query)]

    async def keysets_by_key(self) -> Sequence[tuple[str | None, int]]:
        """How many keysets each vault key wraps; None stands for those from before this was noted."""
        query = sa.select(vault_keysets.c.wrapped_by, sa.func.count(vault_keysets.c.tenant_id)).group_by(
            vault_keysets.c.wrapped_by
        )
        async with self._database.transaction(PLATFORM) as connection:
            return [(row[0], row[1]) for row in await connection.execute(query)]

    async def step(self) -> bool:
        """Take an unfinished rotation a batch further; False if there is none, or others hold it.

        Raises:
            VaultUnavailable: a key's home can't be asked now; nothing is lost, and the batch is taken again.
        """
        async with self._database.transaction(WORKER) as connection:
            batch = await self._claim(connection)
        if batch is None:
            return False
        work = self._rewrap if batch.kind == "key" else self._renew_all
        failed = await work(batch)
        async with self._database.transaction(WORKER) as connection:
            await self._note(connection, batch, failed)
        return True

    async def _claim(self, connection: AsyncConnection) -> _Batch | None:
        """Take or keep hold of a rotation, and read its next keysets.

        Only towards this process's own vault key: one that was started with another setting waits for it.
        """
        row = vault_rotations.c
        free = sa.or_(row.held_until.is_(None), row.held_until < sa.func.now(), row.holder == self._me)
        query = (
            sa.select(row.id, row.kind, row.after)
            .where(row.finished_at.is_(None), row.target == self.target, free)
            .order_by(row.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        found = (await connection.execute(query)).one_or_none()
        if found is None:
            return None
        held_until = sa.func.now() + sa.text(HELD)
        await connection.execute(
            vault_rotations.update().where(row.id == found.id).values(holder=self._me, held_until=held_until)
        )
        keyset = vault_keysets.c
        following = sa.select(keyset.tenant_id, keyset.wrapped, keyset.version, keyset.wrapped_by)
        if found.after is not None:
            following = following.where(keyset.tenant_id > found.after)
        rows = await connection.execute(following.order_by(keyset.tenant_id).limit(BATCH[found.kind]))
        keysets = [(tenant_id, Keyset(*stored)) for tenant_id, *stored in rows]
        return _Batch(found.id, found.kind, found.after is None, keysets)

    async def _note(self, connection: AsyncConnection, batch: _Batch, failed: int) -> None:
        """Note how far the rotation has come; past the last keyset it is finished."""
        row = vault_rotations.c
        values: dict[str, object] = {"finished_at": sa.func.now(), "holder": None, "held_until": None}
        if batch.keysets:
            values = {
                "after": batch.keysets[-1][0],
                "done": row.done + len(batch.keysets) - failed,
                "failed": row.failed + failed,
            }
        await connection.execute(
            vault_rotations.update().where(row.id == batch.id, row.holder == self._me).values(**values)
        )

    async def _rewrap(self, batch: _Batch) -> int:
        """Wrap a batch of keysets by the present vault key; returns how many could not be opened."""
        if batch.first:
            await self._rewrap_fingerprint_key()
        wanted = [
            (tenant_id, stored) for tenant_id, stored in batch.keysets if stored.wrapped_by != self.target
        ]
        parts = [wanted[start::ASKED_AT_ONCE] for start in range(ASKED_AT_ONCE)]
        done = await asyncio.gather(*(asyncio.to_thread(self._rewrapped, part) for part in parts if part))
        fresh = [keyset for part in done for keyset in part]
        if fresh:
            statement = (
                vault_keysets.update()
                .where(
                    vault_keysets.c.tenant_id == sa.bindparam("of_tenant"),
                    vault_keysets.c.wrapped == sa.bindparam("former"),
                )
                .values(wrapped=sa.bindparam("fresh"), wrapped_by=self.target)
            )
            async with self._database.transaction(WORKER) as connection:
                await connection.execute(statement, fresh)
        return len(wanted) - len(fresh)

    def _rewrapped(self, wanted: Sequence[tuple[UUID, Keyset]]) -> list[dict[str, object]]:
        fresh: list[dict[str, object]] = []
        for tenant_id, stored in wanted:

            def rewrap(
                former: aead.Aead, kek: aead.Aead, of: UUID = tenant_id, stored: Keyset = stored
            ) -> bytes:
                return cipher.rewrap_keyset(stored.wrapped, former, kek, of, stored.version)

            try:
                wrapped = self._keyring.rewrapped(stored.wrapped_by, rewrap)
            except VaultKeyUnusable as error:
                log.warning("vault.keyset_unusable", tenant_id=str(tenant_id), why=error.detail)
                continue
            fresh.append({"of_tenant": tenant_id, "former": stored.wrapped, "fresh": wrapped})
        return fresh

    async def _rewrap_fingerprint_key(self) -> None:
        row = vault_fingerprint_keys.c
        query = sa.select(row.wrapped, row.wrapped_by).where(row.name == FINGERPRINT_KEY)
        async with self._database.transaction(WORKER) as connection:
            stored = (await connection.execute(query)).one_or_none()
        if stored is None or stored.wrapped_by == self.target:
            return

        def rewrap(former: aead.Aead, kek: aead.Aead) -> bytes:
            return cipher.rewrap_fingerprint_key(stored.wrapped, former, kek)

        fresh = await asyncio.to_thread(self._keyring.rewrapped, stored.wrapped_by, rewrap)
        async with self._database.transaction(WORKER) as connection:
            await connection.execute(
                vault_fingerprint_keys.update()
                .where(row.name == FINGERPRINT_KEY, row.wrapped == stored.wrapped)
                .values(wrapped=fresh, wrapped_by=self.target)
            )

    async def _renew_all(self, batch: _Batch) -> int:
        """Give a batch of tenants new keysets; returns for how many that could not be done."""
        failed = 0
        for tenant_id, stored in batch.keysets:
            try:
                await self._renew(tenant_id, stored)
            except VaultKeyUnusable as error:
                log.warning("vault.keyset_unusable", tenant_id=str(tenant_id), why=error.detail)
                failed += 1
        return failed

    async def _renew(self, tenant_id: UUID, stored: Keyset) -> None:
        """Give a tenant a new keyset and encrypt its secrets by it, in one transaction.

        Nothing is done if the keyset was replaced meanwhile, which is as good.
        """
        home, version = self._keyring.homes.current, stored.version + 1
        former = await self._keyring.opened(tenant_id, stored)
        wrapped = await asyncio.to_thread(cipher.keyset_for, tenant_id, home.kek, version)
        fresh = await self._keyring.opened(tenant_id, Keyset(wrapped, version, home.name))

        def turn(place: bytes, ciphertext: bytes) -> bytes:
            return cipher.seal(fresh, place, cipher.unseal(former, place, ciphertext))

        async with self._database.transaction(Access.tenant(tenant_id)) as connection:
            # The keyset before the rows, in the order in which whoever replaces a secret takes them.
            lock = sa.select(vault_keysets.c.version).where(vault_keysets.c.tenant_id == tenant_id)
            if await connection.scalar(lock.with_for_update()) != stored.version:
                return
            for seal_anew in self._sealed:
                await seal_anew(connection, tenant_id, turn)
            await connection.execute(
                vault_keysets.update()
                .where(vault_keysets.c.tenant_id == tenant_id)
                .values(wrapped=wrapped, version=version, wrapped_by=home.name)
            )
            details = {"version": version}
            audit.record(connection, background(tenant_id), "vault.rotate_keyset", details=details)


async def _seal_upstream_keys_anew(connection: AsyncConnection, tenant_id: UUID, turn: Turn) -> None:
    """Have the tenant's upstream keys sealed by another keyset, each for the place that it has."""
    row = upstream_keys.c
    living = sa.select(row.id, row.version, row.ciphertext).where(
        row.tenant_id == tenant_id, row.deleted_at.is_(None), row.reference.is_(None)
    )
    changed = []
    for key_id, version, ciphertext in await connection.execute(living.order_by(row.id).with_for_update()):
        sealed = turn(place_of(tenant_id, key_id, version), ciphertext)
        changed.append({"of_key": key_id, "sealed": sealed})
    if changed:
        statement = (
            upstream_keys.update()
            .where(row.tenant_id == tenant_id, row.id == sa.bindparam("of_key"))
            .values(ciphertext=sa.bindparam("sealed"))
        )
        await connection.execute(statement, changed)
