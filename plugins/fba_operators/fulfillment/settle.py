"""Settling: find out what became of a feed, whichever run made it, and of orders whose result Amazon did not report.

An order sent twice costs the merchant money, an order lost costs a customer. So a request is sent again only when
Amazon certainly has no order of it, and it is accepted only when Amazon says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.operations import FulfillmentOrder
from fba_operators.amazon.processing_status import ProcessingStatus
from fba_operators.errors import DamagedDocumentError, DecisionNeededError, RequestRefusedError, UnavailableError
from fba_operators.fulfillment.amazon_orders import compare_with_request
from fba_operators.fulfillment.feed_xml import FEED_TYPE
from fba_operators.fulfillment.ledger import FeedLedger
from fba_operators.fulfillment.processing_report import ReportError, Verdict, judge_messages, parse_processing_report
from fba_operators.fulfillment.request import Move, counts_by_status, listed_numbers, units_by_sku
from fba_operators.reports.lines import unzipped
from fba_operators.runs.summary import counted

CLOCK_SKEW = timedelta(minutes=5)
QUIET_TIME = timedelta(minutes=30)  # after the last feed ended; then its orders are in Amazon's list
BETWEEN_LISTS = timedelta(minutes=10)
LOOK_BACK = timedelta(hours=1)  # before the intent, when listing orders
MAX_ATTEMPTS = 3
RESULTS_KEPT = timedelta(days=28)  # by Amazon, since 2024-05-30
LIST_REACH = timedelta(days=89)  # getFeeds looks back 90 days
MAX_RESULT_BYTES = 64 * 2**20  # of a processing report; that of 1,000 messages has less than one hundredth

_STUCK = (
    f"it was sent {MAX_ATTEMPTS} times or more and Amazon has no order of it. Look in Seller Central under this number, "
    "then set status to pending (to send it again), accepted or rejected"
)


@dataclass
class Outcome:
    """What a task changed.

    :param moved: how many requests came to each status
    :param sentences: for the run's summary
    :param waiting: why the feed cannot be settled yet, or None
    :param stuck: FR numbers a person has to decide about
    :param not_cancelled: how many orders Amazon would not cancel
    """

    moved: Counter[str] = field(default_factory=Counter)
    sentences: list[str] = field(default_factory=list)
    waiting: str | None = None
    stuck: list[str] = field(default_factory=list)
    not_cancelled: int = 0

    def add_moves(self, moves: Iterable[Move]) -> None:
        """Count requests that changed."""
        self.moved.update(move.status for move in moves)


def settle_feed(hook: SellingPartnerHook, ledger: FeedLedger, feed: dict[str, Any], outcome: Outcome) -> None:
    """Find out what became of a feed and its requests, as far as that can be known now.

    :param feed: its row in the ledger
    :param outcome: collects what was recorded, also when an error ends the work in the middle
    :raises UnavailableError: Amazon does not answer; everything found out so far is recorded
    :raises DecisionNeededError: the connection has become another seller's, whose orders prove nothing about this feed
    """
    claim_id = feed["claim_id"]
    if feed["submit_started_at"] is None:
        released = ledger.release(claim_id)
        outcome.moved["pending"] += released
        if released:
            requests = counted(
                released,
                "request of a feed that was never submitted is",
                "requests of a feed that was never submitted are",
            )
            outcome.sentences.append(f"{requests} pending again.")
        return
    if feed["feed_id"] is None:
        outcome.moved["unknown"] += ledger.record_lost_answer(claim_id)
    undecided = [row for row in ledger.requests(claim_id) if row["status"] in ("submitted", "unknown")]
    if not undecided:  # a person has set them
        ledger.close_if_settled(claim_id)
        return
    _check_seller(hook, undecided)
    if feed["feed_id"] and feed["judged_at"] is None:
        _apply_processing_report(hook, ledger, feed, outcome)
        if outcome.waiting:
            return
    feed = ledger.get(claim_id)
    if feed["settled_at"] is None:
        look_up_unknown(hook, ledger, feed, outcome)


def _check_seller(hook: SellingPartnerHook, requests: list[dict[str, Any]]) -> None:
    """Refuse to look for one seller's orders at another: they would be absent, and be sent again."""
    others = sorted({row["seller_id"] for row in requests} - {hook.seller_id, None})
    if others:
        numbers = listed_numbers([row["fr_number"] for row in requests])
        raise DecisionNeededError(
            f"{hook.conn_id}: {counted(len(requests), 'request was', 'requests were')} sent by another seller than the "
            "connection's. Nothing is sent until they are settled: put the credentials of that seller back, or, if they "
            "are gone, look in that seller's Seller Central and set the requests' status in fba.fulfillment_request to "
            "accepted or rejected",
            detail=f"sent by {', '.join(others)}, now {hook.seller_id}; {numbers}",
        )


# The processing report


def _apply_processing_report(
    hook: SellingPartnerHook, ledger: FeedLedger, feed: dict[str, Any], outcome: Outcome
) -> None:
    """Ask for the state of a feed whose id createFeed itself gave, and apply its processing report."""
    claim_id, feed_id = feed["claim_id"], feed["feed_id"]
    requests = ledger.requests(claim_id)
    sent = [row["message_id"] for row in requests]
    status = feed["status"]
    if feed["finished_at"] is None:  # else a task that waited has recorded the end
        try:
            status = ledger.record_state(claim_id, hook.get_feed(feed_id))
        except RequestRefusedError:
            gone = f"Amazon does not know the feed {feed_id} any more"
            _record_verdicts(ledger, feed, _all_unknown(sent, gone), None, gone, outcome)
            return
    if not ProcessingStatus(status).finished:
        outcome.waiting = (
            f"{counted(feed['message_count'], 'request waits', 'requests wait')} for feed {feed_id}, which is {status}."
        )
        return
    if status == ProcessingStatus.CANCELLED:
        released = ledger.record_cancelled(claim_id)
        outcome.moved["pending"] += released
        outcome.sentences.append(
            f"Amazon cancelled feed {feed_id} unprocessed; {counted(released, 'request is', 'requests are')} pending again."
        )
        return
    document: bytes | None = None
    doubt: str | None = None
    try:
        document = download_processing_report(hook, ledger.get(claim_id))
        verdicts = judge_messages(parse_processing_report(document), sent)
        verdicts |= _accepted_earlier(hook, ledger, [row for row in requests if row["attempts"]], verdicts)
    except ReportError as error:
        doubt = str(error)
        verdicts = _all_unknown(sent, doubt)
    _record_verdicts(ledger, feed, verdicts, document, doubt, outcome)


def _record_verdicts(
    ledger: FeedLedger,
    feed: dict[str, Any],
    verdicts: dict[int, Verdict],
    document: bytes | None,
    doubt: str | None,
    outcome: Outcome,
) -> None:
    moves = ledger.record_verdicts(feed["claim_id"], verdicts, document)
    moved = Counter(move.status for move in moves)
    outcome.moved.update(moved)
    if moved or doubt:
        reason = f" ({doubt})" if doubt else ""
        outcome.sentences.append(f"Feed {feed['feed_id']}: {counts_by_status(moved) or 'nothing changed'}{reason}.")


def _accepted_earlier(
    hook: SellingPartnerHook, ledger: FeedLedger, requests: list[dict[str, Any]], verdicts: Mapping[int, Verdict]
) -> dict[int, Verdict]:
    """Find rejected requests that were sent before and did arrive then, which is why Amazon rejects them now."""
    rejected = {
        row["fr_number"]: row["message_id"] for row in requests if verdicts[row["message_id"]].outcome == "rejected"
    }
    accepted = {}
    for number, ordered in _ordered_units(ledger, list(rejected)).items():
        try:
            order = hook.get_fulfillment_order(number)
        except RequestRefusedError:
            continue  # Amazon has no such order: the rejection stands
        if compare_with_request(order, number, ordered, hook.marketplace.id).status == "accepted":
            accepted[rejected[number]] = Verdict("accepted")
    return accepted


def _all_unknown(sent: list[int], doubt: str) -> dict[int, Verdict]:
    return {message_id: Verdict("unknown", description=doubt) for message_id in sent}


def download_processing_report(hook: SellingPartnerHook, feed: dict[str, Any]) -> bytes:
    """Return the processing report of a finished feed, decompressed.

    :raises ReportError: there is none, it is gone, or it cannot be read
    :raises UnavailableError: Amazon does not answer
    """
    document_id = feed["result_document_id"]
    if not document_id:
        raise ReportError(f"the feed is {feed['status']} and has no processing report")
    if feed["finished_at"] and datetime.now(UTC) - feed["finished_at"] > RESULTS_KEPT:
        raise ReportError("the processing report is older than the 28 days for which Amazon keeps it")
    doubt: Exception | None = None
    for _ in range(2):  # a URL may have expired, a download may have been cut
        try:
            return _limited(unzipped(_limited_chunks(hook.download_feed_result(document_id).chunks)))
        except RequestRefusedError:
            raise ReportError("Amazon does not have the processing report any more") from None
        except DamagedDocumentError:
            doubt = ReportError("the processing report is not readable gzip")
        except ReportError as error:
            doubt = error
        except UnavailableError as error:
            if error.status not in (403, 404, 410):
                raise
            doubt = ReportError("Amazon's storage does not give the processing report out")
    raise doubt or AssertionError


def _limited_chunks(chunks: Iterable[bytes]) -> Iterable[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_RESULT_BYTES:
            raise ReportError(f"the processing report is larger than {MAX_RESULT_BYTES} bytes")
        yield chunk


def _limited(chunks: Iterable[bytes]) -> bytes:
    return b"".join(_limited_chunks(chunks))


# Orders whose result Amazon did not report


def look_up_unknown(hook: SellingPartnerHook, ledger: FeedLedger, feed: dict[str, Any], outcome: Outcome) -> None:
    """Look for the unknown requests of a feed among Amazon's orders.

    :param outcome: collects what was recorded
    """
    claim_id = feed["claim_id"]
    unknown = {row["fr_number"]: row for row in ledger.requests(claim_id) if row["status"] == "unknown"}
    if not unknown:
        ledger.close_if_settled(claim_id)
        return
    if reason := _why_too_soon(hook, feed):
        ledger.record_absent(list(unknown), absent=False)
        which = f"feed {feed['feed_id']}" if feed["feed_id"] else "a feed whose submission Amazon did not answer"
        requests = counted(len(unknown), f"request of {which} is", f"requests of {which} are")
        outcome.waiting = f"{requests} unknown and looked up later: {reason}."
        return
    listed = {
        order.seller_fulfillment_order_id if order else None
        for order in hook.list_all_fulfillment_orders(since=feed["submit_started_at"] - LOOK_BACK)
    }
    _resolve_found(hook, ledger, [number for number in unknown if number in listed], outcome)
    # An order that cannot be read may be of any request that is not listed.
    absent = set() if None in listed else {number for number in unknown if number not in listed}
    _resolve_absent(hook, ledger, unknown, absent, outcome)
    if not ledger.close_if_settled(claim_id, outcome.stuck):
        left = sum(row["status"] == "unknown" for row in ledger.requests(claim_id))
        outcome.waiting = (
            f"{counted(left, 'request is', 'requests are')} unknown; Amazon's list of orders is read again "
            f"after {BETWEEN_LISTS.seconds // 60} minutes."
        )


def _why_too_soon(hook: SellingPartnerHook, feed: dict[str, Any]) -> str | None:
    """Why Amazon's list of orders may not be complete yet, or None."""
    intent = feed["submit_started_at"]
    last = max(intent, feed["finished_at"] or intent)
    now = datetime.now(UTC)
    if now >= last + QUIET_TIME:
        since = max(intent - CLOCK_SKEW, now - LIST_REACH)
        for other in hook.get_feeds(FEED_TYPE, created_since=since):
            if not other:
                return "a feed in Amazon's list cannot be read, and may still be being processed"
            if not other.finished:
                return f"feed {other.feed_id} is still being processed"
            ended = other.processing_end_time or other.created_time
            last = max(last, ended) if ended else last
    if now < last + QUIET_TIME:
        return f"{QUIET_TIME.seconds // 60} minutes after the last feed, at {last + QUIET_TIME:%Y-%m-%d %H:%M} UTC"
    return None


def _ordered_units(ledger: FeedLedger, numbers: list[str]) -> dict[str, Counter[str]]:
    """FR number → units of each SKU that the request orders."""
    return {
        number: units_by_sku((item.sku, item.quantity) for item in items)
        for number, items in ledger.items_of(numbers).items()
    }


def _resolve_found(hook: SellingPartnerHook, ledger: FeedLedger, numbers: list[str], outcome: Outcome) -> None:
    """Record what became of unknown requests under whose numbers Amazon has an order."""
    found: list[Move] = []
    try:
        for number in numbers:
            try:
                order = hook.get_fulfillment_order(number)
            except RequestRefusedError:
                continue  # listed, but not shown: the next run looks again
            found += _record_order(hook, ledger, number, order)
    finally:
        _report_found(found, outcome)


def _record_order(hook: SellingPartnerHook, ledger: FeedLedger, number: str, order: FulfillmentOrder) -> list[Move]:
    """Record one order at once: after an error in the middle, what was found stays recorded."""
    ordered = _ordered_units(ledger, [number])[number]
    return ledger.resolve_unknown([compare_with_request(order, number, ordered, hook.marketplace.id)])


def _report_found(found: list[Move], outcome: Outcome) -> None:
    outcome.add_moves(found)
    if found:
        by_status = counts_by_status(Counter(move.status for move in found))
        outcome.sentences.append(f"Found among Amazon's orders: {by_status}.")


def _resolve_absent(
    hook: SellingPartnerHook, ledger: FeedLedger, unknown: dict[str, Any], absent: set[str], outcome: Outcome
) -> None:
    """Send again what two complete lists, some time apart, lack and what getFulfillmentOrder does not find either."""
    now = datetime.now(UTC)
    first_time = [number for number in absent if unknown[number]["absent_since"] is None]
    again = sorted(
        number for number in absent - set(first_time) if unknown[number]["absent_since"] <= now - BETWEEN_LISTS
    )
    ledger.record_absent(first_time, absent=True)
    ledger.record_absent([number for number in unknown if number not in absent], absent=False)
    pending: list[str] = []
    found: list[Move] = []
    try:
        for number in again:
            # One by one: Amazon's quota may end the work in the middle, and what was found out must not be asked again.
            try:
                order = hook.get_fulfillment_order(number)
            except RequestRefusedError:  # the usual answer: there is no such order
                if unknown[number]["attempts"] + 1 >= MAX_ATTEMPTS:
                    ledger.record_not_arrived(number, _STUCK)
                    outcome.stuck.append(number)
                else:
                    ledger.record_not_arrived(number, None)
                    pending.append(number)
            else:
                found += _record_order(hook, ledger, number, order)
    finally:
        _report_found(found, outcome)
        if pending:
            outcome.moved["pending"] += len(pending)
            requests = counted(
                len(pending), "request never reached Amazon and is", "requests never reached Amazon and are"
            )
            outcome.sentences.append(f"{requests} pending again: {listed_numbers(pending)}.")
