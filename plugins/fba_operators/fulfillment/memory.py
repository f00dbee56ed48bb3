"""Looking before the first send: whether Amazon has feeds or orders that the ledger does not know.

Such a feed is another program's, or ours from before an older copy of the warehouse was put back (a restored backup, a
failover that lost the last commits). Which of the two cannot be seen. So before createFeed is called, Amazon's feeds
since the last look are compared with the ledger, and where one is not known there, the numbers that are about to be sent
are looked up among Amazon's orders. A restored warehouse cannot get around that: it remembers an older look.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.operations import Feed, ListedOrder
from fba_operators.errors import RequestRefusedError
from fba_operators.fulfillment.amazon_orders import action_of, compare_with_request, end_of_request
from fba_operators.fulfillment.feed_xml import FEED_TYPE
from fba_operators.fulfillment.ledger import FeedLedger
from fba_operators.fulfillment.left_out import LeftOut, UnansweredError
from fba_operators.fulfillment.request import FR_NUMBER, Move, units_by_sku
from fba_operators.warehouse.statements import execute

FEED_PATIENCE = timedelta(hours=4)  # then an unfinished feed is told, and no longer holds up other requests
QUIET_TIME = timedelta(minutes=30)  # after a feed ended; then its orders are in Amazon's list
LOOK_BACK = timedelta(hours=1)  # before a feed was made, when listing orders
REACH = timedelta(days=89)  # getFeeds looks back 90 days
SLACK = timedelta(minutes=10)  # between a clock and another, and until Amazon lists what was made
NOT_SAID = "Amazon did not say whether it has an order of"
AT_AMAZON_ALL_THE_SAME = (
    "Amazon has an order of this number all the same, perhaps made before a backup was put back. Cancel a copy of it that "
    "waits. Put right again what was put right before, and set status to pending: the next run looks at that order, and "
    "sends no other."
)


@dataclass
class Doubt:
    """Why requests may be at Amazon already, although the ledger says that they were never sent.

    :param hold: why nothing may be sent now, or None
    :param hold_before: requests inserted up to then may be in a feed that Amazon does not finish
    :param hung: that feed
    :param look_up_since: Amazon's list may still lack orders of a feed that ended then, so each number is asked for
    """

    hold: str | None = None
    hold_before: datetime | None = None
    hung: str | None = None
    look_up_since: datetime | None = None

    def why_held(self, inserted_at: datetime) -> str | None:
        """Why a request that came into the table then may not be sent now, or None."""
        if self.hold:
            return self.hold
        if self.hold_before and inserted_at <= self.hold_before:
            return (
                f"it may be in feed {self.hung}, which the ledger does not know and Amazon has not finished for "
                f"{FEED_PATIENCE.seconds // 3600} hours; if that is another program's feed, set cleared_at in fba.foreign_feed"
            )
        return None


@dataclass(frozen=True)
class Clocks:
    """What Amazon's clock says, converted to the database's: ages are differences of one clock.

    :param now: by the database's clock
    :param ahead: Amazon's clock minus the database's
    """

    now: datetime
    ahead: timedelta

    @classmethod
    def read(cls, hook: SellingPartnerHook, ledger: FeedLedger) -> Clocks:
        """Read both."""
        now = ledger.now()
        return cls(now, hook.amazon_now() - now)

    def ours(self, amazons: datetime) -> datetime:
        """A moment of Amazon's, by the database's clock."""
        return amazons - self.ahead

    def amazons(self, ours: datetime) -> datetime:
        """A moment of ours, by Amazon's clock."""
        return ours + self.ahead


def compare_feeds(hook: SellingPartnerHook, ledger: FeedLedger) -> tuple[str, bool]:
    """Compare Amazon's feeds of orders with the ledger, and take down those that it does not know.

    :return: a token that proves the comparison, and whether every feed in Amazon's list could be read
    """
    clocks = Clocks.read(hook, ledger)
    looked = ledger.run_alone("fulfillment.feed_check")
    reach = clocks.amazons(clocks.now - REACH)
    remembered = looked and not looked[0]["forgot"]
    since = max(looked[0]["checked_until"] - SLACK, reach) if remembered else reach
    listed = list(hook.get_feeds(FEED_TYPE, created_since=since))
    clocks = Clocks.read(hook, ledger)  # with the Date of Amazon's answer
    feeds = [feed for feed in listed if feed]
    unknown = _unknown(ledger, feeds, clocks)
    token = str(uuid.uuid4())
    whole = None not in listed
    with ledger.connect() as db:
        ledger.run(
            db,
            "fulfillment.add_foreign_feeds",
            feed_ids=[feed.feed_id for feed in unknown],
            created=[feed.created_time for feed in unknown],
            ended=[feed.finished for feed in unknown],
        )
        until = clocks.amazons(clocks.now) if whole else since + SLACK
        ledger.run(db, "fulfillment.set_feed_check", checked_until=until, token=token)
    return token, whole


def _unknown(ledger: FeedLedger, feeds: Iterable[Feed], clocks: Clocks) -> list[Feed]:
    """Feeds that the ledger does not know, without those that are surely its own, whose id was lost with the answer."""
    feeds = sorted(feeds, key=lambda feed: feed.created_time or clocks.now)
    known = {
        row["feed_id"] for row in ledger.run_alone("fulfillment.known_feeds", feed_ids=[feed.feed_id for feed in feeds])
    }
    unknown = [feed for feed in feeds if feed.feed_id not in known]
    for row in ledger.run_alone("fulfillment.lost_intents"):
        for feed in unknown:
            if feed.created_time and may_be_of(row["submit_started_at"], clocks.ours(feed.created_time)):
                unknown.remove(feed)
                break
    return unknown


def may_be_of(intent: datetime, created: datetime) -> bool:
    """Whether a feed that Amazon made then may be the one that was intended then: createFeed follows within a minute.

    :param intent: by the database's clock
    :param created: by the database's clock
    """
    return intent - SLACK <= created <= intent + SLACK


def compare_orders(hook: SellingPartnerHook, ledger: FeedLedger, token: str) -> None:
    """Take down Amazon's orders, changed since the last look, that no request accounts for.

    An older copy of the warehouse remembers an older look, so what it has forgotten is listed again. The first look reaches
    as far back as Amazon's feeds do.

    :param token: of :func:`compare_feeds`, just before
    """
    clocks = Clocks.read(hook, ledger)
    reach = clocks.amazons(clocks.now - REACH)
    looked = ledger.run_alone("fulfillment.feed_check")[0]["orders_until"]
    # An order may be listed late, but by the time at which it was changed.
    since = max(looked - QUIET_TIME - SLACK, reach) if looked else reach
    listed = hook.list_all_fulfillment_orders(since=since)
    clocks = Clocks.read(hook, ledger)  # with the Date of Amazon's answer
    with ledger.connect() as db:
        _take_down(hook, ledger, db, listed)
        until = since + QUIET_TIME + SLACK if None in listed else clocks.amazons(clocks.now)
        ledger.run(db, "fulfillment.set_orders_until", orders_until=until, token=token)


def examine(hook: SellingPartnerHook, ledger: FeedLedger, left_out: LeftOut) -> Doubt:
    """Find out what the feeds that the ledger does not know mean for the requests that are to be sent.

    :param left_out: collects feeds for which Amazon fails; nothing is known of their end
    """
    if not (rows := ledger.run_alone("fulfillment.open_foreign_feeds")):
        return Doubt()
    clocks = Clocks.read(hook, ledger)
    rows = [_followed(hook, ledger, row, left_out) for row in rows]
    unfinished = [row for row in rows if row["ended_at"] is None]
    if young := [row for row in unfinished if clocks.now - row["seen_at"] < FEED_PATIENCE]:
        return Doubt(
            hold=f"feed {young[0]['feed_id']}, which the ledger does not know, may hold it and is still being processed"
        )
    doubt = Doubt()
    if unfinished:
        last = max(unfinished, key=lambda row: row["seen_at"])
        # Not since it was made: after a restore, requests that were lost with it may have been inserted again since then.
        doubt.hung, doubt.hold_before = last["feed_id"], last["seen_at"]
    if ended := [row for row in rows if row["ended_at"]]:
        doubt.look_up_since = _list_orders(hook, ledger, ended, clocks)
    return doubt


def _followed(hook: SellingPartnerHook, ledger: FeedLedger, row: dict[str, Any], left_out: LeftOut) -> dict[str, Any]:
    """A feed's row as it is after asking Amazon whether it has ended."""
    if row["ended_at"]:
        return row
    try:
        with left_out.asking(hook, row["feed_id"], "feed"):
            if not hook.get_feed(row["feed_id"]).finished:
                return row
    except (RequestRefusedError, UnansweredError):
        return row  # not shown, so nothing is known of its end
    (ended,) = ledger.run_alone("fulfillment.end_foreign_feed", feed_id=row["feed_id"])
    return row | ended


def _list_orders(
    hook: SellingPartnerHook, ledger: FeedLedger, ended: list[dict[str, Any]], clocks: Clocks
) -> datetime | None:
    """Take down the orders at Amazon that no request accounts for.

    :return: when the last feed ended whose orders Amazon's list may still lack; None if it is complete
    """
    begin = min(row["created_at"] or clocks.amazons(row["seen_at"] - REACH) for row in ended)
    listed = hook.list_all_fulfillment_orders(since=max(begin - LOOK_BACK, clocks.amazons(clocks.now - REACH)))
    late = [row["ended_at"] for row in ended if None in listed or clocks.now - row["ended_at"] < QUIET_TIME]
    with ledger.connect() as db:
        _take_down(hook, ledger, db, listed)
        cleared = [row["feed_id"] for row in ended if row["ended_at"] not in late]
        ledger.run(db, "fulfillment.clear_foreign_feeds", feed_ids=cleared)
    return max(late, default=None)


def _take_down(
    hook: SellingPartnerHook, ledger: FeedLedger, db: psycopg.Connection[Any], listed: Iterable[ListedOrder | None]
) -> None:
    orders = [order for order in listed if order]
    take_down(
        db,
        ledger.store,
        hook.seller_id,
        [order.seller_fulfillment_order_id for order in orders],
        [end_of_request(order.fulfillment_order_status) is not None for order in orders],
    )


def take_down(
    db: psycopg.Connection[Any], store: str, seller_id: str, numbers: Sequence[str], ended: Sequence[bool]
) -> None:
    """Take down orders at Amazon that no request accounts for, and tell of refused requests under whose number one goes on.

    :param ended: of each number, whether Amazon ships nothing of its order
    """
    execute(db, "fulfillment.add_orders_at_amazon", store=store, numbers=list(numbers), ended=list(ended))
    execute(db, "fulfillment.tell_refused", store=store, seller_id=seller_id, reason=AT_AMAZON_ALL_THE_SAME)


def ask_for_relatives(
    hook: SellingPartnerHook, ledger: FeedLedger, numbers: list[str], left_out: LeftOut
) -> dict[str, str]:
    """Make sure that no other request of which these are copies, or which are copies of these, is at Amazon.

    For the ledger a request may be rejected that was set right and sent before an older copy of the warehouse was put back.

    :param left_out: collects orders for which Amazon fails; so it did not say whether it has them
    :return: FR number → why it may not be sent now
    """
    why = {}
    for row in ledger.run_alone("fulfillment.relatives_to_ask", numbers=numbers):
        if not FR_NUMBER.fullmatch(row["other"]) or not row["other"].strip("."):
            continue  # Amazon cannot have it
        ledger.check_lock()
        try:
            with left_out.asking(hook, row["other"]):
                order = hook.find_fulfillment_order(row["other"])
        except (RequestRefusedError, UnansweredError):
            ledger.run_alone("fulfillment.record_unanswered", number=row["other"])
            why[row["fr_number"]] = f"{NOT_SAID} {row['other']}"
            continue
        ledger.run_alone("fulfillment.record_answered", number=row["other"])
        if order and not end_of_request(order.fulfillment_order.fulfillment_order_status):
            with ledger.connect() as db:
                take_down(db, ledger.store, hook.seller_id, [row["other"]], [False])
    return why | in_the_way(ledger, hook.seller_id, numbers)


def in_the_way(
    ledger: FeedLedger, seller_id: str, numbers: list[str], db: psycopg.Connection[Any] | None = None
) -> dict[str, str]:
    """What would be shipped beside these requests: FR number → a sentence."""
    values = {"seller_id": seller_id, "numbers": numbers}
    name = "fulfillment.in_the_way"
    why: dict[str, str] = {}
    for row in ledger.run(db, name, **values) if db else ledger.run_alone(name, **values):
        other, status = row["other"], row["status"]
        if status is None:
            sentence = (
                f"Amazon has an order {other}, which no request here accounts for: it may be this one, sent again before a "
                "backup was put back"
            )
        elif row["shipped"]:
            sentence = f"units of {other}, which is {status} here, have left Amazon: the buyer gets them"
        elif status in ("rejected", "invalid"):
            sentence = f"Amazon has an order of {other}, which is {status} here: both would be shipped"
        elif status == "pending":
            sentence = f"{other} goes first: of a request and its copies one is shipped"
        else:
            sentence = f"{other} is {status}: of a request and its copies one is shipped"
        why.setdefault(row["fr_number"], sentence)
    return why


def adopt_orders(hook: SellingPartnerHook, ledger: FeedLedger, left_out: LeftOut) -> list[Move]:
    """Settle pending requests under whose numbers Amazon has an order already; returns those that changed.

    :param left_out: collects orders for which Amazon fails; their requests wait
    """
    moves = []
    for row in ledger.run_alone("fulfillment.pending_at_amazon"):
        number = row["fr_number"]
        try:
            with left_out.asking(hook, number):
                order = hook.find_fulfillment_order(number)
        except (RequestRefusedError, UnansweredError):
            continue  # it waits, and the next run asks again
        if order:
            ordered = units_by_sku((item.sku, item.quantity) for item in ledger.items_of([number])[number])
            move = compare_with_request(order, number, ordered, hook.marketplace.id)
            held = move.status == "accepted" and action_of(order) == "hold"
            moves += ledger.adopt(move, destination=hook.destination, held=held)
    return moves


def look_up(hook: SellingPartnerHook, ledger: FeedLedger, numbers: list[str], left_out: LeftOut) -> list[str]:
    """Ask Amazon for each number, and take down those it has; returns those of which it did not say whether it has them.

    Amazon's quota may end the work in the middle; what was found out is not asked for again.

    :param left_out: collects orders for which Amazon fails; so it did not say whether it has them
    """
    taken_down = {row["fr_number"] for row in ledger.run_alone("fulfillment.at_amazon", numbers=numbers)}
    unanswered = []
    for number in numbers:
        if number in taken_down:
            continue
        try:
            with left_out.asking(hook, number):
                found = hook.find_fulfillment_order(number) is not None
        except (RequestRefusedError, UnansweredError):
            ledger.run_alone("fulfillment.record_unanswered", number=number)
            unanswered.append(number)
            continue
        ledger.run_alone("fulfillment.add_order_at_amazon" if found else "fulfillment.record_looked_up", number=number)
        ledger.run_alone("fulfillment.record_answered", number=number)
    return unanswered


def ask_again(hook: SellingPartnerHook, ledger: FeedLedger, left_out: LeftOut) -> None:
    """Ask Amazon again for the numbers that it did not say anything about, as far as pending requests wait for them.

    :param left_out: collects orders for which Amazon fails
    """
    rows = ledger.run_alone("fulfillment.unanswered")
    look_up(hook, ledger, sorted({row["other"] for row in rows if row["other"] == row["fr_number"]}), left_out)
    copies = sorted({row["fr_number"] for row in rows if row["other"] != row["fr_number"]})
    ask_for_relatives(hook, ledger, copies, left_out)


def unanswered(ledger: FeedLedger, db: psycopg.Connection[Any]) -> dict[str, str]:
    """Pending requests that have to wait, because Amazon did not say whether it has an order: FR number → a sentence."""
    return {row["fr_number"]: f"{NOT_SAID} {row['other']}" for row in ledger.run(db, "fulfillment.unanswered")}
