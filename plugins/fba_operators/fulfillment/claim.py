"""Claiming: every pending request is validated, and those that are ready are frozen for the next feed, or as orders.

One transaction decides and freezes: from then on nobody can change a request until it is settled.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg

from fba_operators.amazon.credentials import Destination
from fba_operators.amazon.marketplaces import marketplace
from fba_operators.fulfillment.feed_xml import assemble_order_feed
from fba_operators.fulfillment.ledger import FeedLedger
from fba_operators.fulfillment.memory import Doubt, in_the_way, unanswered
from fba_operators.fulfillment.near_skus import nearest, spellings, worth_a_look
from fba_operators.fulfillment.order_json import digest, order_json
from fba_operators.fulfillment.quote import FRESH, Quote, choose, is_approved, needs_approval
from fba_operators.fulfillment.release import Waiting, due
from fba_operators.fulfillment.request import NEEDS_APPROVAL, FulfillmentRequest
from fba_operators.fulfillment.validation import validate
from fba_operators.fulfillment.wishes import features_of
from fba_operators.reports.report_types import AFN_INVENTORY, LISTINGS
from fba_operators.settings.models import Fulfillment

PAGE = 2000  # pending requests in memory at a time
AN_HOUR = timedelta(hours=1)
A_DAY = timedelta(days=1)  # that the clock of the system which writes requests may be ahead, time zones included
MAX_ORDERS = 1000  # of one run; at Amazon's rate of two a second they take about eight minutes
LONGEST_HOLD = timedelta(days=13)  # Amazon lets one lapse after 14 days
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


@dataclass(frozen=True)
class Ready:
    """A request that may be sent now.

    :param request: with the speed it is sent with
    :param features: Amazon's names of its wishes
    :param quoted_at: when the quote was made that it goes with; None without one
    :param held: Amazon is to hold it until it is due
    """

    request: FulfillmentRequest
    features: tuple[str, ...]
    quoted_at: datetime | None = None
    held: bool = False


@dataclass
class Claim:
    """The result of validating the pending requests.

    :param claim_id: of the feed, or of the orders, that were made, or None
    :param seen: how many requests were pending
    :param claimed: FR numbers of the feed
    :param invalid: FR number → reason
    :param waiting: FR number → why it waits
    :param held: those of them that wait for a time that stores.yaml sets, or for a run by hand
    :param warnings: FR number → warnings, for requests that are ready
    :param asks: those that wait for a person's approval
    :param newly_asks: those of them that did not wait for it before
    :param speeds: FR number → the speed that was chosen by its quotes
    :param unquoted: requests that are ready but for a fresh quote
    """

    claim_id: str | None = None
    seen: int = 0
    claimed: list[str] = field(default_factory=list)
    invalid: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    warnings: dict[str, str] = field(default_factory=dict)
    asks: set[str] = field(default_factory=set)
    newly_asks: set[str] = field(default_factory=set)
    speeds: dict[str, str] = field(default_factory=dict)
    unquoted: list[Ready] = field(default_factory=list)


def survey(
    ledger: FeedLedger, settings: Fulfillment, selection: Selection, destination: Destination, doubt: Doubt
) -> tuple[list[Ready], list[Ready]]:
    """Find the requests that may be sent now, and those that lack only a fresh quote; nothing is recorded."""
    claim = Claim()
    with ledger.connect() as db:
        (now,) = ledger.run(db, "fulfillment.now")
        ready = _validate_pending(ledger, db, settings, selection, destination, claim, doubt, now["now"])
        db.rollback()
    return ready, claim.unquoted


def claim_requests(
    ledger: FeedLedger,
    settings: Fulfillment,
    selection: Selection,
    *,
    destination: Destination,
    run_id: str,
    doubt: Doubt | None = None,
) -> Claim:
    """Validate every pending request of a store and make one feed, or orders, of those that are ready.

    A feed that this run claimed before and that was not submitted is returned again, and so are orders that were not sent.

    :param doubt: why requests may be at Amazon already; see :mod:`.memory`
    """
    with ledger.connect() as db:
        ledger.lock(db)
        feed = next((each for each in ledger.run(db, "fulfillment.open_feeds") if not each["set_aside_at"]), None)
        if not selection.dry_run and (again := _claimed_before(ledger, db, feed, run_id)):
            return again
        claim = Claim()
        (now,) = ledger.run(db, "fulfillment.now")
        ready = _validate_pending(ledger, db, settings, selection, destination, claim, doubt or Doubt(), now["now"])
        if ready and settings.transport == "outbound":
            _freeze_orders(ledger, db, settings, selection, destination, run_id, ready, claim)
        elif ready:
            requests = [each.request for each in ready]
            blocked = _why_no_feed_now(ledger, db, feed, selection, now["now"])
            if blocked:
                claim.waiting.update((request.fr_number, blocked) for request in requests)
            else:
                _freeze(ledger, db, settings, selection, destination, run_id, requests, claim)
        _record(ledger, db, claim)
        return claim


def _claimed_before(
    ledger: FeedLedger, db: psycopg.Connection[Any], feed: dict[str, Any] | None, run_id: str
) -> Claim | None:
    """What this run has claimed already and not handed to Amazon."""
    if feed and feed["run_id"] == run_id and feed["submit_started_at"] is None:
        rows = ledger.run(db, "fulfillment.feed_requests", claim_id=feed["claim_id"])
        return Claim(str(feed["claim_id"]), claimed=[row["fr_number"] for row in rows])
    rows = [
        row for row in ledger.run(db, "fulfillment.open_orders") if row["run_id"] == run_id and not row["intent_at"]
    ]
    if rows:
        return Claim(str(rows[0]["batch_id"]), claimed=[row["fr_number"] for row in rows])
    return None


def _record(ledger: FeedLedger, db: psycopg.Connection[Any], claim: Claim) -> None:
    """Write why requests are invalid or wait, and which speed was chosen."""
    ledger.run(db, "fulfillment.set_invalid", numbers=list(claim.invalid), reasons=list(claim.invalid.values()))
    ledger.run(
        db,
        "fulfillment.set_waiting",
        numbers=list(claim.waiting),
        reasons=list(claim.waiting.values()),
        held=[number in claim.held for number in claim.waiting],
        asks=[number in claim.asks for number in claim.waiting],
    )
    ledger.run(db, "fulfillment.choose_quotes", numbers=list(claim.speeds), speeds=list(claim.speeds.values()))


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
) -> list[Ready]:
    """Sort the pending requests into invalid, waiting and (returned) ready."""
    ready: list[Ready] = []
    place = marketplace(destination.marketplace_id)
    types = [LISTINGS.name, AFN_INVENTORY.name]
    as_of = ledger.run(db, "fulfillment.inventory_as_of", report_types=types)[0]["as_of"]
    refused = {
        (row["feature"], row["sku"]): row["reasons"]
        for row in ledger.run(db, "fulfillment.features")
        if not row["eligible"]
    }
    not_said = unanswered(ledger, db)
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
        blocked = in_the_way(ledger, destination.seller_id, numbers, db)
        quotes = ledger.run(db, "fulfillment.quotes", numbers=numbers, fresh=FRESH.total_seconds())
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
            found = validate(
                request, settings, country=place.country, stock=stock, inventory_as_of=as_of, near_skus=near
            )
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
            features = features_of(request, settings)
            reasons += tuple(_refused_features(request, features, refused))
            timed = _not_before(request, settings, selection, now)
            held = _may_be_held(timed, settings, now)
            if reasons:
                claim.invalid[number] = "; ".join(reasons)
            elif found.waiting or (timed and not held):
                claim.waiting[number] = "; ".join(str(wait) for wait in (found.waiting, timed) if wait)
                claim.held |= set() if found.waiting else {number}
            elif number in at_amazon:
                claim.waiting[number] = "ready; Amazon may have an order of this number, which is looked at first"
            elif number in blocked:
                claim.waiting[number] = blocked[number]
            elif number in not_said:
                claim.waiting[number] = f"ready; {not_said[number]}; every run asks again"
            elif why := doubt.why_held(row["inserted_at"]):
                claim.waiting[number] = f"ready; {why}"
            else:
                claim.warnings[number] = "; ".join(found.warnings)
                own_quotes = [quote for quote in quotes if quote["fr_number"] == number]
                if one := _priced(
                    Ready(request, features, held=held), settings, own_quotes, row, claim, place.currency
                ):
                    ready.append(one)
    return ready


def _refused_features(
    request: FulfillmentRequest, features: tuple[str, ...], refused: dict[tuple[str, str], str | None]
) -> Iterator[str]:
    """Why Amazon will not ship it as it wishes, as far as Amazon has said so."""
    for feature in features:
        if (feature, "") in refused:
            yield f"Amazon does not offer {feature} to this seller"
        for sku in dict.fromkeys(item.sku for item in request.items):
            if (feature, sku) in refused:
                yield f"SKU {sku}: Amazon does not offer {feature} ({refused[feature, sku] or 'no reason given'})"


def _may_be_held(timed: Waiting | None, settings: Fulfillment, now: datetime) -> bool:
    """Whether Amazon can reserve the stock until the request is due."""
    return settings.reserve and timed is not None and timed.until is not None and timed.until - now < LONGEST_HOLD


def _priced(
    one: Ready, settings: Fulfillment, quotes: list[dict[str, Any]], row: dict[str, Any], claim: Claim, currency: str
) -> Ready | None:
    """The request with its speed; None if it waits for a quote or an approval, or Amazon cannot fulfil it."""
    request = one.request
    number, method = request.fr_number, settings.shipping_methods[request.shipping_method or ""]
    if not settings.quotes(request.shipping_method):
        return replace(one, request=replace(request, speed=method))
    if not quotes or sorted(quotes[0]["features"]) != sorted(one.features):
        claim.unquoted.append(one)
        claim.waiting[number] = "ready; Amazon is asked for its fees and dates first"
        return None
    told = [
        Quote(**{name: value for name, value in each.items() if name not in ("fr_number", "quoted_at", "features")})
        for each in quotes
    ]
    choice = choose(method, told, request.deliver_by)
    if choice.impossible:
        claim.invalid[number] = choice.impossible
        return None
    if choice.quote is None:
        claim.unquoted.append(one)
        claim.waiting[number] = f"ready; Amazon's quotes do not say whether {method} can be had; every run asks again"
        return None
    claim.speeds[number] = choice.quote.speed
    why = needs_approval(request, choice.quote, settings.approval, choice.doubts, currency=currency)
    if why and not is_approved(choice.quote, approved_at=row["approved_at"], approved_fee=row["approved_fee"]):
        claim.waiting[number] = f"{NEEDS_APPROVAL}: {'; '.join(why)}"
        claim.held.add(number)
        claim.asks.add(number)
        claim.newly_asks |= set() if row["approval_asked_at"] and not row["approved_at"] else {number}
        return None
    return replace(one, request=replace(request, speed=choice.quote.speed), quoted_at=quotes[0]["quoted_at"])


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
    speeds = {request.fr_number: request.speed for request in ready}
    _set_sending(ledger, db, claim, destination, "feed", [claim.claim_id] * len(claim.claimed), speeds)


def _freeze_orders(
    ledger: FeedLedger,
    db: psycopg.Connection[Any],
    settings: Fulfillment,
    selection: Selection,
    destination: Destination,
    run_id: str,
    ready: list[Ready],
    claim: Claim,
) -> None:
    """Claim as many of the ready requests as one run sends, each for itself."""
    chosen, later = ready[:MAX_ORDERS], ready[MAX_ORDERS:]
    claim.waiting.update((each.request.fr_number, "ready; the next run sends it") for each in later)
    claim.claimed = [each.request.fr_number for each in chosen]
    if selection.dry_run:
        for number in claim.claimed:
            claim.waiting[number] = "; ".join(filter(None, ("ready; this was a dry run", claim.warnings[number])))
        return
    claim.claim_id = str(uuid.uuid4())
    claim_ids = [str(uuid.uuid4()) for _ in chosen]
    place = destination.marketplace_id
    orders = [
        order_json(each.request, settings, each.features, marketplace_id=place, held=each.held) for each in chosen
    ]
    ledger.run(
        db,
        "fulfillment.add_orders",
        batch_id=claim.claim_id,
        run_id=run_id,
        claim_ids=claim_ids,
        numbers=claim.claimed,
        features=[",".join(each.features) for each in chosen],
        held=[each.held for each in chosen],
        digests=[digest(order).hex() for order in orders],
        quoted=[each.quoted_at for each in chosen],
        **asdict(destination),
    )
    speeds = {each.request.fr_number: each.request.speed for each in chosen}
    _set_sending(ledger, db, claim, destination, "outbound", claim_ids, speeds)


def _set_sending(
    ledger: FeedLedger,
    db: psycopg.Connection[Any],
    claim: Claim,
    destination: Destination,
    transport: str,
    claim_ids: list[str],
    speeds: dict[str, str | None],
) -> None:
    ledger.run(
        db,
        "fulfillment.set_sending",
        seller_id=destination.seller_id,
        transport=transport,
        claim_ids=claim_ids,
        numbers=claim.claimed,
        speeds=[speeds[number] for number in claim.claimed],
        warnings=[claim.warnings[number] for number in claim.claimed],
    )
