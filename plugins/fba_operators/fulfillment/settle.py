"""Finding out what became of a feed, whichever run made it, and of orders of which Amazon said nothing.

An order sent twice costs the merchant money, an order lost costs a customer. So a request is sent again only when Amazon
certainly has no order of it, and it is called accepted only when Amazon says so.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.trigger import FINISHED, UNFINISHED
from fba_operators.errors import DecisionNeededError, RequestRefusedError, UnavailableError
from fba_operators.fulfillment.feed_xml import FEED_TYPE, ReportError, Verdict, judge, parse_processing_report
from fba_operators.fulfillment.ledger import FeedLedger, Move
from fba_operators.fulfillment.validation import FR_NUMBER

CLOCK_SKEW = timedelta(minutes=5)
QUIET = timedelta(minutes=30)  # after the last feed ended; then its orders are in Amazon's list
BETWEEN_LISTS = timedelta(minutes=10)
LOOK_BACK = timedelta(hours=1)  # before the intent, when listing orders
MAX_ATTEMPTS = 3
RESULTS_KEPT = timedelta(days=28)  # by Amazon, since 2024-05-30
FEEDS_KEPT = timedelta(days=89)  # getFeeds looks back 90 days at most
MAX_RESULT = 64 * 2**20  # bytes of a processing report; that of 1,000 messages has less than one hundredth
NAMED = 10  # FR numbers in a sentence

# What Amazon's status of an order means for a request; every other status is an order that goes its way.
_ENDED = {"Cancelled": "cancelled", "Invalid": "rejected", "Unfulfillable": "rejected"}

_STUCK = (
    f"it was sent {MAX_ATTEMPTS} times or more and Amazon has no order of it. Look in Seller Central under this number, "
    "then set status to pending (to send it again), accepted or rejected"
)


@dataclass
class Outcome:
    """What settling changed.

    :param moved: how many requests came to each status
    :param told: sentences for the run's summary
    :param waiting: why the feed cannot be settled yet, or None
    :param stuck: FR numbers a person has to decide about
    :param refused: how many orders Amazon would not cancel
    """

    moved: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    waiting: str | None = None
    stuck: list[str] = field(default_factory=list)
    refused: int = 0

    def add(self, other: Outcome) -> None:
        """Take in what something else changed."""
        self.moved.update(other.moved)
        self.told += other.told
        self.waiting = self.waiting or other.waiting
        self.stuck += other.stuck
        self.refused += other.refused


def named(numbers: list[str]) -> str:
    """Name some FR numbers for a log; one that is not of Amazon's form could be anything and is left out."""
    shown = [number for number in numbers if FR_NUMBER.fullmatch(number)][:NAMED]
    more = len(numbers) - len(shown)
    return ", ".join(shown + ([f"{more} more" if shown else f"{more} without a usable number"] if more else []))


def counted(moved: Counter[str]) -> str:
    """Say how many requests came to which status."""
    return ", ".join(f"{number} {status}" for status, number in moved.items() if number)


def settle_feed(hook: SellingPartnerHook, ledger: FeedLedger, feed: dict[str, Any], outcome: Outcome) -> None:
    """Find out what became of a feed and its requests, as far as that can be known now.

    :param feed: its row in the ledger
    :param outcome: takes in what was written down, also where the rest could not be found out
    :raises UnavailableError: Amazon does not answer; everything found out so far is written down
    :raises DecisionNeededError: the connection has become another seller's, whose orders say nothing about this feed
    """
    claim_id = feed["claim_id"]
    if feed["submit_started_at"] is None:
        released = ledger.release(claim_id)
        told = f"{released} requests of a feed that was never submitted are pending again."
        outcome.add(Outcome(Counter(pending=released), [told] if released else []))
        return
    if feed["feed_id"] is None:
        outcome.moved["unknown"] += ledger.lost(claim_id)
    undecided = [row for row in ledger.requests(claim_id) if row["status"] in ("submitted", "unknown")]
    if not undecided:  # somebody has set them by hand
        ledger.close_if_known(claim_id)
        return
    _check_seller(hook, undecided)
    if feed["feed_id"] and feed["judged_at"] is None:
        outcome.add(_ask(hook, ledger, feed))
        if outcome.waiting:
            return
    feed = ledger.get(claim_id)
    if feed["settled_at"] is None:
        _look_for_unknown(hook, ledger, feed, outcome)


def _check_seller(hook: SellingPartnerHook, requests: list[dict[str, Any]]) -> None:
    """Refuse to look for one seller's orders at another: they would be absent, and be sent again."""
    others = sorted({row["seller_id"] for row in requests} - {hook.seller_id, None})
    if others:
        raise DecisionNeededError(
            f"{hook.conn_id}: {len(requests)} requests were sent by another seller than the connection's. Nothing is sent "
            "until they are settled: put the credentials of that seller back, or, if they are gone, look in that seller's "
            "Seller Central and set the requests' status in fba.fulfillment_request to accepted or rejected",
            detail=f"sent by {', '.join(others)}, now {hook.seller_id}; {named([row['fr_number'] for row in requests])}",
        )


def _ask(hook: SellingPartnerHook, ledger: FeedLedger, feed: dict[str, Any]) -> Outcome:
    """Ask for the state of a feed that createFeed itself named, and apply its processing report."""
    claim_id, feed_id = feed["claim_id"], feed["feed_id"]
    requests = ledger.requests(claim_id)
    sent = [row["message_id"] for row in requests]
    status = feed["status"]
    if feed["finished_at"] is None:  # else the wait has written the end down
        try:
            status = ledger.note(claim_id, hook.get_feed(feed_id))
        except RequestRefusedError:
            gone = f"Amazon does not know the feed {feed_id} any more"
            return _told(feed_id, ledger.judge(claim_id, _all_unknown(sent, gone), None), gone)
    if status in UNFINISHED:
        return Outcome(waiting=f"{feed['message_count']} requests wait for feed {feed_id}, which is {status}.")
    if status == "CANCELLED":
        released = ledger.cancelled(claim_id)
        told = f"Amazon cancelled feed {feed_id} unprocessed; its {released} requests are pending again."
        return Outcome(Counter(pending=released), [told])
    document: bytes | None = None
    doubt: str | None = None
    try:
        document = read_result(hook, ledger.get(claim_id))
        verdicts = judge(parse_processing_report(document), sent)
        verdicts |= _sent_before(hook, ledger, [row for row in requests if row["attempts"]], verdicts)
    except ReportError as error:
        doubt = str(error)
        verdicts = _all_unknown(sent, doubt)
    return _told(feed_id, ledger.judge(claim_id, verdicts, document), doubt)


def _sent_before(
    hook: SellingPartnerHook, ledger: FeedLedger, requests: list[dict[str, Any]], verdicts: dict[int, Verdict]
) -> dict[int, Verdict]:
    """Look behind the rejection of a request that was sent before: it may be rejected because it did arrive then."""
    found = {}
    refused = [row for row in requests if verdicts[row["message_id"]].outcome == "rejected"]
    ordered = _ordered(ledger, [row["fr_number"] for row in refused])
    for row in refused:
        number = row["fr_number"]
        try:
            move = _compare(hook, number, {}, ordered[number])
        except RequestRefusedError:
            continue  # Amazon has no such order: the rejection is what it seems
        if move.status == "accepted":
            found[row["message_id"]] = Verdict("accepted")
    return found


def _all_unknown(sent: list[int], doubt: str) -> dict[int, Verdict]:
    return {message_id: Verdict("unknown", description=doubt) for message_id in sent}


def _told(feed_id: str, moves: list[Move], doubt: str | None) -> Outcome:
    moved = Counter(move.status for move in moves)
    told = f"Feed {feed_id}: {counted(moved) or 'nothing changed'}{f' ({doubt})' if doubt else ''}."
    return Outcome(moved, [told] if moved or doubt else [])


def read_result(hook: SellingPartnerHook, feed: dict[str, Any]) -> bytes:
    """Return the processing report of a finished feed, not compressed.

    :raises ReportError: there is none, it is gone, or it cannot be read
    :raises UnavailableError: Amazon does not answer
    """
    document_id = feed["result_document_id"]
    if not document_id:
        raise ReportError(f"the feed is {feed['status']} and has no processing report")
    if feed["finished_at"] and datetime.now(UTC) - feed["finished_at"] > RESULTS_KEPT:
        raise ReportError("the processing report is older than the 28 days for which Amazon keeps it")
    doubt: Exception | None = None
    for _ in range(2):  # a URL may have lapsed, a download may have been cut
        try:
            return _unpacked(hook.download_feed_result(document_id).chunks)
        except RequestRefusedError:
            raise ReportError("Amazon does not have the processing report any more") from None
        except ReportError as error:
            doubt = error
        except UnavailableError as error:
            if error.status not in (403, 404, 410):
                raise
            doubt = ReportError("Amazon's storage does not give the processing report out")
    raise doubt or AssertionError


def _unpacked(chunks: Iterator[bytes]) -> bytes:
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > MAX_RESULT:
            raise ReportError(f"the processing report is larger than {MAX_RESULT} bytes")
    if data[:2] != b"\x1f\x8b":
        return bytes(data)
    unpack = zlib.decompressobj(wbits=31)
    try:
        text = unpack.decompress(data, MAX_RESULT)
    except zlib.error:
        raise ReportError("the processing report is not readable gzip") from None
    if not unpack.eof:
        raise ReportError("the processing report is cut off, or larger than it can be")
    return text


def _look_for_unknown(hook: SellingPartnerHook, ledger: FeedLedger, feed: dict[str, Any], outcome: Outcome) -> None:
    """Look for the unknown requests of a feed among the orders Amazon has."""
    claim_id = feed["claim_id"]
    unknown = {row["fr_number"]: row for row in ledger.requests(claim_id) if row["status"] == "unknown"}
    if not unknown:
        ledger.close_if_known(claim_id)
        return
    if reason := _too_soon(hook, feed):
        ledger.note_absent(list(unknown), absent=False)
        which = f"feed {feed['feed_id']}" if feed["feed_id"] else "a feed whose submission Amazon did not answer"
        outcome.waiting = f"{len(unknown)} requests of {which} are unknown and are looked up later: {reason}."
        return
    listed = hook.list_all_fulfillment_orders(since=feed["submit_started_at"] - LOOK_BACK)
    orders = {order.get("sellerFulfillmentOrderId"): order for order in listed}
    _found(hook, ledger, {number: orders[number] for number in unknown if number in orders}, outcome)
    _absent(hook, ledger, unknown, unknown.keys() - orders.keys(), outcome)
    if not ledger.close_if_known(claim_id, outcome.stuck):
        left = sum(row["status"] == "unknown" for row in ledger.requests(claim_id))
        outcome.waiting = (
            f"{left} requests are unknown; Amazon's list of orders is read again "
            f"after {BETWEEN_LISTS.seconds // 60} minutes."
        )


def _too_soon(hook: SellingPartnerHook, feed: dict[str, Any]) -> str | None:
    """Why Amazon's list of orders need not be complete yet, or None."""
    intent = feed["submit_started_at"]
    last = max(intent, feed["finished_at"] or intent)
    now = datetime.now(UTC)
    if now >= last + QUIET:
        since = max(intent - CLOCK_SKEW, now - FEEDS_KEPT)
        for other in hook.get_feeds(FEED_TYPE, created_since=since):
            if other.get("processingStatus") not in FINISHED:
                return f"feed {other.get('feedId')} is still being processed"
            ended = other.get("processingEndTime") or other.get("createdTime")
            last = max(last, datetime.fromisoformat(ended)) if ended else last
    if now < last + QUIET:
        return f"{QUIET.seconds // 60} minutes after the last feed, at {last + QUIET:%Y-%m-%d %H:%M} UTC"
    return None


def _ordered(ledger: FeedLedger, numbers: list[str]) -> dict[str, Counter[str]]:
    with ledger.warehouse.connect() as db:
        items = ledger.items(db, numbers)
    ordered: dict[str, Counter[str]] = {number: Counter() for number in numbers}
    for number, lines in items.items():
        for item in lines:
            ordered[number][item.sku] += item.quantity
    return ordered


def _found(hook: SellingPartnerHook, ledger: FeedLedger, orders: dict[str, dict[str, Any]], outcome: Outcome) -> None:
    """Write down what became of unknown requests for whose numbers Amazon has an order."""
    ordered = _ordered(ledger, list(orders))
    found: Counter[str] = Counter()
    for number, order in orders.items():
        try:
            move = _compare(hook, number, order, ordered[number])
        except RequestRefusedError:
            continue  # listed, but not shown: the next run looks again
        # One by one: after an error in the middle, what was found stays found.
        for moved in ledger.resolve([move]):
            found[moved.status] += 1
            outcome.moved[moved.status] += 1
    if found:
        outcome.told.append(f"Found among Amazon's orders: {counted(found)}.")


def _whole(hook: SellingPartnerHook, number: str) -> dict[str, Any]:
    answer = hook.get_fulfillment_order(number)
    return {**answer["fulfillmentOrder"], "fulfillmentOrderItems": answer.get("fulfillmentOrderItems", [])}


def _compare(hook: SellingPartnerHook, number: str, order: dict[str, Any], ordered: Counter[str]) -> Move:
    if "fulfillmentOrderItems" not in order:  # a list of orders does not have them
        order = _whole(hook, number)
    theirs: Counter[str] = Counter()
    for item in order["fulfillmentOrderItems"]:
        theirs[str(item.get("sellerSku"))] += int(item.get("quantity") or 0)
    status = order.get("fulfillmentOrderStatus")
    if order.get("marketplaceId") != hook.marketplace.id or theirs != ordered:
        return Move(number, "invalid", "FR number already used at Amazon for another order", status)
    ended = _ENDED.get(str(status))
    return Move(number, ended or "accepted", f"Amazon's status of the order is {status}" if ended else None, status)


def _absent(
    hook: SellingPartnerHook, ledger: FeedLedger, unknown: dict[str, Any], absent: set[str], outcome: Outcome
) -> None:
    """Believe that Amazon has no order only when two complete lists, some time apart, lack it, and it cannot be shown."""
    now = datetime.now(UTC)
    once = [number for number in absent if unknown[number]["absent_since"] is None]
    twice = sorted(number for number in absent - set(once) if unknown[number]["absent_since"] <= now - BETWEEN_LISTS)
    ledger.note_absent(once, absent=True)
    ledger.note_absent([number for number in unknown if number not in absent], absent=False)
    again: list[str] = []
    for number in twice:
        # One by one: Amazon's quota may end the work in the middle, and what was found out must not be asked again.
        try:
            order = _whole(hook, number)
        except RequestRefusedError:  # the usual answer: there is no such order
            if unknown[number]["attempts"] + 1 >= MAX_ATTEMPTS:
                ledger.not_arrived(number, _STUCK)
                outcome.stuck.append(number)
            else:
                ledger.not_arrived(number, None)
                again.append(number)
                outcome.moved["pending"] += 1
        else:
            _found(hook, ledger, {number: order}, outcome)
    if again:
        outcome.told.append(f"{len(again)} requests never reached Amazon and are pending again: {named(again)}.")


def cancel_orders(hook: SellingPartnerHook, ledger: FeedLedger, outcome: Outcome) -> None:
    """Ask Amazon to cancel what somebody wants cancelled, each order once.

    :param outcome: takes in what was written down
    """
    cancelled, refused = 0, []
    for row in ledger.to_cancel():
        number = row["fr_number"]
        if row["seller_id"] not in (hook.seller_id, None):  # there the number may be somebody else's order
            ledger.cancel_refused(number, "not cancelled: it was sent by another seller than the connection's")
            refused.append(number)
            outcome.refused += 1
            continue
        try:
            if row["status"] == "unknown" and not _is_ours(hook, ledger, number, outcome):
                continue
            hook.cancel_fulfillment_order(number)
        except RequestRefusedError as error:
            ledger.cancel_refused(number, f"not cancelled: {error.message}")
            refused.append(number)
            outcome.refused += 1
        else:
            ledger.order_cancelled(number)
            cancelled += 1
            outcome.moved["cancelled"] += 1
    if cancelled:
        outcome.told.append(f"{cancelled} orders cancelled.")
    if refused:
        outcome.told.append(f"{len(refused)} orders could not be cancelled: {named(refused)}.")


def _is_ours(hook: SellingPartnerHook, ledger: FeedLedger, number: str, outcome: Outcome) -> bool:
    """Whether the order of an unknown request's number is of that request; one of another is written down."""
    move = _compare(hook, number, {}, _ordered(ledger, [number])[number])
    if move.status == "accepted":
        return True
    outcome.moved.update(moved.status for moved in ledger.resolve([move]))
    return False
