"""What the probe asks about an account: orders, their messages, the archive, and the price of restoring."""

from __future__ import annotations

from app.errors import (
    ArchivedOrderNotFound,
    InsufficientBalance,
    OrderNotOwned,
    RentalNotExpired,
    RestoreNeedsSupport,
    RestoreNotAvailable,
)
from app.probe.session import Session
from app.upstream.client import News, UpstreamClient
from app.upstream.wire import HistoryEntry, Order, SmsLists

FIRST_PAGE, SECOND_PAGE = 10, 2
MOST_SMS = 3
"""So many orders are asked for their messages until one has some."""

RESTORING = (
    ArchivedOrderNotFound,
    InsufficientBalance,
    OrderNotOwned,
    RentalNotExpired,
    RestoreNeedsSupport,
    RestoreNotAvailable,
)
"""Why an order can't be restored: as good an answer as a price."""


async def orders(session: Session) -> None:
    """Read the account's list of orders."""
    found = await session.call(lambda client: client.orders(session.api_key))
    session.known.orders = () if found is None else found.rows


async def sms(session: Session) -> None:
    """Read the messages of an order without news, or of any if that was chosen: one with news then."""
    known, any_order = session.known.orders, session.choices.any_sms
    without_news = [order for order in known if order.has_new_sms is False]
    with_news = [order for order in known if order.has_new_sms] if any_order else []
    chosen = with_news or without_news or (known if any_order else ())
    if not known:
        session.skip("the account shows no order")
    elif not chosen:
        session.skip("every order may have new messages, and reading may clear that flag: see --sms")
    for order in chosen[:MOST_SMS]:
        if await _read_messages(session, order):
            return


async def _read_messages(session: Session, order: Order) -> bool:
    """Whether an order has messages, or can't be asked."""

    async def read(client: UpstreamClient) -> News[SmsLists]:
        return await client.sms_if_new(session.api_key, None, order_id=order.order_id)

    without = "without news" if order.has_new_sms is False else "that has, or may have, news"
    found = await session.call(read, asked=f"an order {without}")
    messages = None if found is None else found.content
    return messages is None or bool(messages.rented or messages.other)


async def history(session: Session) -> None:
    """Read a page of the archive, and another one that tells whether `skip` is honoured."""
    first = await session.call(
        lambda client: client.history(session.api_key, skip=0, take=FIRST_PAGE),
        asked=f"skip=0, take={FIRST_PAGE}",
    )
    if first is None:
        return
    session.known.archive = first.rows
    if first.size > FIRST_PAGE:
        session.note(f"take is ignored: {FIRST_PAGE} rows were asked for, and {first.size} came.")
    second = await session.call(
        lambda client: client.history(session.api_key, skip=1, take=SECOND_PAGE),
        asked=f"skip=1, take={SECOND_PAGE}",
    )
    session.note(order_of(first.rows))
    if second is not None and first.complete and second.complete:
        session.note(skipping(first.rows, second.rows))


def order_of(rows: tuple[HistoryEntry, ...]) -> str:
    """How the rows of a page follow each other, in a sentence."""
    ends = [row.ended_at for row in rows if row.ended_at is not None]
    if len(ends) < len(rows) or len(set(ends)) < 3:
        return "The order of its rows can't be told."
    if ends == sorted(ends):
        return "Its rows are ordered by their end, the earliest first."
    if ends == sorted(ends, reverse=True):
        return "Its rows are ordered by their end, the latest first."
    return "Its rows are not ordered by their end."


def skipping(first: tuple[HistoryEntry, ...], second: tuple[HistoryEntry, ...]) -> str:
    """Whether a page that skips one row begins with the second row, in a sentence."""
    places = [row.order_id for row in first]
    place = places.index(second[0].order_id) if second and second[0].order_id in places else None
    if place == 0:
        return "skip is ignored: a page that skips one row begins with the first."
    if len(places) < 2:
        return "Whether skip is honoured can't be told: the archive has less than two rows."
    if place == 1:
        return "skip is honoured: a page that skips one row begins with the second."
    begins = f"begins with row {place + 1}" if place else "begins with another row" if second else "is empty"
    return f"skip is not understood: a page that skips one row {begins}."


async def restore_precalc(session: Session) -> None:
    """Ask what restoring an order of the archive would cost: one that can be restored, if that is told."""
    archive = session.known.archive
    chosen = next((entry for entry in archive if entry.restorable), next(iter(archive), None))
    if chosen is None:
        session.skip("the archive shows no order")
        return
    order_id = chosen.order_id
    await session.call(
        lambda client: client.restore_quote(session.api_key, order_id=order_id),
        asked="an order of the archive",
        answers=RESTORING,
    )


async def balance(session: Session) -> None:
    """Ask what is left on the account, of the provider's other host."""
    balances = session.balances
    if balances is None:
        session.skip("no URL of the balance is set")
        return
    await session.call(lambda _client: balances.balance(session.api_key))
