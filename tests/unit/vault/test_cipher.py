"""The vault's encryption: a ciphertext opens in its own place, under its own key, and nowhere else."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from uuid import uuid4

import pytest

from app.vault import cipher
from app.vault.cipher import VaultKeyUnusable, key_encryption_key

TENANT = uuid4()


def vault_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def test_what_is_sealed_for_a_place_opens_there() -> None:
    kek = key_encryption_key(vault_key())
    keyset = cipher.keyset_for(TENANT, kek)
    opened = cipher.open_keyset(keyset, kek, TENANT)
    sealed = cipher.seal(opened, b"row 1", "secret")
    assert b"secret" not in sealed
    assert cipher.unseal(opened, b"row 1", sealed) == "secret"


def test_it_opens_in_no_other_place_tenant_or_vault() -> None:
    kek = key_encryption_key(vault_key())
    keyset = cipher.keyset_for(TENANT, kek)
    sealed = cipher.seal(cipher.open_keyset(keyset, kek, TENANT), b"row 1", "secret")
    other = key_encryption_key(vault_key())
    broken = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for key, tenant, version, place, ciphertext in (
        (kek, TENANT, 1, b"row 2", sealed),
        (kek, uuid4(), 1, b"row 1", sealed),
        (kek, TENANT, 2, b"row 1", sealed),
        (other, TENANT, 1, b"row 1", sealed),
        (kek, TENANT, 1, b"row 1", broken),
    ):
        with pytest.raises(VaultKeyUnusable):
            cipher.unseal(cipher.open_keyset(keyset, key, tenant, version), place, ciphertext)


def test_fingerprints_are_equal_for_equal_texts_of_one_purpose_only() -> None:
    kek = key_encryption_key(vault_key())
    key = cipher.new_fingerprint_key(kek)
    prints, again = cipher.Fingerprints(key, kek), cipher.Fingerprints(key, kek)
    assert prints.of("a", b"text") == again.of("a", b"text")
    assert prints.of("a", b"text") != prints.of("b", b"text")
    assert prints.of("a", b"text") != cipher.Fingerprints(cipher.new_fingerprint_key(kek), kek).of(
        "a", b"text"
    )


def test_fingerprints_need_their_vault_key() -> None:
    key = cipher.new_fingerprint_key(key_encryption_key(vault_key()))
    with pytest.raises(VaultKeyUnusable):
        cipher.Fingerprints(key, key_encryption_key(vault_key()))


def test_the_key_may_lie_in_a_file(tmp_path: Path) -> None:
    text = vault_key()
    (tmp_path / "key").write_text(f"{text}\n")
    by_file, directly = key_encryption_key(f"file:{tmp_path / 'key'}"), key_encryption_key(text)
    assert by_file.decrypt(directly.encrypt(b"x", b""), b"") == b"x"


@pytest.mark.parametrize("setting", ["", "short", "!" * 44, "file:/does/not/exist", "A" * 40])
def test_a_malformed_key_is_refused_without_being_shown(setting: str) -> None:
    with pytest.raises(VaultKeyUnusable) as refused:
        key_encryption_key(setting)
    assert not setting or setting not in str(refused.value)
