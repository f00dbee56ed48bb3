"""Amazon's feed desk: feeds wait in line by seller and type, are processed one after another, and leave a report."""

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
from sandbox.world.report_desk import QUEUE_SHARE, Document, ReportDesk

INPUT_LIFE = 2 * 86400.0
RESULT_LIFE = 28 * 86400.0


@dataclass(slots=True)
class InputDocument:
    """A feed document to be uploaded: `made_at` in waited seconds; `content` is None before the upload."""

    document_id: str
    content_type: str
    made_at: float
    content: bytes | None = None


@dataclass(slots=True)
class Feed:
    """A feed on its way: `created`, `started` and `ended` are wall times, `asked_at` and `kept_from` waited seconds."""

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
    kept_from: float = 0.0
    result: Document | None = None
    order_ids: tuple[str, ...] = ()

    @property
    def fate_name(self) -> str:
        """What is scripted for this feed, or an empty text."""
        return self.fate.fault if self.fate else ""


class FeedDesk:
    """All feeds and their documents. Not locked by itself: the world's lock guards it."""

    def __init__(self, orders: OrderDesk, reports: ReportDesk) -> None:
        self.orders = orders
        self.agenda = orders.agenda
        self.clock = orders.clock
        self.reports = reports
        self.feeds: dict[tuple[str, str], Feed] = {}
        self.inputs: dict[tuple[str, str], InputDocument] = {}
        self._lines: dict[tuple[str, str], list[Feed]] = {}
        self._first_id = 70_000_000_000_001 + self.clock.started_ms

    def of_seller(self, seller_id: str | None) -> list[Feed]:
        """A seller's feeds (None: everybody's), newest first."""
        return [feed for (owner, _), feed in reversed(self.feeds.items()) if seller_id in (None, owner)]

    def make_input(self, merchant: Merchant, content_type: str) -> InputDocument:
        """A place for the content of a feed."""
        document_id = f"amzn1.tortuga.4.na.{secrets.token_hex(16)}"
        document = InputDocument(document_id, content_type, self.clock.waited())
        self.inputs[merchant.seller_id, document_id] = document
        return document

    def input(self, merchant: Merchant, document_id: str) -> InputDocument | None:
        """A feed document of a seller that has not lapsed."""
        document = self.inputs.get((merchant.seller_id, document_id))
        if document is None or self.clock.waited() - document.made_at >= INPUT_LIFE:
            return None
        return document

    def create(
        self, merchant: Merchant, feed_type: str, marketplace_ids: tuple[str, ...], content: bytes, fate: Fault | None
    ) -> Feed:
        """Take a feed in, behind those of the same seller and type."""
        number = self._first_id + sum(1 for owner, _ in self.feeds if owner == merchant.seller_id)
        created = float(int(self.clock.wall()))
        feed = Feed(
            str(number), merchant, feed_type, marketplace_ids, content, fate, created, asked_at=self.clock.waited()
        )
        self.feeds[merchant.seller_id, feed.feed_id] = feed
        line = self._lines.setdefault((merchant.seller_id, feed_type), [])
        line.append(feed)
        if len(line) == 1:
            self._call_next(line, feed.asked_at)
        return feed

    def withdraw(self, feed: Feed) -> None:
        """Cancel a feed that is still in the queue."""
        self._end(feed, "CANCELLED", self.clock.waited())

    def _call_next(self, line: list[Feed], now: float) -> None:
        if line:
            due = max(now, line[0].asked_at + self.reports.processing_seconds * QUEUE_SHARE)
            self.agenda.at(due, partial(self._start, line[0]))

    def _start(self, feed: Feed, due: float) -> None:
        if feed.status != "IN_QUEUE":
            return
        if feed.fate_name == "cancelled":
            self._end(feed, "CANCELLED", due)
            return
        feed.status, feed.started = "IN_PROGRESS", max(feed.created, self.clock.wall_at(due))
        self.agenda.at(due + self.reports.processing_seconds * (1 - QUEUE_SHARE), partial(self._finish, feed))

    def _finish(self, feed: Feed, due: float) -> None:
        self._process(feed, due)
        self._end(feed, "FATAL" if feed.fate_name.startswith("fatal_") else "DONE", due)

    def _end(self, feed: Feed, status: str, due: float) -> None:
        feed.status, feed.kept_from = status, due
        feed.ended = max(feed.started or feed.created, self.clock.wall_at(due))
        line = self._lines[feed.merchant.seller_id, feed.feed_type]
        first = line[0] is feed
        line.remove(feed)
        if first:
            self._call_next(line, due)

    # Processing.

    def _process(self, feed: Feed, due: float) -> None:
        place = feed.marketplace_ids[0]
        try:
            messages = feed_xml.read(feed.content, feed.feed_type, feed.merchant.seller_id, place)
        except feed_xml.IllFormedError as problem:
            self._condemn(feed, str(problem))
            return
        feed.order_ids = tuple(message.order_id for message in messages)
        fate = feed.fate_name
        if fate == "message_zero":
            self._condemn(feed, "We are unable to process the XML feed because one or more items are invalid.")
            return
        if fate == "fatal_none":
            messages = []
        elif fate == "fatal_some":
            messages = messages[::2]
        results: list[Result] = []
        for message in messages:
            refusals = self._judge(feed, message, due)
            results += [Result(message.message_id, "Error", one.code, one.text, one.sku) for one in refusals]
            if fate == "warnings" and not refusals:
                text = "The order was accepted; its delivery may take longer than usual."
                results.append(Result(message.message_id, "Warning", "14001", text))
        if fate == "message_zero_some":
            results.append(Result(0, "Error", "6024", "A part of the document could not be processed."))
        if fate.startswith("fatal_"):
            if feed.fate and feed.fate.with_document:
                self._keep(feed, b'{"errorDetails": "The feed could not be processed."}', False)
        elif fate == "unreadable_result":
            self._keep(feed, b"<?xml version='1.0'?>\n<AmazonEnvelope><Message><Process", True)
        elif fate != "missing_result":
            processed = len(messages) - (fate == "wrong_counts")
            self._report(feed, processed, results)

    def _judge(self, feed: Feed, message: feed_xml.Message, due: float) -> list[Refusal]:
        desk, merchant = self.orders, feed.merchant
        text = "We are unable to process the XML feed because one or more items are invalid. "
        schema = [Refusal("6024", text + wrong) for wrong in message.wrong]
        if feed.feed_type == feed_xml.CANCEL_FEED:
            why = None if schema else desk.cancel(merchant, message.order_id)
            return schema + [Refusal("13060", one) for one in (why,) if one]
        if message.order is None:
            return desk.receive(merchant, message.order_id, schema)
        return desk.place(merchant, message.order, due)

    def _condemn(self, feed: Feed, text: str) -> None:
        self._report(feed, 0, [Result(0, "Error", "5000", text)])

    def _report(self, feed: Feed, processed: int, results: list[Result]) -> None:
        content = processing_report(feed.merchant.seller_id, feed.feed_id, processed, results)
        self._keep(feed, content, feed.fate_name != "plain_result")

    def _keep(self, feed: Feed, content: bytes, compressed: bool) -> None:
        written: Future[bytes] = Future()
        written.set_result(gzip.compress(content, mtime=0) if compressed else content)
        document_id = f"amzn1.tortuga.4.na.{secrets.token_hex(16)}"
        feed.result = Document(
            document_id,
            feed.merchant.seller_id,
            feed.feed_type,
            written,
            compressed,
            compressed,
            "text/xml; charset=UTF-8",
        )
        self.reports.documents[document_id] = feed.result

    # Showing.

    def shown(self, feed: Feed) -> dict[str, Any]:
        """A feed as getFeed answers it."""
        shown: dict[str, Any] = {
            "feedId": feed.feed_id,
            "feedType": feed.feed_type,
            "marketplaceIds": list(feed.marketplace_ids),
            "createdTime": iso(feed.created),
            "processingStatus": feed.status,
        }
        if feed.started is not None:
            shown["processingStartTime"] = iso(feed.started)
        if feed.ended is not None:
            shown["processingEndTime"] = iso(feed.ended)
            if feed.result is not None:
                shown["resultFeedDocumentId"] = feed.result.document_id
        return shown

    def result(self, merchant: Merchant, document_id: str) -> Document | None:
        """A result document of this seller that is still kept."""
        for feed in self.of_seller(merchant.seller_id):
            if feed.result is not None and feed.result.document_id == document_id:
                kept = self.clock.waited() - feed.kept_from < RESULT_LIFE
                return feed.result if kept and feed.ended is not None and feed.fate_name != "expired_result" else None
        return None
