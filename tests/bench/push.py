"""`make bench-push`: what looks cost and how soon a message is at its webhook; writes docs/bench-push.md."""

from __future__ import annotations

import argparse
import os
import sys

from tests.bench.looks import (
    INTERVAL,
    UNLIMITED,
    Lateness,
    many_accounts,
    message_to_webhook,
    rentals_of_one_account,
)
from tests.conftest import PROJECT

PAGE_FILE = PROJECT / "docs" / "bench-push.md"
INTRODUCTION = f"""# Benchmark of looks and webhooks

Written by `make bench-push` on a machine with {os.cpu_count()} cores, which two workers, a gateway, Postgres,
the sandbox upstream and what asks share. Without a limit of the pace towards the upstream, unless it says so.

"""


def _rentals_row(name: str, found: dict[str, float]) -> str:
    columns = ("orders", "sms", "polls", "orders, polled", "sms, polled")
    return f"| {name} | " + " | ".join(f"{found[column]:,.1f}" for column in columns) + " |"


def main() -> None:
    """Measure what was asked for, and write the page if that is all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=["rentals", "webhook", "accounts", "largest"])
    parser.add_argument("--rentals", type=int, default=1000)
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--steps", type=int, nargs="*", default=[1500, 2000])
    given = parser.parse_args()
    parts: list[str] = []
    if given.only in (None, "rentals"):
        parts.append(_rentals_part(given.rentals, given.seconds))
    if given.only in (None, "webhook"):
        parts.append(_webhook_part(given.messages))
    if given.only in (None, "accounts"):
        parts.append(_accounts_part(given.accounts, given.seconds))
    if given.only in (None, "largest"):
        parts.append(_largest_part(given.steps, given.seconds))
    page = INTRODUCTION + "\n".join(parts)
    if given.only is None:
        PAGE_FILE.write_text(page)
    sys.stdout.write(page)


def _rentals_part(rentals: int, seconds: float) -> str:
    free = rentals_of_one_account(rentals, seconds, **UNLIMITED)
    default = {"RENTGATE_UPSTREAM_RATE": "0.25", "RENTGATE_UPSTREAM_GLOBAL_RATE": "10"}
    paced = rentals_of_one_account(rentals, seconds, **default)
    return f"""## One account with {rentals:,} active rentals and nothing new

Upstream calls an interval of {INTERVAL:g} s, and what callers that poll as fast as one can add to them.

| pace | `orders` | `sms` (the slow round) | polls | `orders` meanwhile | `sms` meanwhile |
|---|---|---|---|---|---|
{_rentals_row("no limit", free)}
{_rentals_row("default (0.25 a second)", paced)}

At the default pace an account gets {0.25 * INTERVAL:g} calls an interval, whatever it has: the slow round
over so many numbers takes hours then, and it is the flags of the list by which messages are found.
"""


def _webhook_part(messages: int) -> str:
    median, slow, count = message_to_webhook(8, messages)
    return f"""## From a message at the upstream to its webhook

{count} messages at random moments to 8 accounts, two workers, interval {INTERVAL:g} s: from the moment in
which the upstream would show it to the webhook's first byte, **{median:.2f} s** at the median (half the
interval is {INTERVAL / 2:g} s) and **{slow:.2f} s** at the 99th percentile.
"""


def _accounts_part(accounts: int, seconds: float) -> str:
    lateness, takeover, grown = many_accounts(accounts, seconds, kill=True)
    growth = ", ".join(f"{name} {rows:+d}" for name, rows in grown.items() if rows) or "none"
    return f"""## {accounts:,} accounts over two workers

Each has an active number and is looked at every {INTERVAL:g} s.

{_lateness_table([lateness])}
Rows that tables grew by in {seconds:g} s: {growth}. After a SIGKILL of one worker, the last of its accounts
was looked at after **{takeover:.1f} s**.
"""


def _largest_part(steps: list[int], seconds: float) -> str:
    found: list[Lateness] = []
    for count in steps:
        found.append(many_accounts(count, seconds, kill=False)[0])
        if not found[-1].carried:
            break
    carried = max((step.accounts for step in found if step.carried), default=0)
    return f"""## As many as this machine carries

{_lateness_table(found)}
The largest number of these of which 99 % began within a second of their time: **{carried:,}**. What gives
way first is {_gives_way(found[-1])}; then all looks are late alike.
"""


def _gives_way(step: Lateness) -> str:
    """What takes most of the cores."""
    shares = {
        "the two workers": 2 * step.worker_cpu,
        "Postgres": step.postgres_cpu,
        "the sandbox": step.sandbox_cpu,
    }
    most = max(shares, key=lambda name: shares[name])
    cores = os.cpu_count()
    return (
        f"{most}, with {shares[most]:.2f} of the {sum(shares.values()):.2f} of {cores} cores that these take"
    )


def _lateness_table(steps: list[Lateness]) -> str:
    head = "accounts | looks a second | begun in 0.1 s | 0.5 s | 1 s | cores a worker | Postgres | sandbox"
    rows = [
        [
            f"{step.accounts:,}",
            f"{step.looks:.0f}",
            *(f"{100 * part:.1f} %" for part in step.within),
            *(f"{cores:.2f}" for cores in (step.worker_cpu, step.postgres_cpu, step.sandbox_cpu)),
        ]
        for step in steps
    ]
    return f"| {head} |\n{'|---' * 8}|\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    main()
