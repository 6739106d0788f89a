"""References and prefixes: what is one, and that no way of writing leads past a prefix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.vault.references import Reference, is_prefix, parsed

ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:acme/key-AbCdEf"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("vault:kv/data/acme#api_key", Reference("vault", "kv/data/acme", "api_key")),
        ("vault:kv/data/acme/de/x.y#k-1", Reference("vault", "kv/data/acme/de/x.y", "k-1")),
        ("aws-sm:acme/key", Reference("aws-sm", "acme/key", None)),
        ("aws-sm:acme/key#api_key", Reference("aws-sm", "acme/key", "api_key")),
        (f"aws-sm:{ARN}#k", Reference("aws-sm", ARN, "k")),
        ("env:ACME_KEY", Reference("env", "ACME_KEY", None)),
    ],
)
def test_references(text: str, reference: Reference) -> None:
    assert parsed(text) == reference


ESCAPES = [
    "vault:kv/data/acme/../beta#k",
    "vault:kv/data/acme/./x#k",
    "vault:kv/data/acme/.../x#k",
    "vault:kv/data/acme//x#k",
    "vault:kv/data/acme/#k",
    "vault:/kv/data/acme/x#k",
    "vault:kv/data/acme/%2e%2e/beta#k",
    "vault:kv/data/acme/..%2fbeta#k",
    "vault:kv/data/acme/x?version=1#k",
    "vault:kv/data/acme/x#k#l",
    "vault:kv/data/acme\\beta#k",
    "vault:kv/data/acme/x",
    "vault:kv/data/acme/x#k\n",
    "vault:kv/data/acme/\u2024\u2024/beta#k",
    "vault:http://elsewhere/kv#k",
    "VAULT:kv/data/acme/x#k",
    "aws-sm:acme/../beta",
    "aws-sm:acme//beta",
    "aws-sm:acme/",
    "aws-sm:acme/arn:aws:x",
    "env:acme-key",
    "env:ACME KEY",
    "env:ACME_KEY#x",
    "env:1ACME",
    "env:RENTGATE_VAULT_KEY",
    "env:rentgate_admin_token",
    "file:/etc/passwd",
    "vault:kv/" + "a" * 600 + "#k",
    "",
]


@pytest.mark.parametrize("text", ESCAPES)
def test_what_is_no_reference(text: str) -> None:
    assert parsed(text) is None


@pytest.mark.parametrize(
    ("text", "prefix", "under"),
    [
        ("vault:kv/data/acme/x#k", "vault:kv/data/acme/", True),
        ("vault:kv/data/acme/x/y#k", "vault:kv/data/acme/", True),
        ("vault:kv/data/acme#k", "vault:kv/data/acme/", False),
        ("vault:kv/data/acme2/x#k", "vault:kv/data/acme/", False),
        ("vault:kv/data/acme/x#k", "vault:kv/data/acme", False),
        ("vault:kv/data/Acme/x#k", "vault:kv/data/acme/", False),
        ("aws-sm:acme/key", "vault:acme/", False),
        (f"aws-sm:{ARN}", "aws-sm:acme/", False),
        (f"aws-sm:{ARN}", f"aws-sm:{ARN.partition('/')[0]}/", True),
        ("env:ACME_KEY", "env:ACME_", True),
        ("env:ACME2_KEY", "env:ACME_", False),
        ("env:ACME_KEY", "env:ACME", False),
    ],
)
def test_prefixes_end_where_a_name_ends(text: str, prefix: str, under: bool) -> None:
    reference = parsed(text)
    assert reference is not None
    assert reference.is_under([prefix]) is under


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vault:",
        "vault:/",
        "vault:kv",
        "vault:kv/../",
        "vault:kv//",
        "vault:kv/data/acme/x#k",
        "aws-sm:",
        "env:",
        "env:ACME",
        "env:RENTGATE_",
        "env:RENTGATE_HCVAULT_",
        "file:/",
        "vault:%2e/",
    ],
)
def test_what_is_no_prefix(text: str) -> None:
    assert not is_prefix(text)


@given(st.text(alphabet="abA./%\\_#:-~ \t\n\0", max_size=30))
def test_whatever_is_under_a_prefix_stays_under_it(text: str) -> None:
    reference = parsed(f"vault:kv/data/acme/{text}#k")
    if reference is not None and reference.is_under(["vault:kv/data/acme/"]):
        names = reference.path.split("/")
        assert names[:3] == ["kv", "data", "acme"]
        assert len(names) > 3
        assert all(name.strip(".") for name in names)
