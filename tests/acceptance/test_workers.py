"""Several workers: they share the accounts, and go on with those of one that died or stood still."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.acceptance.commands import environment
from tests.acceptance.conftest import ADMIN_TOKEN, running_gateway
from tests.acceptance.tenant import Tenant, eventually, ok
from tests.conftest import superuser_of
from tests.processes import Command, Forked
from tests.served import ServedSandbox

ACCOUNTS, INTERVAL = 6, 1.0
TAKEN_OVER_WITHIN = 10.0

EVERY_INTERVAL = {"RENTGATE_SYNC_INTERVAL": str(INTERVAL), "RENTGATE_SYNC_IDLE_INTERVAL": str(INTERVAL)}


@contextmanager
def worker(settings: dict[str, str]) -> Iterator[Command]:
    process = Forked(("worker",), environment(**settings), Path(os.devnull))
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(60)


def holders(superuser_url: str) -> dict[str, int]:
    """How many accounts each worker has."""
    with psycopg.connect(superuser_url) as connection:
        rows = connection.execute(
            "select w.id::text, count(l.holder) from workers w left join account_looks l on l.holder = w.id"
            " group by 1"
        )
        return {row[0]: row[1] for row in rows}


def looks_of(tenant: Tenant, since: float) -> dict[str, list[float]]:
    """When each account's orders were asked for since a moment, by the end of its key."""
    found = defaultdict(list)
    for call in list(tenant.sandbox.sandbox.calls):
        if call["method"] == "orders" and call["at"] > since:
            found[call["account"]].append(call["at"])
    return found


def taken_over(tenants: list[Tenant], superuser_url: str, since: float) -> float:
    """Seconds until one worker has all accounts, and the last of them was looked at again."""
    eventually(lambda: sorted(holders(superuser_url).values())[-1:], lambda most: most == [ACCOUNTS])
    everyone = {tenant.upstream_key[-4:] for tenant in tenants}
    eventually(lambda: set(looks_of(tenants[0], since + INTERVAL)), lambda seen: everyone <= seen)
    looks = looks_of(tenants[0], since + INTERVAL)
    return max(min(looks[account]) for account in everyone) - since


def test_accounts_are_shared_and_go_on_when_a_worker_stands_still_or_dies(
    settings: dict[str, str], postgres: str, sandbox: ServedSandbox, tmp_path: Path
) -> None:
    settings = {**settings, **EVERY_INTERVAL}
    superuser_url = superuser_of(postgres, settings["RENTGATE_DATABASE_URL"])
    with running_gateway(tmp_path / "log", "--no-worker", **settings) as gateway:
        admin = gateway.client(ADMIN_TOKEN)
        tenants = [Tenant.create(gateway.client, admin, sandbox) for _ in range(ACCOUNTS)]
        with worker(settings) as one, worker(settings):
            fair = [ACCOUNTS // 2] * 2
            eventually(lambda: sorted(holders(superuser_url).values()), lambda shares: shares == fair)
            stopped_at = time.time()
            one.send_signal(signal.SIGSTOP)
            assert taken_over(tenants, superuser_url, stopped_at) < TAKEN_OVER_WITHIN
            woken_at = time.time()
            one.send_signal(signal.SIGCONT)
            eventually(lambda: sorted(holders(superuser_url).values()), lambda shares: shares == fair)
            # It has looked at nothing that was not its own any more: no account was looked at twice at once.
            looks = looks_of(tenants[0], woken_at)
            for tenant in tenants:
                at = looks[tenant.upstream_key[-4:]]
                assert all(later - sooner > INTERVAL / 2 for sooner, later in itertools.pairwise(at))
            killed_at = time.time()
            one.send_signal(signal.SIGKILL)
            assert taken_over(tenants, superuser_url, killed_at) < TAKEN_OVER_WITHIN
        for tenant in tenants:
            tenant.close()


def test_who_stopped_in_the_middle_of_a_word_is_not_waited_for(
    settings: dict[str, str], postgres: str, sandbox: ServedSandbox, tmp_path: Path
) -> None:
    superuser_url = superuser_of(postgres, settings["RENTGATE_DATABASE_URL"])
    with running_gateway(tmp_path / "log", "--no-worker", **settings) as gateway:
        tenant = Tenant.create(gateway.client, gateway.client(ADMIN_TOKEN), sandbox)
        with psycopg.connect(superuser_url) as still:
            still.execute("insert into workers values (gen_random_uuid(), now() - interval '1 minute')")
            still.commit()
            still.execute("update workers set alive_until = now() + interval '1 hour'")  # and no commit
            with worker(settings):
                eventually(lambda: sorted(holders(superuser_url).values()), lambda shares: shares == [0, 1])
                asked_at = time.time()
                eventually(lambda: looks_of(tenant, asked_at)[tenant.upstream_key[-4:]], bool)
            still.rollback()
        tenant.close()


def test_a_worker_that_ends_in_order_gives_its_accounts_back_at_once(
    settings: dict[str, str], postgres: str, sandbox: ServedSandbox, tmp_path: Path
) -> None:
    superuser_url = superuser_of(postgres, settings["RENTGATE_DATABASE_URL"])
    with running_gateway(tmp_path / "log", "--no-worker", **settings) as gateway:
        tenant = Tenant.create(gateway.client, gateway.client(ADMIN_TOKEN), sandbox)
        with worker(settings):
            eventually(lambda: list(holders(superuser_url).values()), lambda shares: shares == [1])
        assert holders(superuser_url) == {}
        with psycopg.connect(superuser_url) as connection:
            row = connection.execute(
                "select holder, due_at - now() < interval '1 s' from account_looks"
            ).fetchone()
            assert row == (None, True)
        tenant.close()


def test_a_caller_sees_it_now_though_a_worker_elsewhere_has_the_account(
    settings: dict[str, str], sandbox: ServedSandbox, tmp_path: Path
) -> None:
    settings = {**settings, "RENTGATE_SYNC_IDLE_INTERVAL": "60", "RENTGATE_SYNC_INTERVAL": "1"}
    with worker(settings), running_gateway(tmp_path / "log", "--no-worker", **settings) as gateway:
        tenant = Tenant.create(gateway.client, gateway.client(ADMIN_TOKEN), sandbox)
        rental = tenant.rent()
        eventually(lambda: looks_of(tenant, 0)[tenant.upstream_key[-4:]], lambda looks: len(looks) > 1)
        time.sleep(1.5)  # past the interval, and long before the next look
        for text in ("one", "two"):
            tenant.arrive(text)
            started = time.monotonic()
            items = tenant.messages(rental["id"], refresh="true")["items"]
            assert text in [item["text"] for item in items]
            assert time.monotonic() - started < 3
            time.sleep(1.1)
        by = {log["actor"] for log in ok(tenant.http.get("/audit-logs?action=upstream.sms"))["items"]}
        assert len(by) == 1
        assert "worker" not in by.pop()
        tenant.close()


def test_a_worker_forgets_a_replaced_secret_within_a_second(
    settings: dict[str, str], sandbox: ServedSandbox, tmp_path: Path
) -> None:
    settings = {**settings, "RENTGATE_SYNC_INTERVAL": "0.1", "RENTGATE_SYNC_IDLE_INTERVAL": "0.1"}
    with worker(settings), running_gateway(tmp_path / "log", "--no-worker", **settings) as gateway:
        tenant = Tenant.create(gateway.client, gateway.client(ADMIN_TOKEN), sandbox)
        eventually(lambda: looks_of(tenant, 0)[tenant.upstream_key[-4:]], lambda looks: len(looks) > 5)
        old, new = tenant.upstream_key[-4:], sandbox.new_key()
        world = sandbox.sandbox.world.accounts
        world[new] = world[tenant.upstream_key]  # both open the account for a while
        at = f"/tenants/{tenant.id}/upstream-keys/{tenant.upstream_key_id}"
        ok(tenant.http.put(f"{at}/secret", json={"api_key": new}))
        replaced_at = time.time()
        eventually(lambda: looks_of(tenant, replaced_at + 1)[new[-4:]], lambda looks: len(looks) > 3)
        assert not looks_of(tenant, replaced_at + 1)[old]
        assert tenant.http.delete(at, params={"force": "true"}).status_code == 204
        deleted_at = time.time()
        time.sleep(1.5)
        assert not looks_of(tenant, deleted_at + 1)[new[-4:]]
        tenant.close()
