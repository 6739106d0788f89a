"""`GET /rentals/{id}/sms`: a feed to follow, a list to look back, both scopes, and a look on demand."""

from __future__ import annotations

from collections.abc import Callable

from app.sandbox.options import Shape
from tests.acceptance.tenant import Tenant, eventually, ok, problem


def texts(page: dict[str, object]) -> list[str]:
    items = page["items"]
    assert isinstance(items, list)
    return [item["text"] for item in items]


def how_many(count: int) -> Callable[[list[object]], bool]:
    return lambda items: len(items) == count


def test_the_feed_is_followed_by_its_cursor(tenant: Tenant) -> None:
    rental = tenant.rent()
    empty = tenant.messages(rental["id"])
    assert (empty["items"], empty["has_more"]) == ([], False)
    assert tenant.messages(rental["id"], cursor=empty["next_cursor"])["next_cursor"] == empty["next_cursor"]
    for n in range(3):
        tenant.arrive(f"code {n}")
        eventually(lambda: tenant.messages(rental["id"])["items"], how_many(n + 1))
    first = tenant.messages(rental["id"], limit="2", cursor=empty["next_cursor"])
    assert (texts(first), first["has_more"]) == (["code 0", "code 1"], True)
    second = tenant.messages(rental["id"], limit="2", cursor=first["next_cursor"])
    assert (texts(second), second["has_more"]) == (["code 2"], False)
    assert tenant.messages(rental["id"], cursor=second["next_cursor"])["items"] == []


def test_newest_first_is_a_list(tenant: Tenant) -> None:
    rental = tenant.rent()
    for n in range(3):
        tenant.arrive(f"code {n}")
        eventually(lambda: tenant.messages(rental["id"])["items"], how_many(n + 1))
    first = tenant.messages(rental["id"], order="desc", limit="2")
    assert texts(first) == ["code 2", "code 1"]
    assert "has_more" not in first
    second = tenant.messages(rental["id"], order="desc", limit="2", cursor=first["next_cursor"])
    assert (texts(second), second["next_cursor"]) == (["code 0"], None)


def test_scopes(tenant: Tenant) -> None:
    tenant.sandbox.sandbox.shape = Shape.SEEN
    rental = tenant.rent()
    tenant.arrive("mine")
    tenant.arrive("another's", service="opt2")
    eventually(lambda: tenant.messages(rental["id"])["items"], lambda items: len(items) == 2)
    assert texts(tenant.messages(rental["id"], scope="rented")) == ["mine"]
    assert texts(tenant.messages(rental["id"], scope="other")) == ["another's"]


def test_a_refresh_sees_what_just_came(tenant: Tenant) -> None:
    rental = tenant.rent()
    for n in range(5):
        tenant.arrive(f"code {n}")
        eventually(
            lambda: tenant.messages(rental["id"], refresh="true")["items"],
            how_many(n + 1),
            seconds=3,
        )


def test_a_refresh_tells_what_keeps_it(tenant: Tenant) -> None:
    rental = tenant.rent()
    expected = {
        ("sms", "html"): "upstream_bad_response",
        ("sms", "refuse"): "upstream_error",
        ("orders", "status_500"): "upstream_unavailable",
    }
    for (method, kind), code in expected.items():
        tenant.fault(method, kind, times=40)
        found = eventually(
            lambda: tenant.http.get(f"/rentals/{rental['id']}/sms?refresh=true"),
            lambda answer: answer.status_code != 200,
        )
        assert found.json()["code"] == code
        tenant.clear_faults()
        eventually(
            lambda: tenant.http.get(f"/rentals/{rental['id']}/sms?refresh=true").status_code,
            lambda status: status == 200,
        )


def test_a_slow_upstream_is_a_time_out(tenant: Tenant) -> None:
    rental = tenant.expired()
    tenant.fault("restore_user_precalc", "hang", seconds=20)
    problem(tenant.http.get(f"/rentals/{rental['id']}/restore-quote"), 504, "upstream_timeout")


def test_strange_texts_come_through(tenant: Tenant) -> None:
    rental = tenant.rent()
    text = "验证码 123 — <script>alert('x')</script> 🎉\n\tüß"
    tenant.arrive(text)
    items = eventually(lambda: tenant.messages(rental["id"])["items"], lambda items: items)
    assert items[0]["text"] == text


def test_cursors_of_other_lists_are_refused(tenant: Tenant) -> None:
    rental = tenant.rent()
    feed = tenant.messages(rental["id"])["next_cursor"]
    body = problem(
        tenant.http.get(f"/rentals/{rental['id']}/sms", params={"order": "desc", "cursor": feed}),
        422,
        "invalid_request",
    )
    assert body["errors"][0]["location"] == "query.cursor"
    ok(tenant.http.get(f"/rentals/{rental['id']}/sms", params={"cursor": feed}))
