"""The ledger of reports: what was asked for, what became of it, and the raw copies.

A row is committed before Amazon is called, so that after a crash the next attempt knows what to look for.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from psycopg.types.json import Jsonb

from fba_operators.amazon.operations import ListedReport, Report
from fba_operators.amazon.processing_status import FINISHED, ProcessingStatus
from fba_operators.errors import DecisionNeededError, RequestRefusedError
from fba_operators.reports.cooldown import COOLDOWN, REPORT_TIMEOUT
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.encryption import decrypt
from fba_operators.warehouse.statements import execute
from fba_operators.words import words

GZIP_TIME = slice(4, 8)  # bytes of the header
PRECISION = timedelta(seconds=1)  # of the times in Amazon's answers


@dataclass(frozen=True)
class RawReport:
    """A report document as Amazon sent it, as one gzip stream in chunks.

    :param charset: of the download's Content-Type, or None
    """

    chunks: list[bytes]
    charset: str | None

    def __call__(self) -> Iterator[bytes]:
        """Iterate over the chunks; may be repeated."""
        return iter(self.chunks)

    @cached_property
    def digest(self) -> bytes:
        """BLAKE2b-128 of the bytes and the charset, without the time that gzip writes into its header."""
        hashed = hashlib.blake2b(repr(self.charset).encode(), digest_size=16)
        place = 0
        for chunk in self.chunks:
            time = slice(max(GZIP_TIME.start - place, 0), max(GZIP_TIME.stop - place, 0))
            hashed.update(chunk[: time.start])
            hashed.update(chunk[time.stop :])
            place += len(chunk)
        return hashed.digest()


@dataclass(frozen=True)
class ReportRequest:
    """What identifies a report: two equal requests want the same report.

    :param data_start: begin of the window (UTC), or None where the report type has none
    :param data_end: end of the window (UTC)
    """

    report_type: str
    data_start: datetime | None = None
    data_end: datetime | None = None
    options: dict[str, str] = field(default_factory=dict)

    def matches(self, report: ListedReport, marketplace_id: str) -> bool:
        """Whether a report at Amazon is this one. Amazon fills in a window of its own where none was asked for."""

        def same(wanted: datetime | None, reported: datetime | None) -> bool:
            return wanted is None or (reported is not None and abs(reported - wanted) < PRECISION)

        return (
            report.report_type == self.report_type
            and report.marketplace_ids in (None, [marketplace_id])
            and same(self.data_start, report.data_start_time)
            and same(self.data_end, report.data_end_time)
        )


class ReportLedger:
    """The ledger of one store's reports.

    :param store: connection id
    """

    def __init__(self, warehouse: Warehouse, store: str) -> None:
        self.warehouse = warehouse
        self.store = store

    def _execute(self, name: str, **values: Any) -> list[dict[str, Any]]:
        with self.warehouse.connect() as db:
            cursor = execute(db, name, store=self.store, **values)
            return cursor.fetchall() if cursor.description else []

    def get(self, report_id: str) -> dict[str, Any]:
        """Return the ledger's row of a report.

        :raises RequestRefusedError: this store never asked for it
        """
        rows = self._execute("reports.by_id", report_id=report_id)
        if not rows:
            raise RequestRefusedError(
                f"{self.store}: report {report_id} is not in the ledger (fba.report) of this store"
            )
        return rows[0]

    def correct_impossible_times(self, report_type: str) -> None:
        """Put right what a clock that was ahead wrote, so that no report of its is taken for a new one."""
        self._execute("reports.correct_impossible_times", report_type=report_type)

    def reusable(
        self, request: ReportRequest, marketplace_id: str, *, even_refused: bool = False
    ) -> dict[str, Any] | None:
        """Return the newest equal report that is in flight or inside its cool-down.

        :param even_refused: also one whose content was refused
        """
        limits = {"cooldown": COOLDOWN, "timeout": REPORT_TIMEOUT, "even_refused": even_refused}
        rows = self._execute("reports.reusable", **limits, **self._key(request, marketplace_id))
        return rows[0] if rows else None

    def newest_equal(self, report_id: str) -> dict[str, Any]:
        """Return id and status of the newest report equal to this one, asked for when it was or later; perhaps itself."""
        return self._execute("reports.newest_equal", report_id=report_id)[0]

    def hanging(self, request: ReportRequest, marketplace_id: str) -> list[str]:
        """Return the ids of equal reports that Amazon has not finished in time, newest first."""
        rows = self._execute("reports.hanging", timeout=REPORT_TIMEOUT, **self._key(request, marketplace_id))
        return [row["report_id"] for row in rows]

    def record_intent(
        self,
        request: ReportRequest,
        marketplace_id: str,
        *,
        report_id: str | None = None,
        requested_at: datetime | None = None,
    ) -> uuid.UUID:
        """Record that a report is about to be asked for, or that one which somebody else asked for is used.

        :param requested_at: by our clock, not after the report was asked for; None is now
        """
        request_id = uuid.uuid4()
        values = {"request_id": request_id, "report_id": report_id, "requested_at": requested_at}
        self._execute("reports.record_intent", **values, **self._key(request, marketplace_id))
        return request_id

    def intents_without_id(self, report_type: str, marketplace_id: str) -> list[dict[str, Any]]:
        """Return the intents without a report id, newest first. Under the lock of createReport these are lost answers."""
        return self._execute("reports.intents_without_id", report_type=report_type, marketplace_id=marketplace_id)

    def delete_intent(self, request_id: uuid.UUID) -> None:
        """Delete an intent for which Amazon certainly made nothing."""
        self._execute("reports.delete_intent", request_id=request_id)

    def record_id(self, request_id: uuid.UUID, report_id: str) -> None:
        """Record the id that Amazon gave."""
        self._execute("reports.record_id", request_id=request_id, report_id=report_id)

    def known_ids(self, report_ids: list[str]) -> set[str]:
        """Return those ids that are in the ledger already."""
        return {row["report_id"] for row in self._execute("reports.known_ids", report_ids=report_ids)}

    def record_state(self, report: Report) -> ProcessingStatus:
        """Record the state that Amazon reports; returns the status.

        :raises UnavailableError: it is none of Amazon's documented states
        :raises DecisionNeededError: the answer describes another report
        """
        status = report.status
        self._check_identity(report)
        self._execute(
            "reports.record_state",
            report_id=report.report_id,
            status=status.value,
            finished=status.finished,
            document_id=report.report_document_id,
            created_at=report.created_time,
        )
        return status

    def _check_identity(self, report: Report) -> None:
        for row in self._execute("reports.by_id", report_id=report.report_id):
            other = [
                f"{name} is {found!r}, not {expected!r}"
                for name, found, expected in (
                    ("reportType", report.report_type, row["report_type"]),
                    ("marketplaceIds", report.marketplace_ids, [row["marketplace_id"]]),
                )
                if found is not None and found != expected
            ]
            if other:
                raise DecisionNeededError(
                    f"{self.store}: Amazon describes report {report.report_id} as another one than was asked for; it is "
                    "not used",
                    detail=words(", ".join(other)),
                )

    def record_unknown_at_amazon(self, report_id: str) -> None:
        """Record that Amazon does not know a report, as after a change of the seller: FATAL, so that nobody waits for it."""
        self._execute(
            "reports.record_state",
            report_id=report_id,
            status=ProcessingStatus.FATAL.value,
            finished=True,
            document_id=None,
            created_at=None,
        )

    def has_document(self, report_id: str) -> bool:
        """Whether the raw copy is (still) stored."""
        return bool(self._execute("reports.has_document", report_id=report_id)[0]["stored"])

    def stored_document(self, report_id: str) -> RawReport | None:
        """Return the raw copy, if it is (still) stored."""
        rows = self._execute("reports.chunks", report_id=report_id)
        return RawReport([decrypt(row["content"]) for row in rows], rows[0]["charset"]) if rows else None

    @staticmethod
    def _key(request: ReportRequest, marketplace_id: str) -> dict[str, Any]:
        return {
            "report_type": request.report_type,
            "marketplace_id": marketplace_id,
            "data_start": request.data_start,
            "data_end": request.data_end,
            "options": Jsonb(request.options),
            "finished": FINISHED,
        }
