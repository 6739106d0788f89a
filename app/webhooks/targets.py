"""Where webhooks may be sent: never into our own network, however the address is written.

A URL is checked when it is stored and again whenever it is called; the address that was checked is the one
that is connected to, so a name that changes its mind in between gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

LONGEST_URL = 2_000
RESOLVE_SECONDS = 5.0

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_LOCAL_NAMES = ("localhost", "local", "internal", "localdomain", "home.arpa")
_TRANSLATED = tuple(
    ipaddress.ip_network(text)
    for text in ("::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")
)
"""IPv6 addresses that stand for IPv4 ones: mapped, NAT64, 6to4, Teredo, and the old compatible form."""

_NOT_PUBLIC = tuple(ipaddress.ip_network(text) for text in ("fec0::/10", "3fff::/20"))
"""Site-local and documentation addresses, which not every Python knows for such."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TargetRefused(Exception):
    """A webhook may not be sent there; the text tells why, fit for who wrote the URL."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL's parts, as far as connecting needs them."""

    scheme: str
    host: str
    port: int

    @property
    def address(self) -> Address | None:
        """The address that the host is, or None if it is a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None


def parse(url: str, *, allow_private: bool) -> Target:
    """The target of a URL that may be stored, as far as that can be told without resolving its name.

    Raises:
        TargetRefused: it may not.
    """
    if (
        len(url) > LONGEST_URL
        or not url.isascii()
        or not url.isprintable()
        or set(url) & set(" \\<>\"'`{}|^")
    ):
        raise TargetRefused("This is no URL: it has to be printable ASCII, percent-encoded where needed.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise TargetRefused("This is no URL.") from None
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise TargetRefused("The URL has to begin with https://.")
    if parts.username is not None or parts.password is not None:
        raise TargetRefused("The URL may not hold a user name or password.")
    if "#" in url:
        raise TargetRefused("The URL may not hold a fragment.")
    if port == 0:
        raise TargetRefused("The URL's port can't be 0.")
    target = Target(parts.scheme, (parts.hostname or "").lower(), port or _PORTS[parts.scheme])
    if target.address is None:
        if "[" in parts.netloc:
            raise TargetRefused("This is no URL.")
        _check_name(target.host, allow_private=allow_private)
    else:
        _check_address(target.address, allow_private=allow_private)
    return target


_PORTS = {"https": 443, "http": 80}


async def resolve(target: Target, *, allow_private: bool) -> Address:
    """The address to connect to; all that the name has are checked.

    Raises:
        TargetRefused: one of them is none of the public internet's.
        OSError: the name has none.
        TimeoutError: nobody could tell in time.
    """
    if target.address is not None:
        return target.address
    async with asyncio.timeout(RESOLVE_SECONDS):
        addresses = await asyncio.shield(_looked_up(target.host))
    for address in addresses:
        _check_address(address, allow_private=allow_private)
    return addresses[0]


def _looked_up(host: str) -> asyncio.Future[list[Address]]:
    """The addresses of a name. Who asks for one that is being looked up waits with the others."""
    loop = asyncio.get_running_loop()
    known = _under_way.get((loop, host))
    if known is None:
        known = _under_way[loop, host] = loop.run_in_executor(_resolvers, _look_up, host)
        known.add_done_callback(lambda done: _note_end(done, loop, host))
    return known


def _note_end(done: asyncio.Future[list[Address]], loop: asyncio.AbstractEventLoop, host: str) -> None:
    del _under_way[loop, host]
    if not done.cancelled():
        done.exception()  # nobody may have waited for it any more


def _look_up(host: str) -> list[Address]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


_resolvers = ThreadPoolExecutor(max_workers=32, thread_name_prefix="webhook-names")
"""Name servers that don't answer hold a thread for long: these are none that anything else needs."""

_under_way: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Future[list[Address]]] = {}


async def check(url: str, *, allow_private: bool) -> None:
    """See that a URL may be stored. A name that nobody knows (yet) is taken: it is checked at each call.

    Raises:
        TargetRefused: it may not.
    """
    target = parse(url, allow_private=allow_private)
    try:
        await resolve(target, allow_private=allow_private)
    except (OSError, TimeoutError, UnicodeError):
        return


def _check_name(host: str, *, allow_private: bool) -> None:
    labels = host.split(".")
    if not host or len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise TargetRefused("The URL's host is no name of the public internet.")
    # What ends in a number is an IPv4 address to some resolvers: 127.1, 0x7f000001, 017700000001.
    if labels[-1].isdigit() or re.fullmatch(r"0x[0-9a-f]*", labels[-1]):
        raise TargetRefused("An address in the URL has to be written in the usual form.")
    if not allow_private and (len(labels) == 1 or host.endswith(_LOCAL_NAMES)):
        raise TargetRefused("The URL's host is no name of the public internet.")


def _check_address(address: Address, *, allow_private: bool) -> None:
    """Refuse what is not an address of the public internet.

    Raises:
        TargetRefused: it isn't.
    """
    if allow_private:
        return
    inside = any(address in net for net in (*_TRANSLATED, *_NOT_PUBLIC) if net.version == address.version)
    if inside or not address.is_global or address.is_multicast or address.is_reserved:
        raise TargetRefused("The URL leads to an address that is none of the public internet's.")
