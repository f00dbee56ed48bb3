"""The ledger of reports: what was asked for, what became of it, and the raw copies.

A row is written before Amazon is called, so that whatever happens in between, the next attempt knows what to look for.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from fba_operators.amazon.trigger import FINISHED, UNFINISHED
from fba_operators.errors import RequestRefusedError, UnavailableError
from fba_operators.warehouse.database import Warehouse, decrypt, statements

# Amazon makes a near-real-time FBA report at most once in 30 minutes and cancels those asked for in between
# (developer-docs.amazon.com/sp-api/docs/report-type-values-fba). Listing reports are cached for longer.
COOLDOWN = timedelta(minutes=30)
PRECISION = timedelta(seconds=1)  # of the times in Amazon's answers


@dataclass(frozen=True)
class RawReport:
    """A report document as Amazon sent it, as one gzip stream in chunks.

    :param charset: of the download's Content-Type, or None
    """

    chunks: list[bytes]
    charset: str | None

    def __call__(self) -> Iterator[bytes]:
        """Iterate over the chunks; can be done again."""
        return iter(self.chunks)


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

    def matches(self, report: dict[str, Any], marketplace_id: str) -> bool:
        """Whether a report Amazon lists is this one. Amazon fills in a window of its own where we asked for none."""

        def same(wanted: datetime | None, told: str | None) -> bool:
            return wanted is None or (told is not None and abs(datetime.fromisoformat(told) - wanted) < PRECISION)

        return (
            report.get("reportType") == self.report_type
            and report.get("marketplaceIds", [marketplace_id]) == [marketplace_id]
            and same(self.data_start, report.get("dataStartTime"))
            and same(self.data_end, report.get("dataEndTime"))
        )


class ReportLedger:
    """The ledger of one store's reports."""

    def __init__(self, warehouse: Warehouse, store: str) -> None:
        self.warehouse = warehouse
        self.store = store
        self._sql = statements("ledger")

    def _execute(self, name: str, **values: Any) -> list[dict[str, Any]]:
        with self.warehouse.connect() as db:
            cursor = db.cursor(row_factory=dict_row)
            cursor.execute(self._sql[name], {"store": self.store, **values})
            return cursor.fetchall() if cursor.description else []

    def get(self, report_id: str) -> dict[str, Any]:
        """Return the ledger's row of a report.

        :raises RequestRefusedError: this store never asked for it
        """
        rows = self._execute("by_id", report_id=report_id)
        if not rows:
            raise RequestRefusedError(
                f"{self.store}: report {report_id} is not in the ledger (fba.report) of this store"
            )
        return rows[0]

    def newest(self, request: ReportRequest, marketplace_id: str) -> dict[str, Any] | None:
        """Return the newest equal report that is in flight or inside its cool-down."""
        rows = self._execute("adoptable", cooldown=COOLDOWN, **self._key(request, marketplace_id))
        return rows[0] if rows else None

    def intend(self, request: ReportRequest, marketplace_id: str, *, report_id: str | None = None) -> uuid.UUID:
        """Write down that a report is about to be asked for, or that one which somebody else asked for is used."""
        request_id = uuid.uuid4()
        self._execute("intend", request_id=request_id, report_id=report_id, **self._key(request, marketplace_id))
        return request_id

    def lost(self, report_type: str, marketplace_id: str) -> list[dict[str, Any]]:
        """Return the intents without an id, newest first. Under the lock of createReport these are lost answers."""
        return self._execute("lost", report_type=report_type, marketplace_id=marketplace_id)

    def forget_intent(self, request_id: uuid.UUID) -> None:
        """Remove an intent of which it is certain that Amazon made nothing."""
        self._execute("forget_intent", request_id=request_id)

    def created(self, request_id: uuid.UUID, report_id: str) -> None:
        """Write down the id Amazon gave."""
        self._execute("created", request_id=request_id, report_id=report_id)

    def known(self, report_ids: list[str]) -> set[str]:
        """Return those ids that are in the ledger already."""
        return {row["report_id"] for row in self._execute("known_ids", report_ids=report_ids)}

    def note(self, report: dict[str, Any]) -> str:
        """Write down the state Amazon told; returns the status.

        :raises UnavailableError: the answer is none of Amazon's states
        """
        status = report.get("processingStatus")
        if status not in (*UNFINISHED, *FINISHED):
            raise UnavailableError(f"{self.store}: report {report.get('reportId')} has the unknown status {status!r}")
        self._execute(
            "note_state",
            report_id=report["reportId"],
            status=status,
            document_id=report.get("reportDocumentId"),
            created_at=report.get("createdTime"),
            finished_at=report.get("processingEndTime"),
        )
        return str(status)

    def keeps(self, report_id: str) -> bool:
        """Say whether the raw copy is (still) kept."""
        return bool(self._execute("has_document", report_id=report_id)[0]["kept"])

    def stored_document(self, report_id: str) -> RawReport | None:
        """Return the raw copy, if it is (still) kept."""
        rows = self._execute("chunks", report_id=report_id)
        return RawReport([decrypt(row["content"]) for row in rows], rows[0]["charset"]) if rows else None

    @staticmethod
    def _key(request: ReportRequest, marketplace_id: str) -> dict[str, Any]:
        return {
            "report_type": request.report_type,
            "marketplace_id": marketplace_id,
            "data_start": request.data_start,
            "data_end": request.data_end,
            "options": Jsonb(request.options),
        }
