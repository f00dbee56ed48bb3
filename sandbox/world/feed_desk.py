"""Feed processing: one queue per seller and feed type, one feed at a time, and a processing report for each.

A feed that hangs stays unfinished until it is released; later ones pass it, unless its hang blocks them.
"""

import gzip
import secrets
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from sandbox.clock import iso
from sandbox.documents import feed_xml
from sandbox.documents.processing_report import Result, processing_report
from sandbox.merchant.merchant import Merchant
from sandbox.merchant.order_request import Refusal
from sandbox.merchant.orders import OrderDesk
from sandbox.world.faults import Fault
from sandbox.world.hangs import Hang, Hangs
from sandbox.world.report_desk import QUEUE_SHARE, Document, ReportDesk

INPUT_RETENTION_SECONDS = 2 * 86400.0
RESULT_RETENTION_SECONDS = 28 * 86400.0


@dataclass(slots=True)
class InputDocument:
    """A feed document; `created_at` is in simulated seconds, `content` is None until the upload."""

    document_id: str
    content_type: str
    created_at: float
    content: bytes | None = None


@dataclass(slots=True)
class Feed:
    """A feed.

    `created`, `started` and `ended` are wall times. `asked_at` (when createFeed was called) and `retained_from` (when
    the retention of the result began) are simulated seconds. `fate` is the scripted fault that decides how the feed
    ends, `hang` what keeps it from ending. `foreign`: another program of the seller submitted it.
    """

    feed_id: str
    merchant: Merchant
    feed_type: str
    marketplace_ids: tuple[str, ...]
    content: bytes
    fate: Fault | None
    created: float
    asked_at: float
    status: str = "IN_QUEUE"
    started: float | None = None
    ended: float | None = None
    retained_from: float = 0.0
    result: Document | None = None
    order_ids: tuple[str, ...] = ()
    hang: Hang | None = None
    foreign: bool = False

    @property
    def fate_name(self) -> str:
        """The name of the feed's fate, or an empty string."""
        return self.fate.fault if self.fate else ""


class FeedDesk:
    """All feeds and their documents, keyed by (seller id, id). Not thread-safe: callers hold the world's lock."""

    def __init__(self, orders: OrderDesk, reports: ReportDesk) -> None:
        self.orders = orders
        self.events = orders.events
        self.clock = orders.clock
        self.reports = reports
        self.feeds: dict[tuple[str, str], Feed] = {}
        self.inputs: dict[tuple[str, str], InputDocument] = {}
        self.hangs = Hangs()
        self._queues: dict[tuple[str, str], list[Feed]] = {}
        self._first_id = 70_000_000_000_001 + self.clock.started_ms

    def of_seller(self, seller_id: str | None) -> list[Feed]:
        """A seller's feeds (None: all sellers'), newest first."""
        return [feed for (owner, _), feed in reversed(self.feeds.items()) if seller_id in (None, owner)]

    def create_input_document(self, merchant: Merchant, content_type: str) -> InputDocument:
        """Create an empty feed document that accepts an upload of `content_type`."""
        document_id = f"amzn1.tortuga.4.na.{secrets.token_hex(16)}"
        document = InputDocument(document_id, content_type, self.clock.waited())
        self.inputs[merchant.seller_id, document_id] = document
        return document

    def input_document(self, merchant: Merchant, document_id: str) -> InputDocument | None:
        """Return a seller's feed document, or None if there is none or its retention period is over."""
        document = self.inputs.get((merchant.seller_id, document_id))
        if document is None or self.clock.waited() - document.created_at >= INPUT_RETENTION_SECONDS:
            return None
        return document

    def create(
        self, merchant: Merchant, feed_type: str, marketplace_ids: tuple[str, ...], content: bytes, fate: Fault | None
    ) -> Feed:
        """Add a feed to the queue of its seller and type."""
        feed = self._add(merchant, feed_type, marketplace_ids, content, fate)
        feed.hang = self.hangs.take_due(merchant.seller_id, feed_type)
        self._enqueue(feed)
        return feed

    def add_foreign(
        self, merchant: Merchant, feed_type: str, marketplace_id: str, content: bytes, status: str, *, hangs: bool
    ) -> Feed:
        """Add a feed that another program submitted.

        With IN_QUEUE it waits for its turn, with IN_PROGRESS it is processed beside the queue; `hangs`: it stays so
        until it is released. With any other status it has ended so.
        """
        fate = Fault("createFeed", "fatal_none") if status == "FATAL" else None
        feed = self._add(merchant, feed_type, (marketplace_id,), content, fate)
        feed.foreign, feed.hang = True, Hang(status) if hangs else None
        if status == "IN_QUEUE" and not hangs:
            self._enqueue(feed)
        elif status == "CANCELLED":
            self._set_final_status(feed, status, feed.asked_at)
        elif status != "IN_QUEUE":
            feed.status, feed.started = "IN_PROGRESS", feed.created
            if status != "IN_PROGRESS":
                self._finish(feed, feed.asked_at)
            elif not hangs:
                self._schedule_finish(feed, feed.asked_at)
        return feed

    def _add(
        self, merchant: Merchant, feed_type: str, marketplace_ids: tuple[str, ...], content: bytes, fate: Fault | None
    ) -> Feed:
        number = self._first_id + sum(1 for owner, _ in self.feeds if owner == merchant.seller_id)
        created = float(int(self.clock.wall()))
        feed = Feed(
            str(number), merchant, feed_type, marketplace_ids, content, fate, created, asked_at=self.clock.waited()
        )
        self.feeds[merchant.seller_id, feed.feed_id] = feed
        return feed

    def hung(self, seller_id: str | None) -> list[Feed]:
        """The feeds of a seller (None: of all sellers) that hang, newest first."""
        return [feed for feed in self.of_seller(seller_id) if feed.hang is not None and feed.ended is None]

    def release(self, feed: Feed) -> None:
        """Let a hung feed go on: it is processed like any other, after those that are in the queue by now."""
        feed.hang = None
        queue, now = self._queue(feed), self.clock.waited()
        if feed.status == "IN_PROGRESS":
            self._schedule_finish(feed, now)
        elif feed not in queue:
            self._enqueue(feed)
        elif queue[0] is feed:
            self._schedule_next(queue, now)

    def _queue(self, feed: Feed) -> list[Feed]:
        return self._queues.setdefault((feed.merchant.seller_id, feed.feed_type), [])

    def _enqueue(self, feed: Feed) -> None:
        queue = self._queue(feed)
        queue.append(feed)
        if len(queue) == 1:
            self._schedule_next(queue, self.clock.waited())

    def cancel(self, feed: Feed) -> None:
        """Cancel a feed whose status is IN_QUEUE."""
        self._set_final_status(feed, "CANCELLED", self.clock.waited())

    def _schedule_next(self, queue: list[Feed], now: float) -> None:
        if queue:
            due = max(now, queue[0].asked_at + self.reports.processing_seconds * QUEUE_SHARE)
            self.events.schedule(due, partial(self._start, queue[0]))

    def _start(self, feed: Feed, due: float) -> None:
        if feed.status != "IN_QUEUE":
            return
        hang = feed.hang
        if hang is None and feed.fate_name == "cancelled":
            self._set_final_status(feed, "CANCELLED", due)
            return
        if hang is None or hang.status == "IN_PROGRESS":
            feed.status, feed.started = "IN_PROGRESS", max(feed.created, self.clock.wall_at(due))
        if hang is None:
            self._schedule_finish(feed, due)
        elif not hang.blocks:
            self._leave_queue(feed, due)

    def _schedule_finish(self, feed: Feed, due: float) -> None:
        self.events.schedule(due + self.reports.processing_seconds * (1 - QUEUE_SHARE), partial(self._finish, feed))

    def _finish(self, feed: Feed, due: float) -> None:
        if feed.fate_name == "cancelled":
            self._set_final_status(feed, "CANCELLED", due)
            return
        self._process_messages(feed, due)
        self._set_final_status(feed, "FATAL" if feed.fate_name.startswith("fatal_") else "DONE", due)

    def _set_final_status(self, feed: Feed, status: str, due: float) -> None:
        feed.status, feed.retained_from = status, due
        feed.ended = max(feed.started or feed.created, self.clock.wall_at(due))
        self._leave_queue(feed, due)

    def _leave_queue(self, feed: Feed, due: float) -> None:
        queue = self._queue(feed)
        if feed not in queue:
            return
        was_first = queue[0] is feed
        queue.remove(feed)
        if was_first:
            self._schedule_next(queue, due)

    # Processing

    def _process_messages(self, feed: Feed, due: float) -> None:
        marketplace_id = feed.marketplace_ids[0]
        try:
            messages = feed_xml.read(feed.content, feed.feed_type, feed.merchant.seller_id, marketplace_id)
        except feed_xml.IllFormedError as error:
            self._reject_document(feed, str(error))
            return
        feed.order_ids = tuple(message.order_id for message in messages)
        fate = feed.fate_name
        if fate == "message_zero":
            self._reject_document(feed, "We are unable to process the XML feed because one or more items are invalid.")
            return
        if fate == "fatal_none":
            messages = []
        elif fate == "fatal_some":
            messages = messages[::2]
        results: list[Result] = []
        for message in messages:
            refusals = self._handle_message(feed, message, due)
            results += [
                Result(message.message_id, "Error", refusal.code, refusal.text, refusal.sku) for refusal in refusals
            ]
            if fate == "warnings" and not refusals:
                text = "The order was accepted; its delivery may take longer than usual."
                results.append(Result(message.message_id, "Warning", "14001", text))
        if fate == "message_zero_some":
            results.append(Result(0, "Error", "6024", "A part of the document could not be processed."))
        if fate.startswith("fatal_"):
            if feed.fate and feed.fate.with_document:
                self._store_result(feed, b'{"errorDetails": "The feed could not be processed."}', False)
        elif fate == "unreadable_result":
            self._store_result(feed, b"<?xml version='1.0'?>\n<AmazonEnvelope><Message><Process", True)
        elif fate != "missing_result":
            processed = len(messages) - (fate == "wrong_counts")
            self._store_processing_report(feed, processed, results)

    def _handle_message(self, feed: Feed, message: feed_xml.Message, due: float) -> list[Refusal]:
        desk, merchant = self.orders, feed.merchant
        text = "We are unable to process the XML feed because one or more items are invalid. "
        refusals = [Refusal("6024", text + error) for error in message.schema_errors]
        if feed.feed_type == feed_xml.CANCEL_FEED:
            reason = None if refusals else desk.cancel(merchant, message.order_id)
            return [Refusal("13060", reason)] if reason else refusals
        if message.order is None:
            return desk.record_request(merchant, message.order_id, refusals)
        return desk.place(merchant, message.order, due)

    def _reject_document(self, feed: Feed, text: str) -> None:
        self._store_processing_report(feed, 0, [Result(0, "Error", "5000", text)])

    def _store_processing_report(self, feed: Feed, processed: int, results: list[Result]) -> None:
        content = processing_report(feed.merchant.seller_id, feed.feed_id, processed, results)
        self._store_result(feed, content, feed.fate_name != "plain_result")

    def _store_result(self, feed: Feed, content: bytes, compressed: bool) -> None:
        written: Future[bytes] = Future()
        written.set_result(gzip.compress(content, mtime=0) if compressed else content)
        document_id = f"amzn1.tortuga.4.na.{secrets.token_hex(16)}"
        feed.result = Document(
            document_id,
            feed.merchant.seller_id,
            feed.feed_type,
            written,
            compressed,
            "text/xml; charset=UTF-8",
        )
        self.reports.documents[document_id] = feed.result

    # Answers of the Feeds API

    def shown(self, feed: Feed) -> dict[str, Any]:
        """Return a feed as getFeed answers it."""
        answer: dict[str, Any] = {
            "feedId": feed.feed_id,
            "feedType": feed.feed_type,
            "marketplaceIds": list(feed.marketplace_ids),
            "createdTime": iso(feed.created),
            "processingStatus": feed.status,
        }
        if feed.started is not None:
            answer["processingStartTime"] = iso(feed.started)
        if feed.ended is not None:
            answer["processingEndTime"] = iso(feed.ended)
            if feed.result is not None:
                answer["resultFeedDocumentId"] = feed.result.document_id
        return answer

    def result_document(self, merchant: Merchant, document_id: str) -> Document | None:
        """Return a result document of this seller, or None if there is none or its retention period is over."""
        for feed in self.of_seller(merchant.seller_id):
            if feed.result is not None and feed.ended is not None and feed.result.document_id == document_id:
                is_retained = self.clock.waited() - feed.retained_from < RESULT_RETENTION_SECONDS
                return feed.result if is_retained and feed.fate_name != "expired_result" else None
        return None
