"""Amazon's report desk: what becomes of a report, when, and which document it leaves."""

import secrets
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import Any

from sandbox.clock import Clock, iso
from sandbox.documents import report_text as documents
from sandbox.merchant.merchant import AFN, LISTINGS, SHIPMENTS, Merchant

COOL_DOWN = 1800.0
LISTINGS_CACHE = 3600.0
QUEUE_SHARE = 0.25
LONGEST_SHIPMENT_WINDOW = 31 * 86400.0
FBA_TYPES = (AFN, SHIPMENTS)


@dataclass(slots=True)
class Document:
    """A stored document: its bytes as they are served (perhaps still being written) and how they are announced."""

    document_id: str
    seller_id: str
    report_type: str
    content: Future[bytes]
    gzip: bool
    declare_gzip: bool
    content_type: str


@dataclass(slots=True)
class Report:
    """A report as asked for, and the fate that waits for it.

    `created` (whole seconds, as it is shown and searched), `start` and `end` are wall times; `asked_at` and
    `content_since` are waited seconds of the clock.
    """

    report_id: str
    seller_id: str
    report_type: str
    marketplace_ids: tuple[str, ...]
    start: float
    end: float
    created: float
    asked_at: float
    fate: str
    document: Document | None
    content_since: float
    cacheable: bool = True
    withdrawn: bool = False

    @property
    def window(self) -> tuple[float, float] | None:
        """The window that tells two requests apart; only shipments have one."""
        return (self.start, self.end) if self.report_type == SHIPMENTS else None


@dataclass(slots=True)
class Override:
    """Bytes to serve instead of the merchant's own, for the next report of a type."""

    content: bytes
    content_type: str
    gzip: bool
    declare_gzip: bool
    seller_id: str | None = None


@dataclass(slots=True)
class Request:
    """What createReport was asked, already checked."""

    report_type: str
    marketplace_ids: tuple[str, ...]
    start: float | None
    end: float | None
    options: dict[str, str] = field(default_factory=dict)


class ReportDesk:
    """All reports and documents. Not locked by itself: the world's lock guards it."""

    def __init__(self, clock: Clock, processing_seconds: float) -> None:
        self.clock = clock
        self.processing_seconds = processing_seconds
        self.reports: dict[tuple[str, str], Report] = {}
        self.documents: dict[str, Document] = {}
        self.overrides: dict[str, list[Override]] = {}
        self._last_id_before = 50_000_000_000_000 + clock.started_ms
        self._writers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-writer")

    def close(self) -> None:
        """Stop writing documents."""
        self._writers.shutdown(wait=True, cancel_futures=True)

    def of_seller(self, seller_id: str) -> list[Report]:
        """A seller's reports, newest first."""
        return [report for (owner, _), report in reversed(self.reports.items()) if owner == seller_id]

    def create(self, merchant: Merchant, request: Request, scripted_fate: str | None) -> Report:
        """Take a request in and settle what will become of it."""
        asked_at, created = self.clock.waited(), float(int(self.clock.wall()))
        end = created if request.end is None else request.end
        start = min(created, end) if request.start is None else request.start
        merchant.report_count += 1
        report = Report(
            report_id=str(self._last_id_before + merchant.report_count),
            seller_id=merchant.seller_id,
            report_type=request.report_type,
            marketplace_ids=request.marketplace_ids,
            start=start,
            end=end,
            created=created,
            asked_at=asked_at,
            fate="DONE",
            document=None,
            content_since=asked_at,
        )
        self._decide(report, merchant, request, scripted_fate)
        self.reports[report.seller_id, report.report_id] = report
        return report

    def _decide(self, report: Report, merchant: Merchant, request: Request, scripted_fate: str | None) -> None:
        override = self._override_for(report)
        too_long = report.report_type == SHIPMENTS and report.end - report.start > LONGEST_SHIPMENT_WINDOW
        if scripted_fate == "cancelled" or (scripted_fate is None and override is None and self._too_soon(report)):
            report.fate = "CANCELLED"
        elif scripted_fate is not None or too_long:
            report.fate = "FATAL"
            if scripted_fate != "fatal":
                why = '{"errorDetails": "The report could not be generated. Please request it again later."}'
                report.document = self._store(report, why.encode, False, False, "text/plain; charset=UTF-8")
        elif override is not None:
            self.overrides[report.report_type].remove(override)
            report.cacheable = False
            content = override.content
            report.document = self._store(
                report, lambda: content, override.gzip, override.declare_gzip, override.content_type
            )
        else:
            self._write(report, merchant, request)

    def _override_for(self, report: Report) -> Override | None:
        for override in self.overrides.get(report.report_type, []):
            if override.seller_id in (None, report.seller_id):
                return override
        return None

    def _too_soon(self, report: Report) -> bool:
        """Whether an FBA report like this one was processed, or will be, within the cool-down."""
        return report.report_type in FBA_TYPES and any(
            self._same_subject(earlier, report)
            and earlier.fate != "CANCELLED"
            and not earlier.withdrawn
            and report.asked_at - earlier.asked_at < COOL_DOWN
            for earlier in self.of_seller(report.seller_id)
        )

    @staticmethod
    def _same_subject(one: Report, other: Report) -> bool:
        return (
            one.report_type == other.report_type
            and sorted(one.marketplace_ids) == sorted(other.marketplace_ids)
            and one.window == other.window
        )

    def _cached(self, report: Report) -> Report | None:
        for earlier in self.of_seller(report.seller_id):
            if (
                earlier.report_type == report.report_type
                and earlier.marketplace_ids[0] == report.marketplace_ids[0]
                and earlier.fate == "DONE"
                and earlier.cacheable
                and not earlier.withdrawn
                and report.asked_at - earlier.content_since < LISTINGS_CACHE
            ):
                return earlier
        return None

    def _write(self, report: Report, merchant: Merchant, request: Request) -> None:
        cached = self._cached(report) if report.report_type == LISTINGS else None
        if cached is not None and cached.document is not None:
            report.content_since = cached.content_since
            document = cached.document
            report.document = self._keep(
                report, document.content, document.gzip, document.declare_gzip, document.content_type
            )
            return
        wanted = report.marketplace_ids[:1] if report.report_type == LISTINGS else report.marketplace_ids
        catalogues = [merchant.catalogue(m) for m in wanted]
        if all(catalogue.mode.get(report.report_type) == "no_data" for catalogue in catalogues):
            report.fate = "CANCELLED"
            return
        job = documents.job(
            report.report_type,
            catalogues,
            locale=request.options.get("preferredReportDocumentLocale"),
            window=(report.start, report.end),
        )
        if job.empty and not any(c.mode.get(report.report_type) == "empty" for c in catalogues):
            report.fate = "CANCELLED"
            return
        shape = catalogues[0].rendering(report.report_type)
        report.document = self._store(report, job.write, shape.gzip, shape.declare_gzip, shape.content_type())

    def _store(
        self, report: Report, write: Callable[[], bytes], gzip: bool, declare_gzip: bool, content_type: str
    ) -> Document:
        return self._keep(report, self._writers.submit(write), gzip, declare_gzip, content_type)

    def _keep(
        self, report: Report, content: Future[bytes], gzip: bool, declare_gzip: bool, content_type: str
    ) -> Document:
        document_id = f"amzn1.spdoc.1.4.{secrets.token_hex(16)}"
        document = Document(
            document_id, report.seller_id, report.report_type, content, gzip, declare_gzip, content_type
        )
        self.documents[document_id] = document
        return document

    def status(self, report: Report) -> str:
        """The processing status at this moment."""
        age = self.clock.waited() - report.asked_at
        if report.withdrawn:
            return "CANCELLED"
        if age < self.processing_seconds * QUEUE_SHARE:
            return "IN_QUEUE"
        if report.fate == "CANCELLED":
            return "CANCELLED"
        if age < self.processing_seconds or not _written(report):
            return "IN_PROGRESS"
        return report.fate

    def shown(self, report: Report) -> dict[str, Any]:
        """A report as getReport answers it."""
        status = self.status(report)
        shown: dict[str, Any] = {
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
            shown["processingStartTime"] = iso(min(now, report.created + self._real(QUEUE_SHARE)))
        if status in {"DONE", "FATAL", "CANCELLED"}:
            shown["processingEndTime"] = iso(min(now, report.created + self._real(1.0)))
        if status in {"DONE", "FATAL"} and report.document is not None:
            shown["reportDocumentId"] = report.document.document_id
        return shown

    def _real(self, share: float) -> float:
        return self.processing_seconds * share / self.clock.speed


def _written(report: Report, patience: float = 2.0) -> bool:
    """Whether the document is written; waits a moment, so that small ones are ready exactly when they are due."""
    if report.document is None:
        return True
    try:
        report.document.content.result(timeout=patience)
    except FutureTimeoutError:
        return False
    return True
