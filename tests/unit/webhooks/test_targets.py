"""Where webhooks may be sent, whatever way the address is written."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.webhooks.targets import TargetRefused, check, parse

REFUSED = [
    "http://example.com/",
    "ftp://example.com/",
    "https://",
    "https:///hooks",
    "not a url",
    "https://user:password@example.com/",
    "https://user@example.com/",
    "https://example.com/#fragment",
    "https://example.com:0/",
    "https://example.com:99999/",
    "https://exa mple.com/",
    "https://example.com\\@127.0.0.1/",
    "https://ex\u00e4mple.com/",
    "https://localhost/",
    "https://LOCALHOST:8443/",
    "https://api.localhost/",
    "https://printer.local/",
    "https://metadata.google.internal/computeMetadata/v1/",
    "https://intranet/",
    "https://example.com./",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://127.0.0.1./",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.1.2.3/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://192.0.2.1/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[::1]/",
    "https://[::]/",
    "https://[fe80::1]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[ff02::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:8.8.8.8]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::808:808]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "https://[2001:db8::1]/",
    "https://[fec0::1]/",
    "https://[3fff::1]/",
    "https://[::1%25eth0]/",
    "https://[v1.x]/",
    "https://example.com/" + "x" * 2000,
]


@pytest.mark.parametrize("url", REFUSED)
def test_what_is_refused(url: str) -> None:
    with pytest.raises(TargetRefused):
        parse(url, allow_private=False)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://hooks.example.com:8443/rentgate?tenant=1",
        "https://xn--exmple-cua.com/",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
        "https://under_score.example.com/",
    ],
)
def test_what_is_taken(url: str) -> None:
    assert parse(url, allow_private=False).scheme == "https"


@given(st.ip_addresses())
def test_no_address_that_is_not_global_is_taken(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    host = f"[{address}]" if address.version == 6 else str(address)
    try:
        parse(f"https://{host}/", allow_private=False)
    except TargetRefused:
        return
    assert address.is_global
    assert not address.is_multicast


@given(st.text(max_size=60))
def test_whatever_is_written_is_taken_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://{text}/path"):
        try:
            parse(url, allow_private=False)
        except TargetRefused:
            continue


def test_private_addresses_and_http_can_be_allowed() -> None:
    assert parse("http://127.0.0.1:9000/hook", allow_private=True).port == 9000
    assert parse("http://localhost/", allow_private=True).port == 80
    for still_refused in ("ftp://127.0.0.1/", "http://user@127.0.0.1/", "http://0x7f000001/"):
        with pytest.raises(TargetRefused):
            parse(still_refused, allow_private=True)


def test_a_name_is_resolved_and_what_it_leads_to_is_checked() -> None:
    asyncio.run(check("https://this-name.exists-nowhere.invalid/", allow_private=False))
    asyncio.run(check("http://localhost/", allow_private=True))
    with pytest.raises(TargetRefused):
        asyncio.run(check("https://127.0.0.1/", allow_private=False))
