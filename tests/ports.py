"""Ports for servers in processes of their own, which learn them before they can bind them."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_GIVEN_BY_KERNEL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 10_000

_chance = random.SystemRandom()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has now, and that the kernel will give to nobody who asks for any:
    until our server binds it, every connection that is made meanwhile could be given one of those.
    """
    while True:
        port = _chance.randrange(LOWEST, _lowest_given())
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _lowest_given() -> int:
    """The lowest port that the kernel gives to who asks for any; Linux's usual one where it isn't told."""
    if not _GIVEN_BY_KERNEL.exists():
        return 32_768
    return max(int(_GIVEN_BY_KERNEL.read_text().split()[0]), LOWEST + 1000)
