"""Claiming: every pending request is validated, and those that are ready are frozen for the next feed.

One transaction decides and freezes: from then on nobody can change a request until its feed is settled.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg

from fba_operators.amazon.credentials import Destination
from fba_operators.amazon.marketplaces import marketplace
from fba_operators.fulfillment.feed_xml import assemble_order_feed
from fba_operators.fulfillment.ledger import FeedLedger
from fba_operators.fulfillment.memory import Doubt
from fba_operators.fulfillment.near_skus import nearest, spellings, worth_a_look
from fba_operators.fulfillment.release import Waiting, due
from fba_operators.fulfillment.request import FulfillmentRequest
from fba_operators.fulfillment.validation import validate
from fba_operators.reports.report_types import AFN_INVENTORY, LISTINGS
from fba_operators.settings.models import Fulfillment

PAGE = 2000  # pending requests in memory at a time
AN_HOUR = timedelta(hours=1)
A_DAY = timedelta(days=1)  # that the clock of the system which writes requests may be ahead, time zones included
BETWEEN_FEEDS = timedelta(minutes=20)  # developer-docs.amazon.com/sp-api/docs/feeds-api-best-practices


@dataclass(frozen=True)
class Selection:
    """Which requests a run may send.

    :param numbers: only these FR numbers; empty is all
    :param manual: the run was triggered by hand
    :param dry_run: only report what would be sent
    """

    numbers: tuple[str, ...] = ()
    manual: bool = False
    ignore_hold: bool = False
    ignore_business_hours: bool = False
    dry_run: bool = False


@dataclass
class Claim:
    """The result of validating the pending requests.

    :param claim_id: of the feed that was made, or None
    :param seen: how many requests were pending
    :param claimed: FR numbers of the feed
    :param invalid: FR number → reason
    :param waiting: FR number → why it waits
    :param held: those of them that wait for a time that stores.yaml sets, or for a run by hand
    :param warnings: FR number → warnings, for requests that are ready
    """

    claim_id: str | None = None
    seen: int = 0
    claimed: list[str] = field(default_factory=list)
    invalid: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    warnings: dict[str, str] = field(default_factory=dict)


def claim_requests(
    ledger: FeedLedger,
    settings: Fulfillment,
    selection: Selection,
    *,
    destination: Destination,
    run_id: str,
    doubt: Doubt | None = None,
) -> Claim:
    """Validate every pending request of a store and make one feed of those that are ready.

    A feed that this run claimed before and that was not submitted is returned again.

    :param doubt: why requests may be at Amazon already; see :mod:`.memory`
    """
    with ledger.connect() as db:
        ledger.lock(db)
        feed = next((each for each in ledger.run(db, "fulfillment.open_feeds") if not each["set_aside_at"]), None)
        if feed and feed["run_id"] == run_id and feed["submit_started_at"] is None and not selection.dry_run:
            rows = ledger.run(db, "fulfillment.feed_requests", claim_id=feed["claim_id"])
            return Claim(str(feed["claim_id"]), claimed=[row["fr_number"] for row in rows])
        claim = Claim()
        (now,) = ledger.run(db, "fulfillment.now")
        ready = _validate_pending(ledger, db, settings, selection, destination, claim, doubt or Doubt(), now["now"])
        if ready:
            blocked = _why_no_feed_now(ledger, db, feed, selection, now["now"])
            if blocked:
                claim.waiting.update((request.fr_number, blocked) for request in ready)
            else:
                _freeze(ledger, db, settings, selection, destination, run_id, ready, claim)
        ledger.run(db, "fulfillment.set_invalid", numbers=list(claim.invalid), reasons=list(claim.invalid.values()))
        ledger.run(
            db,
            "fulfillment.set_waiting",
            numbers=list(claim.waiting),
            reasons=list(claim.waiting.values()),
            held=[number in claim.held for number in claim.waiting],
        )
        return claim


def until_next_feed(ledger: FeedLedger) -> timedelta | None:
    """How long until the store's next feed may be submitted by schedule; None before the first."""
    with ledger.connect() as db:
        moment = _next_feed_at(ledger, db)
        (now,) = ledger.run(db, "fulfillment.now")
        return moment - now["now"] if moment else None


def _next_feed_at(ledger: FeedLedger, db: psycopg.Connection[Any]) -> datetime | None:
    last = ledger.run(db, "fulfillment.last_submitted")[0]["max"]
    return last + BETWEEN_FEEDS if last else None


def _why_no_feed_now(
    ledger: FeedLedger,
    db: psycopg.Connection[Any],
    feed: dict[str, Any] | None,
    selection: Selection,
    now: datetime,
) -> str | None:
    if selection.dry_run:
        return None
    if feed:
        name = f"feed {feed['feed_id']}" if feed["feed_id"] else "the feed before it"
        return f"ready; waits until {name} is settled, because a store has one feed at a time"
    moment = _next_feed_at(ledger, db)
    if moment and moment > now and not selection.manual:
        minutes = BETWEEN_FEEDS.seconds // 60
        return f"ready; by schedule a feed goes out every {minutes} minutes; until {moment:%Y-%m-%d %H:%M} UTC"
    return None


def _validate_pending(
    ledger: FeedLedger,
    db: psycopg.Connection[Any],
    settings: Fulfillment,
    selection: Selection,
    destination: Destination,
    claim: Claim,
    doubt: Doubt,
    now: datetime,
) -> list[FulfillmentRequest]:
    """Sort the pending requests into invalid, waiting and (returned) ready."""
    ready: list[FulfillmentRequest] = []
    country = marketplace(destination.marketplace_id).country
    types = [LISTINGS.name, AFN_INVENTORY.name]
    as_of = ledger.run(db, "fulfillment.inventory_as_of", report_types=types)[0]["as_of"]
    for rows in _pages(ledger, db, selection):
        numbers = [row["fr_number"] for row in rows]
        items = ledger.items(db, numbers)
        skus = sorted({item.sku for lines in items.values() for item in lines})
        stock = _stock(ledger, db, skus)
        near = _near_skus(ledger, db, worth_a_look(sku for sku in skus if sku not in stock))
        used_by = {
            row["fr_number"]: row["store"]
            for row in ledger.run(db, "fulfillment.used_elsewhere", seller_id=destination.seller_id, numbers=numbers)
        }
        removed = {
            row["fr_number"]
            for row in ledger.run(db, "fulfillment.removed", seller_id=destination.seller_id, numbers=numbers)
        }
        at_amazon = {row["fr_number"] for row in ledger.run(db, "fulfillment.at_amazon", numbers=numbers)}
        claim.seen += len(rows)
        for row in rows:
            number = row["fr_number"]
            if row["cancel_requested_at"]:
                if row["looked_up_at"] and now - row["looked_up_at"] < AN_HOUR:
                    claim.invalid[number] = "cancelled before it was sent"
                else:
                    claim.waiting[number] = (
                        "a cancellation is requested; Amazon is asked first whether it has an order of it"
                    )
                continue
            request = ledger.as_request(row, items[number])
            found = validate(request, settings, country=country, stock=stock, inventory_as_of=as_of, near_skus=near)
            reasons = found.reasons
            if number in used_by:
                reasons += (
                    f"fr_number is already used by store {used_by[number]}, which is the same seller at Amazon",
                )
            if number in removed:
                reasons += (
                    "fr_number is that of an old request, which was removed after retention.data_months; order again under "
                    "another number",
                )
            if request.created_at > now + A_DAY:
                reasons += (f"created_at lies in the future: {request.created_at:%Y-%m-%d %H:%M} UTC",)
            timed = _not_before(request, settings, selection, now)
            if reasons:
                claim.invalid[number] = "; ".join(reasons)
            elif found.waiting or timed:
                claim.waiting[number] = "; ".join(str(wait) for wait in (found.waiting, timed) if wait)
                claim.held |= set() if found.waiting else {number}
            elif number in at_amazon:
                claim.waiting[number] = "ready; Amazon may have an order of this number, which is looked at first"
            elif why := doubt.why_held(row["inserted_at"]):
                claim.waiting[number] = f"ready; {why}"
            else:
                claim.warnings[number] = "; ".join(found.warnings)
                ready.append(request)
    return ready


def _not_before(
    request: FulfillmentRequest, settings: Fulfillment, selection: Selection, now: datetime
) -> Waiting | None:
    return due(
        request,
        settings,
        now,
        manual=selection.manual,
        ignore_hold=selection.ignore_hold,
        ignore_business_hours=selection.ignore_business_hours,
    )


def _pages(ledger: FeedLedger, db: psycopg.Connection[Any], selection: Selection) -> Iterator[list[dict[str, Any]]]:
    after: dict[str, Any] = {"after_time": None, "after_number": None}
    while rows := ledger.run(db, "fulfillment.lock_pending", numbers=list(selection.numbers), page=PAGE, **after):
        yield rows
        after = {"after_time": rows[-1]["created_at"], "after_number": rows[-1]["fr_number"]}


def _stock(ledger: FeedLedger, db: psycopg.Connection[Any], skus: list[str]) -> dict[str, int]:
    stock = {row["sku"]: row["quantity"] for row in ledger.run(db, "fulfillment.pool_stock", skus=skus)}
    if missing := [sku for sku in skus if sku not in stock]:
        stock |= {row["sku"]: row["quantity"] for row in ledger.run(db, "fulfillment.afn_stock", skus=missing)}
    return stock


def _near_skus(ledger: FeedLedger, db: psycopg.Connection[Any], unknown: list[str]) -> dict[str, tuple[str, ...]]:
    """SKUs of the pool that may have been meant by some that are not in it."""
    ways = ["\n".join(spellings(sku)) for sku in unknown]
    rows = ledger.run(db, "fulfillment.near_skus", skus=unknown, spellings=ways) if unknown else []
    return {sku: nearest(sku, [row["sku"] for row in rows if row["wanted"] == sku]) for sku in unknown}


def _freeze(
    ledger: FeedLedger,
    db: psycopg.Connection[Any],
    settings: Fulfillment,
    selection: Selection,
    destination: Destination,
    run_id: str,
    ready: list[FulfillmentRequest],
    claim: Claim,
) -> None:
    """Claim as many of the ready requests as one feed holds."""
    feed = assemble_order_feed(destination.seller_id, ready, settings)
    claim.invalid.update(feed.refused)
    claim.waiting.update(
        (request.fr_number, "ready; the next feed is full, it goes with the one after it") for request in feed.left_over
    )
    claim.claimed = list(feed.messages.values())
    if not claim.claimed:
        return
    if selection.dry_run:
        for number in claim.claimed:
            claim.waiting[number] = "; ".join(filter(None, ("ready; this was a dry run", claim.warnings[number])))
        return
    claim.claim_id = str(uuid.uuid4())
    key = {"claim_id": claim.claim_id}
    ledger.run(
        db, "fulfillment.add_feed", **key, run_id=run_id, message_count=len(feed.messages), **asdict(destination)
    )
    ledger.run(db, "fulfillment.add_messages", **key, message_ids=list(feed.messages), numbers=claim.claimed)
    warnings = [claim.warnings[number] for number in claim.claimed]
    ledger.run(
        db,
        "fulfillment.set_sending",
        **key,
        seller_id=destination.seller_id,
        numbers=claim.claimed,
        warnings=warnings,
    )
