"""Report processing: how and when each report ends (cooldown, cache, fate, override), and the document it produces."""

import secrets
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import Any

from sandbox.clock import Clock, iso
from sandbox.documents import report_text
from sandbox.merchant.merchant import AFN, LISTINGS, REPORT_TYPES, SHIPMENTS, Merchant

COOLDOWN_SECONDS = 1800.0
LISTINGS_CACHE_SECONDS = 3600.0
QUEUE_SHARE = 0.25
MAX_SHIPMENT_WINDOW_SECONDS = 31 * 86400.0
FBA_TYPES = (AFN, SHIPMENTS)


@dataclass(slots=True)
class Document:
    """A document for download.

    `content` are the bytes to serve, which a background thread may still be writing. `declare_gzip`: getReportDocument
    or getFeedDocument says that they are compressed. `report_type` is the type of the report or feed.
    """

    document_id: str
    seller_id: str
    report_type: str
    content: Future[bytes]
    declare_gzip: bool
    content_type: str


@dataclass(slots=True)
class Report:
    """A report and the status it will end with, which is determined when it is created.

    `created` (whole seconds, as in answers and filters), `start` and `end` are wall times. `asked_at` (when
    createReport was called) and `content_time` (when the content was current; earlier if it comes from the cache) are
    simulated seconds. `cacheable`: later listing reports may reuse its content.
    """

    report_id: str
    seller_id: str
    report_type: str
    marketplace_ids: tuple[str, ...]
    start: float
    end: float
    created: float
    asked_at: float
    final_status: str
    document: Document | None
    content_time: float
    cacheable: bool = True
    cancelled_by_seller: bool = False

    @property
    def window(self) -> tuple[float, float] | None:
        """The time window by which two requests differ; None except for shipments reports."""
        return (self.start, self.end) if self.report_type == SHIPMENTS else None


@dataclass(slots=True)
class Override:
    """Bytes to serve as the next report of a type, of one seller or of any (None)."""

    content: bytes
    content_type: str
    declare_gzip: bool
    seller_id: str | None = None


@dataclass(slots=True)
class Request:
    """The validated request of a createReport call; `start` and `end` are wall times."""

    report_type: str
    marketplace_ids: tuple[str, ...]
    start: float | None
    end: float | None
    options: dict[str, str] = field(default_factory=dict)


class ReportDesk:
    """All reports and documents. Not thread-safe: callers hold the world's lock.

    `processing_seconds` is how long a report takes, in simulated seconds. `reports` are keyed by (seller id, report
    id).
    """

    def __init__(self, clock: Clock, processing_seconds: float) -> None:
        self.clock = clock
        self.processing_seconds = processing_seconds
        self.reports: dict[tuple[str, str], Report] = {}
        self.documents: dict[str, Document] = {}
        self.overrides: dict[str, list[Override]] = {}
        self._id_base = 50_000_000_000_000 + clock.started_ms
        self._writers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-writer")

    def close(self) -> None:
        """Stop the background thread that writes documents."""
        self._writers.shutdown(wait=True, cancel_futures=True)

    def of_seller(self, seller_id: str) -> list[Report]:
        """A seller's reports, newest first."""
        return [report for (owner, _), report in reversed(self.reports.items()) if owner == seller_id]

    def create(self, merchant: Merchant, request: Request, scripted_fate: str | None) -> Report:
        """Create a report and determine how it ends; `scripted_fate` is a fate of createReport, or None."""
        asked_at, created = self.clock.waited(), float(int(self.clock.wall()))
        end = created if request.end is None else request.end
        start = min(created, end) if request.start is None else request.start
        merchant.report_count += 1
        report = Report(
            report_id=str(self._id_base + merchant.report_count),
            seller_id=merchant.seller_id,
            report_type=request.report_type,
            marketplace_ids=request.marketplace_ids,
            start=start,
            end=end,
            created=created,
            asked_at=asked_at,
            final_status="DONE",
            document=None,
            content_time=asked_at,
        )
        self._determine_outcome(report, merchant, request, scripted_fate)
        self.reports[report.seller_id, report.report_id] = report
        return report

    def _determine_outcome(
        self, report: Report, merchant: Merchant, request: Request, scripted_fate: str | None
    ) -> None:
        override = self._override_for(report)
        too_long = report.report_type == SHIPMENTS and report.end - report.start > MAX_SHIPMENT_WINDOW_SECONDS
        if scripted_fate == "cancelled" or (
            scripted_fate is None and override is None and self._within_cooldown(report)
        ):
            report.final_status = "CANCELLED"
        elif scripted_fate is not None or too_long:
            report.final_status = "FATAL"
            if scripted_fate != "fatal":
                reason = '{"errorDetails": "The report could not be generated. Please request it again later."}'
                report.document = self._write_document(report, reason.encode, False, "text/plain; charset=UTF-8")
        elif override is not None:
            self.overrides[report.report_type].remove(override)
            report.cacheable = False
            content = override.content
            report.document = self._write_document(
                report, lambda: content, override.declare_gzip, override.content_type
            )
        else:
            self._generate(report, merchant, request)

    def _override_for(self, report: Report) -> Override | None:
        for override in self.overrides.get(report.report_type, []):
            if override.seller_id in (None, report.seller_id):
                return override
        return None

    def _within_cooldown(self, report: Report) -> bool:
        """Whether an equal FBA report was requested within the cooldown and is not cancelled."""
        return report.report_type in FBA_TYPES and any(
            self._same_request(earlier, report)
            and earlier.final_status != "CANCELLED"
            and not earlier.cancelled_by_seller
            and report.asked_at - earlier.asked_at < COOLDOWN_SECONDS
            for earlier in self.of_seller(report.seller_id)
        )

    @staticmethod
    def _same_request(one: Report, other: Report) -> bool:
        return (
            one.report_type == other.report_type
            and sorted(one.marketplace_ids) == sorted(other.marketplace_ids)
            and one.window == other.window
        )

    def _cached_listings(self, report: Report) -> Report | None:
        for earlier in self.of_seller(report.seller_id):
            if (
                earlier.report_type == report.report_type
                and earlier.marketplace_ids[0] == report.marketplace_ids[0]
                and earlier.final_status == "DONE"
                and earlier.cacheable
                and not earlier.cancelled_by_seller
                and report.asked_at - earlier.content_time < LISTINGS_CACHE_SECONDS
            ):
                return earlier
        return None

    def _generate(self, report: Report, merchant: Merchant, request: Request) -> None:
        if report.report_type not in REPORT_TYPES:
            report.final_status = "CANCELLED"
            return
        cached = self._cached_listings(report) if report.report_type == LISTINGS else None
        if cached is not None and cached.document is not None:
            report.content_time = cached.content_time
            document = cached.document
            report.document = self._add_document(report, document.content, document.declare_gzip, document.content_type)
            return
        marketplace_ids = report.marketplace_ids[:1] if report.report_type == LISTINGS else report.marketplace_ids
        catalogues = [merchant.catalogue(m) for m in marketplace_ids]
        if all(catalogue.modes.get(report.report_type) == "no_data" for catalogue in catalogues):
            report.final_status = "CANCELLED"
            return
        prepared = report_text.prepare(
            report.report_type,
            catalogues,
            locale=request.options.get("preferredReportDocumentLocale"),
            window=(report.start, report.end),
        )
        if prepared.empty and not any(c.modes.get(report.report_type) == "empty" for c in catalogues):
            report.final_status = "CANCELLED"
            return
        rendering = catalogues[0].rendering(report.report_type)
        report.document = self._write_document(report, prepared.write, rendering.declare_gzip, rendering.content_type())

    def _write_document(
        self, report: Report, write: Callable[[], bytes], declare_gzip: bool, content_type: str
    ) -> Document:
        return self._add_document(report, self._writers.submit(write), declare_gzip, content_type)

    def _add_document(self, report: Report, content: Future[bytes], declare_gzip: bool, content_type: str) -> Document:
        document_id = f"amzn1.spdoc.1.4.{secrets.token_hex(16)}"
        document = Document(document_id, report.seller_id, report.report_type, content, declare_gzip, content_type)
        self.documents[document_id] = document
        return document

    def status(self, report: Report) -> str:
        """Return the current processing status."""
        age = self.clock.waited() - report.asked_at
        if report.cancelled_by_seller:
            return "CANCELLED"
        if age < self.processing_seconds * QUEUE_SHARE:
            return "IN_QUEUE"
        if report.final_status == "CANCELLED":
            return "CANCELLED"
        if age < self.processing_seconds or not _is_written(report):
            return "IN_PROGRESS"
        return report.final_status

    def shown(self, report: Report) -> dict[str, Any]:
        """Return a report as getReport answers it."""
        status = self.status(report)
        answer: dict[str, Any] = {
            "reportType": report.report_type,
            "processingStatus": status,
            "marketplaceIds": list(report.marketplace_ids),
            "reportId": report.report_id,
            "dataStartTime": iso(report.start),
            "dataEndTime": iso(report.end),
            "createdTime": iso(report.created),
        }
        now = self.clock.wall()
        if status not in {"IN_QUEUE", "CANCELLED"}:
            answer["processingStartTime"] = iso(min(now, report.created + self._real_seconds(QUEUE_SHARE)))
        if status in {"DONE", "FATAL", "CANCELLED"}:
            answer["processingEndTime"] = iso(min(now, report.created + self._real_seconds(1.0)))
        if status in {"DONE", "FATAL"} and report.document is not None:
            answer["reportDocumentId"] = report.document.document_id
        return answer

    def _real_seconds(self, share: float) -> float:
        return self.processing_seconds * share / self.clock.speed


def _is_written(report: Report, timeout: float = 2.0) -> bool:
    """Whether the document is written; waits up to `timeout` real seconds, so that small ones are ready when due."""
    if report.document is None:
        return True
    try:
        report.document.content.result(timeout=timeout)
    except FutureTimeoutError:
        return False
    return True
