"""Settling: find out what became of a feed, whichever run made it, and of orders whose result Amazon did not report.

An order sent twice costs the merchant money, an order lost costs a customer. So a request is sent again only when
Amazon certainly has no order of it, and it is accepted only when Amazon says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.operations import Feed, FulfillmentOrder
from fba_operators.amazon.processing_status import ProcessingStatus
from fba_operators.errors import (
    DamagedDocumentError,
    DecisionNeededError,
    RequestRefusedError,
    UnavailableError,
)
from fba_operators.fulfillment.amazon_orders import compare_with_request
from fba_operators.fulfillment.feed_xml import FEED_TYPE
from fba_operators.fulfillment.ledger import FeedLedger
from fba_operators.fulfillment.left_out import LeftOut, UnansweredError
from fba_operators.fulfillment.memory import FEED_PATIENCE, LOOK_BACK, QUIET_TIME, REACH, Clocks, may_be_of
from fba_operators.fulfillment.processing_report import ReportError, Verdict, judge_messages, parse_processing_report
from fba_operators.fulfillment.request import Move, counts_by_status, listed_numbers, units_by_sku
from fba_operators.reports.lines import unzipped
from fba_operators.runs.summary import counted
from fba_operators.words import MOST_OF_A_NAME, words

A_DAY = timedelta(days=1)
BETWEEN_LISTS = timedelta(minutes=10)
MAX_ATTEMPTS = 3
RESULTS_KEPT = timedelta(days=28)  # by Amazon, since 2024-05-30
MAX_RESULT_BYTES = 64 * 2**20  # of a processing report; that of 1,000 messages has less than one hundredth

STUCK = (
    f"it was sent {MAX_ATTEMPTS} times or more and Amazon has no order of it. Look in Seller Central under this number, "
    "then set status to pending (to send it again), accepted or rejected"
)
_HUNG = (
    "it may be in feed {feed}, which Amazon has not finished for hours, and is not sent again while it can still become an "
    "order. Ask Amazon's support about the feed; to send it again all the same, set status to pending"
)


@dataclass
class Outcome:
    """What a task changed.

    :param moved: how many requests came to each status
    :param sentences: for the run's summary
    :param waiting: why feeds cannot be settled yet
    :param stuck: FR numbers a person has to decide about, as found out now
    :param given_up: those of them that no run looks for any more
    :param not_cancelled: how many orders Amazon would not cancel
    :param left_out: for what Amazon fails
    """

    moved: Counter[str] = field(default_factory=Counter)
    sentences: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    not_cancelled: int = 0
    left_out: LeftOut = field(default_factory=LeftOut)

    def add_moves(self, moves: Iterable[Move]) -> None:
        """Count requests that changed."""
        self.moved.update(move.status for move in moves)


def settle_feed(hook: SellingPartnerHook, ledger: FeedLedger, feed: dict[str, Any], outcome: Outcome) -> None:
    """Find out what became of a feed and its requests, as far as that can be known now.

    :param feed: its row in the ledger
    :param outcome: collects what was recorded, also when an error ends the work in the middle
    :raises UnavailableError: Amazon does not answer; everything found out so far is recorded
    :raises DecisionNeededError: the connection leads elsewhere now, where orders prove nothing about this feed
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
    undecided = [
        row
        for row in ledger.requests(claim_id)
        if row["status"] in ("submitted", "unknown") and row["claim_id"] == row["feed_claim_id"]
    ]
    if not undecided:  # a person has set them
        ledger.close_if_settled(claim_id)
        return
    nowhere = {"marketplace_id": None, "endpoint": None}
    check_destination(
        hook, ledger, undecided, [feed, *({**nowhere, "seller_id": row["seller_id"]} for row in undecided)]
    )
    ended = feed["judged_at"] or feed["feed_id"] is None or _apply_processing_report(hook, ledger, feed, outcome)
    feed = ledger.get(claim_id)
    if ended and feed["settled_at"] is None:
        look_up_unknown(hook, ledger, feed, outcome)
    if feed["set_aside_at"] is None and ledger.now() - feed["submit_started_at"] >= FEED_PATIENCE:
        ledger.set_aside(claim_id)


def check_destination(
    hook: SellingPartnerHook, ledger: FeedLedger, rows: list[dict[str, Any]], places: Iterable[Mapping[str, Any]]
) -> None:
    """Refuse to look for orders where they were not sent: they would be absent, and be sent again.

    :param rows: requests in flight, with their claims
    :param places: where they were sent: seller_id, marketplace_id and endpoint, None where that is not known
    :raises DecisionNeededError: the connection leads elsewhere now
    """
    here = asdict(hook.destination)
    sent: dict[str, set[str | None]] = {name: {place[name] for place in places} - {None, here[name]} for name in here}
    names = {"seller_id": "seller", "marketplace_id": "marketplace", "endpoint": "host"}
    others = {names[name]: (sorted(map(str, there)), here[name]) for name, there in sent.items() if there}
    if not others:
        return
    what = " and ".join(others)
    reason = (
        f"it was sent by another {what} than the connection's; look in that seller's Seller Central under this number"
    )
    numbers: dict[str, list[str]] = {}
    for row in rows:
        numbers.setdefault(str(row["claim_id"]), []).append(row["fr_number"])
    for claim_id, of_claim in numbers.items():
        ledger.record_of_another_seller(claim_id, of_claim, reason)
    told = "; ".join(f"sent to {name} {', '.join(there)}, now {now}" for name, (there, now) in others.items())
    raise DecisionNeededError(
        f"{hook.conn_id}: {counted(len(rows), 'request was', 'requests were')} sent by another {what} than the "
        f"connection's. Nothing is sent until they are settled: put the {what} of then back into the connection, or, if that "
        "is gone, look in that seller's Seller Central and set the requests' status in fba.fulfillment_request to "
        "accepted or rejected",
        detail=f"{told}; {listed_numbers([row['fr_number'] for row in rows])}",
    )


# The processing report


def _apply_processing_report(
    hook: SellingPartnerHook, ledger: FeedLedger, feed: dict[str, Any], outcome: Outcome
) -> bool:
    """Ask for the state of a feed whose id createFeed itself gave, and apply its processing report; False if it goes on."""
    claim_id, feed_id = feed["claim_id"], feed["feed_id"]
    requests = ledger.requests(claim_id)
    sent = [row["message_id"] for row in requests]
    status = feed["status"]
    if feed["finished_at"] is None:  # else a task that waited has recorded the end
        try:
            with outcome.left_out.asking(hook, feed_id, "feed"):
                state = hook.get_feed(feed_id)
        except UnansweredError:
            return False
        except RequestRefusedError:
            gone = f"Amazon does not show feed {feed_id} any more"
            _record_verdicts(ledger, feed, _all_unknown(sent, gone), None, gone, outcome)
            return True
        if not state.is_documented or not state.finished:
            waiting = counted(feed["message_count"], "request waits", "requests wait")
            undocumented = "" if state.is_documented else ", a status that Amazon does not document"
            outcome.waiting.append(
                f"{waiting} for feed {feed_id}, which is {words(state.processing_status, MOST_OF_A_NAME)}{undocumented}."
            )
        if not state.is_documented:
            return False
        status = ledger.record_state(claim_id, state)
        if not status.finished:
            return False
    if status == ProcessingStatus.CANCELLED:
        released = ledger.record_cancelled(claim_id)
        outcome.moved["pending"] += released
        outcome.sentences.append(
            f"Amazon cancelled feed {feed_id} unprocessed; {counted(released, 'request is', 'requests are')} pending again."
        )
        return True
    document: bytes | None = None
    doubt: str | None = None
    try:
        with outcome.left_out.asking(hook, feed_id, "feed"):
            document = download_processing_report(hook, ledger.get(claim_id), ledger.now())
        verdicts = judge_messages(parse_processing_report(document), sent)
        verdicts |= _behind_rejections(hook, ledger, feed, requests, verdicts, outcome)
    except UnansweredError:
        return False
    except ReportError as error:
        doubt = str(error)
        verdicts = _all_unknown(sent, doubt)
    _record_verdicts(ledger, feed, verdicts, document, doubt, outcome)
    return True


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


def _behind_rejections(
    hook: SellingPartnerHook,
    ledger: FeedLedger,
    feed: dict[str, Any],
    requests: list[dict[str, Any]],
    verdicts: Mapping[int, Verdict],
    outcome: Outcome,
) -> dict[int, Verdict]:
    """Look behind every rejection: Amazon also rejects a number because it has the order already.

    It was sent before, and that answer, or the warehouse's memory of it, was lost.
    """
    # Amazon's quota may end the work in the middle: a number that it did not know is not asked for again.
    rejected = {
        row["fr_number"]: row["message_id"]
        for row in requests
        if verdicts[row["message_id"]].outcome == "rejected"
        and not (row["looked_up_at"] and row["looked_up_at"] > feed["submit_started_at"])
    }
    found: dict[int, Verdict] = {}
    for number, ordered in _ordered_units(ledger, list(rejected)).items():
        ledger.check_lock()
        try:
            with outcome.left_out.asking(hook, number):
                order = hook.find_fulfillment_order(number)
        except (RequestRefusedError, UnansweredError) as error:
            found[rejected[number]] = Verdict("unknown", description=f"rejected, and its order is not shown: {error}")
            continue
        if order is None:  # the rejection stands
            ledger.run_alone("fulfillment.record_looked_up", number=number)
            continue
        move = compare_with_request(order, number, ordered, hook.marketplace.id)
        if move.status == "invalid":
            ledger.run_alone("fulfillment.add_order_at_amazon", number=number)
            found[rejected[number]] = Verdict("rejected", description=move.reason)
        else:
            found[rejected[number]] = Verdict("accepted" if move.status == "accepted" else "unknown")
    return found


def _all_unknown(sent: list[int], doubt: str) -> dict[int, Verdict]:
    return {message_id: Verdict("unknown", description=doubt) for message_id in sent}


def download_processing_report(hook: SellingPartnerHook, feed: dict[str, Any], now: datetime) -> bytes:
    """Return the processing report of a finished feed, decompressed.

    :param now: by the database's clock
    :raises ReportError: there is none, it is gone, or it cannot be read
    :raises UnavailableError: Amazon does not answer
    """
    document_id = feed["result_document_id"]
    if not document_id:
        raise ReportError(f"the feed is {feed['status']} and has no processing report")
    if feed["finished_at"] and now - feed["finished_at"] > RESULTS_KEPT:
        raise ReportError("the processing report is older than the 28 days for which Amazon keeps it")
    doubt: Exception | None = None
    for last in (False, True):  # a URL may have expired, a download may have been cut
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
                if last or error.operation is None:  # the warehouse, or the store's lock
                    raise
                continue
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
    unknown = {
        row["fr_number"]: row
        for row in ledger.requests(claim_id)
        if row["status"] == "unknown" and row["claim_id"] == claim_id
    }
    if not unknown:
        ledger.close_if_settled(claim_id)
        return
    clocks = Clocks.read(hook, ledger)
    reason, hung = _when_listed(hook, ledger, feed, clocks)
    if reason:
        ledger.record_absent(claim_id, list(unknown), absent=False)
        which = f"feed {feed['feed_id']}" if feed["feed_id"] else "a feed whose submission Amazon did not answer"
        requests = counted(len(unknown), f"request of {which} is", f"requests of {which} are")
        outcome.waiting.append(f"{requests} unknown and looked up later: {reason}.")
        return
    since = Clocks.read(hook, ledger).amazons(feed["submit_started_at"] - LOOK_BACK)
    listed = {
        order.seller_fulfillment_order_id if order else None for order in hook.list_all_fulfillment_orders(since=since)
    }
    _resolve_found(hook, ledger, claim_id, [number for number in unknown if number in listed], outcome)
    # An order that cannot be read may be of any request that is not listed.
    absent = set() if None in listed else {number for number in unknown if number not in listed}
    _resolve_absent(hook, ledger, claim_id, unknown, absent, hung, outcome)
    if not ledger.close_if_settled(claim_id, outcome.given_up):
        left = sum(row["status"] == "unknown" for row in ledger.requests(claim_id))
        outcome.waiting.append(
            f"{counted(left, 'request is', 'requests are')} unknown; Amazon's list of orders is read again "
            f"after {BETWEEN_LISTS.seconds // 60} minutes."
        )


def _when_listed(
    hook: SellingPartnerHook, ledger: FeedLedger, feed: dict[str, Any], clocks: Clocks
) -> tuple[str | None, str | None]:
    """Why Amazon's list of orders may not be complete yet, or None; and a feed that hangs and may be this one, or None."""
    intent = feed["submit_started_at"]
    last = max(intent, feed["finished_at"] or intent)
    hung = None
    if clocks.now >= last + QUIET_TIME and feed["feed_id"] is None:
        for other, ended in _may_be_it(hook, ledger, intent, clocks):
            if other is None:
                return "a feed in Amazon's list cannot be read, and may still be being processed", None
            if not other.finished and clocks.now - intent < FEED_PATIENCE:
                return f"feed {other.feed_id} is still being processed", None
            if not other.finished:
                hung = other.feed_id
                continue
            last = max(last, ended)
    if clocks.now < last + QUIET_TIME:
        minutes = QUIET_TIME.seconds // 60
        return f"{minutes} minutes after the last feed, at {last + QUIET_TIME:%Y-%m-%d %H:%M} UTC", None
    return None, hung


def _may_be_it(
    hook: SellingPartnerHook, ledger: FeedLedger, intent: datetime, clocks: Clocks
) -> Iterable[tuple[Feed | None, datetime]]:
    """Feeds at Amazon that may be the one whose id was lost, and when they ended by our clock; None: it cannot be read.

    Only those made around the intent: createFeed is called within a minute of it, or not at all. What other programs send
    later prolongs nothing.
    """
    since = max(intent - A_DAY, clocks.now - REACH)  # Amazon's clock is known only with its answer
    listed = list(hook.get_feeds(FEED_TYPE, created_since=clocks.amazons(since)))
    clocks = Clocks.read(hook, ledger)  # with the Date of Amazon's answer
    ids = [other.feed_id for other in listed if other]
    known = {row["feed_id"] for row in ledger.run_alone("fulfillment.known_feeds", feed_ids=ids)}
    for other in listed:
        if other is None:
            yield None, clocks.now
        elif other.feed_id not in known:
            created = clocks.ours(other.created_time) if other.created_time else intent
            ended = clocks.ours(other.processing_end_time) if other.processing_end_time else created
            if may_be_of(intent, created):
                yield other, min(ended, clocks.now)


def _ordered_units(ledger: FeedLedger, numbers: list[str]) -> dict[str, Counter[str]]:
    """FR number → units of each SKU that the request orders."""
    return {
        number: units_by_sku((item.sku, item.quantity) for item in items)
        for number, items in ledger.items_of(numbers).items()
    }


def _resolve_found(
    hook: SellingPartnerHook, ledger: FeedLedger, claim_id: str, numbers: list[str], outcome: Outcome
) -> None:
    """Record what became of unknown requests under whose numbers Amazon has an order."""
    found: list[Move] = []
    try:
        for number in numbers:
            try:
                with outcome.left_out.asking(hook, number):
                    order = hook.find_fulfillment_order(number)
            except (RequestRefusedError, UnansweredError):
                continue  # listed, but not shown: the next run looks again
            if order:
                found += _record_order(hook, ledger, claim_id, number, order, outcome)
    finally:
        _report_found(found, outcome)


def _record_order(
    hook: SellingPartnerHook,
    ledger: FeedLedger,
    claim_id: str,
    number: str,
    order: FulfillmentOrder,
    outcome: Outcome,
) -> list[Move]:
    """Record one order at once: after an error in the middle, what was found stays recorded."""
    ordered = _ordered_units(ledger, [number])[number]
    move = compare_with_request(order, number, ordered, hook.marketplace.id)
    if move.status == "unknown":
        outcome.stuck += ledger.record_stuck(claim_id, [number], move.reason or "")
        return []
    if move.status == "invalid":
        ledger.run_alone("fulfillment.add_order_at_amazon", number=number)
    return ledger.resolve_unknown([move], claim_id)


def _report_found(found: list[Move], outcome: Outcome) -> None:
    outcome.add_moves(found)
    if found:
        by_status = counts_by_status(Counter(move.status for move in found))
        outcome.sentences.append(f"Found among Amazon's orders: {by_status}.")


def _resolve_absent(
    hook: SellingPartnerHook,
    ledger: FeedLedger,
    claim_id: str,
    unknown: dict[str, Any],
    absent: set[str],
    hung: str | None,
    outcome: Outcome,
) -> None:
    """Send again what two complete lists, some time apart, lack and what getFulfillmentOrder does not find either."""
    now = ledger.now()
    first_time = [number for number in absent if unknown[number]["absent_since"] is None]
    again = sorted(
        number for number in absent - set(first_time) if unknown[number]["absent_since"] <= now - BETWEEN_LISTS
    )
    ledger.record_absent(claim_id, first_time, absent=True)
    ledger.record_absent(claim_id, [number for number in unknown if number not in absent], absent=False)
    pending: list[str] = []
    found: list[Move] = []
    try:
        for number in again:
            # One by one: Amazon's quota may end the work in the middle, and what was found out must not be asked again.
            try:
                with outcome.left_out.asking(hook, number):
                    order = hook.find_fulfillment_order(number)
            except (RequestRefusedError, UnansweredError):
                continue  # no answer to the question: the next run asks again
            if order:
                found += _record_order(hook, ledger, claim_id, number, order, outcome)
            elif hung:
                # It may still become an order, days later: sent again it could be two.
                outcome.stuck += ledger.record_stuck(claim_id, [number], _HUNG.format(feed=hung))
            else:
                row = unknown[number]
                given_up = STUCK if row["attempts"] + 1 >= MAX_ATTEMPTS else None
                if not ledger.record_not_arrived(claim_id, number, row["absent_since"], given_up):
                    continue  # somebody else has gone on with it
                if given_up:
                    outcome.given_up.append(number)
                    outcome.stuck.append(number)
                else:
                    pending.append(number)
    finally:
        _report_found(found, outcome)
        if pending:
            outcome.moved["pending"] += len(pending)
            requests = counted(
                len(pending), "request never reached Amazon and is", "requests never reached Amazon and are"
            )
            outcome.sentences.append(f"{requests} pending again: {listed_numbers(pending)}.")
