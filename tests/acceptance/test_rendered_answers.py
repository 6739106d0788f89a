"""Answers that are kept rendered: never another tenant's, never older than the change; ETags and 304."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.acceptance.conftest import ADMIN_TOKEN, MakeTenant, running_gateway
from tests.acceptance.tenant import Tenant, eventually, ok, problem
from tests.served import ServedSandbox


@pytest.mark.parametrize("path", ["", "/sms", "/sms?order=desc"])
def test_what_the_caller_has_is_not_sent_again(tenant: Tenant, path: str) -> None:
    rental = tenant.rent()
    url = f"/rentals/{rental['id']}{path}"
    etag = eventually(
        lambda: [tenant.http.get(url).headers["etag"] for _ in range(2)], lambda tags: tags[0] == tags[1]
    )[0]
    answers = [tenant.http.get(url, headers={"If-None-Match": f'"other", {etag}'}) for _ in range(3)]
    unchanged = [answer for answer in answers if answer.status_code == 304]
    assert unchanged
    assert all(answer.content == b"" and answer.headers["etag"] == etag for answer in unchanged)
    fresh = tenant.http.get(url, headers={"If-None-Match": '"other"'})
    assert fresh.status_code == 200


def test_a_change_is_seen_at_once_by_who_made_it(tenant: Tenant) -> None:
    rental = tenant.rent()
    for n in range(20):
        tenant.rental(rental["id"])
        ok(tenant.http.patch(f"/rentals/{rental['id']}", json={"metadata": {"n": str(n)}}))
        assert tenant.rental(rental["id"])["metadata"] == {"n": str(n)}


def test_a_change_of_another_process_is_seen_soon(
    settings: dict[str, str], sandbox: ServedSandbox, tmp_path: Path
) -> None:
    with (
        running_gateway(tmp_path / "one", **settings) as one,
        running_gateway(tmp_path / "other", "--no-worker", **settings) as other,
        one.client(ADMIN_TOKEN) as admin,
    ):
        tenant = Tenant.create(one.client, admin, sandbox)
        rental = tenant.rent()
        with other.client(tenant.token) as client:
            for n in range(20):  # whoever saw it in a list doesn't see something older afterwards
                client.get(f"/rentals/{rental['id']}")
                ok(tenant.http.patch(f"/rentals/{rental['id']}", json={"metadata": {"n": str(n)}}))
                listed = ok(client.get("/rentals"))["items"][0]["metadata"]
                assert listed == client.get(f"/rentals/{rental['id']}").json()["metadata"] == {"n": str(n)}
            for n in range(10):
                ok(tenant.http.patch(f"/rentals/{rental['id']}", json={"metadata": {"n": str(n)}}))
                eventually(
                    lambda: client.get(f"/rentals/{rental['id']}").json()["metadata"],
                    lambda found, n=n: found == {"n": str(n)},  # type: ignore[misc]
                    seconds=0.8,
                )
        tenant.close()


def test_a_lost_connection_drops_everything(
    settings: dict[str, str], sandbox: ServedSandbox, postgres: str, tmp_path: Path
) -> None:
    with running_gateway(tmp_path / "log", **settings) as gateway, gateway.client(ADMIN_TOKEN) as admin:
        tenant = Tenant.create(gateway.client, admin, sandbox)
        rental = tenant.rent()
        database = make_url(settings["RENTGATE_DATABASE_URL"]).database
        url = make_url(postgres).set(database=database).render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:
            for n in range(5):
                tenant.rental(rental["id"])
                connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where query ilike 'listen%%' or query = 'select 1' and datname = current_database()"
                )
                connection.execute(
                    "update rentals set metadata = jsonb_build_object('n', %s::text) where id = %s",
                    [str(n), rental["id"]],
                )
                eventually(
                    lambda: tenant.rental(rental["id"])["metadata"],
                    lambda found, n=n: found == {"n": str(n)},  # type: ignore[misc]
                    seconds=1.5,
                )
        tenant.close()


def test_another_tenant_is_not_told_what_is_kept(make_tenant: MakeTenant) -> None:
    one, other = make_tenant(), make_tenant()
    rental = one.rent()
    etag = one.http.get(f"/rentals/{rental['id']}").headers["etag"]
    for path in ("", "/sms"):
        one.http.get(f"/rentals/{rental['id']}{path}")
        answer = other.http.get(f"/rentals/{rental['id']}{path}", headers={"If-None-Match": etag})
        problem(answer, 404, "rental_not_found")
