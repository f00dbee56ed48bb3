"""Finished reports into the warehouse: raw copy, counts, rejected lines, and later the parsed copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeVar, overload

import psycopg
from psycopg import sql

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.transport import CHUNK
from fba_operators.errors import ConfigurationError, DecisionNeededError, UnreadableDocumentError
from fba_operators.reports.document import Block, Document, ReadAgainError
from fba_operators.reports.ledger import RawReport, ReportLedger
from fba_operators.reports.lines import zipped
from fba_operators.reports.report_types import ReportType
from fba_operators.reports.rows import Rejected
from fba_operators.warehouse.copy import copy_escaped
from fba_operators.warehouse.encryption import decrypt, encrypt
from fba_operators.warehouse.statements import compose, execute, statement

T = TypeVar("T")

MAX_REPEATED_SHARE, MIN_REPEATED = 0.01, 5  # lines equal to another one; of fewer whoever reads them makes what fits
MAX_KEPT_REJECTED = 1000  # lines of a report that are stored; all are counted


@dataclass
class Rejections:
    """The lines of a report that could not be read.

    :param skus: those whose SKU could be read
    :param unreadable: lines of which not even the SKU is known
    """

    count: int = 0
    skus: set[str] = field(default_factory=set)
    unreadable: int = 0

    def add(self, lines: Iterable[Rejected]) -> None:
        """Count lines."""
        for line in lines:
            self.count += 1
            if line.sku is None:
                self.unreadable += 1
            else:
                self.skus.add(line.sku)


@dataclass(frozen=True)
class LoadedReport(Generic[T]):
    """A report that is in the warehouse: raw copy, counts and rejected lines; its rows are still to be applied.

    :param row: the ledger's row
    :param document: to read the rows from
    :param content: what the ``read`` of :func:`load_report` returned
    """

    row: dict[str, Any]
    document: Document
    content: T
    rejected: Rejections


@dataclass(frozen=True)
class OpenedReport:
    """A finished report with its document, from its raw copy if there is one, else from Amazon; nothing of it is read yet.

    :param row: the ledger's row
    :param is_stored: whether the document comes from the raw copy
    """

    row: dict[str, Any]
    report_type: ReportType
    raw: RawReport
    usual_charset: str
    is_stored: bool

    @property
    def report_id(self) -> str:
        """Amazon's id."""
        return str(self.row["report_id"])

    def document(self, *, scan: bool) -> Document:
        """What can be read of it; see :class:`Document`."""
        raw = self.raw
        return Document(raw, self.report_type, charset=raw.charset, usual_charset=self.usual_charset, scan=scan)


def count_rows(blocks: Iterable[Block]) -> int:
    """Number of rows; what :func:`load_report` reads unless it is given something else."""
    return sum(map(len, blocks))


def fetch_document(hook: SellingPartnerHook, document_id: str) -> RawReport:
    """Download a report document into memory, compressed."""
    download = hook.download_report(document_id)
    return RawReport(list(_in_pieces(zipped(download.chunks), CHUNK)), download.charset)


def open_report(
    hook: SellingPartnerHook, ledger: ReportLedger, report_id: str, report_type: ReportType
) -> OpenedReport:
    """Get a finished report's document, from its raw copy if there is one, else from Amazon.

    Call it outside a transaction: a slow download takes longer than one may do nothing.

    :raises DecisionNeededError: it has none
    """
    row = ledger.get(report_id)
    if row["report_type"] != report_type.name:
        raise ValueError(f"{ledger.store}: report {report_id} is a {row['report_type']}, not a {report_type.name}")
    stored = ledger.stored_document(report_id)
    if not stored and not row["document_id"]:
        raise DecisionNeededError(f"{ledger.store}: report {report_id} is {row['status']} and has no document")
    raw = stored or fetch_document(hook, row["document_id"])
    return OpenedReport(row, report_type, raw, hook.marketplace.usual_charset, is_stored=stored is not None)


@overload
def load_report(
    hook: SellingPartnerHook,
    ledger: ReportLedger,
    report_id: str,
    report_type: ReportType,
    *,
    max_rejected_share: float,
) -> LoadedReport[int]: ...
@overload
def load_report(
    hook: SellingPartnerHook,
    ledger: ReportLedger,
    report_id: str,
    report_type: ReportType,
    *,
    max_rejected_share: float,
    read: Callable[[Iterable[Block]], T],
) -> LoadedReport[T]: ...
def load_report(
    hook: SellingPartnerHook,
    ledger: ReportLedger,
    report_id: str,
    report_type: ReportType,
    *,
    max_rejected_share: float,
    read: Callable[[Iterable[Block]], Any] = count_rows,
) -> LoadedReport[Any]:
    """Bring a finished report into the warehouse: :func:`open_report`, then :func:`read_report`.

    :param max_rejected_share: share (0–1) of the lines that may be rejected
    :param read: see :func:`read_report`; by default the report's ``content`` is the number of rows
    """
    opened = open_report(hook, ledger, report_id, report_type)
    return read_report(ledger, opened, max_rejected_share=max_rejected_share, read=read)


def read_report(
    ledger: ReportLedger,
    opened: OpenedReport,
    *,
    max_rejected_share: float,
    read: Callable[[Iterable[Block]], T],
) -> LoadedReport[T]:
    """Read a report's document once, and bring it into the warehouse.

    In one transaction: raw copy, rejected lines, counts. Every line is a row or a rejected line.

    :param max_rejected_share: share (0–1) of the lines that may be rejected
    :param read: gets the blocks of rows as they are read; what it returns is the report's ``content``. It is called again
        from the start when the charset turns out to be another one, so what it wrote must be undone by an exception
    :raises DamagedDocumentError: truncated or corrupt; nothing is stored, downloading again may help
    :raises UnreadableDocumentError: a required column is missing, it is no such report, or it holds rows twice
    :raises DecisionNeededError: more lines than ``max_rejected_share`` were rejected; they are stored
    """
    try:
        loaded = _store(ledger, opened, read, scan=False)
    except ReadAgainError:
        loaded = _store(ledger, opened, read, scan=True)
    report_id, report_type, document = opened.report_id, opened.report_type, loaded.document
    repeats, lines = len(document.repeated_rows), document.line_count
    if repeats > MAX_REPEATED_SHARE * lines and (repeats >= MIN_REPEATED or 2 * repeats >= lines):
        raise UnreadableDocumentError(
            f"{ledger.store}: {repeats} of {lines} lines of report {report_id} ({report_type.name}) repeat another line, so the "
            "document holds rows twice. Nothing was applied; the next run asks for a new report"
        )
    share = loaded.rejected.count / document.line_count if document.line_count else 0.0
    if share > max_rejected_share:
        raise DecisionNeededError(
            f"{ledger.store}: {loaded.rejected.count} of {document.line_count} lines of report {report_id} ({report_type.name}) "
            f"could not be read, more than max_rejected_share {max_rejected_share:.2%}. Nothing was applied. The lines and "
            "reasons are in fba.rejected_row; raise max_rejected_share in stores.yaml if they can be done without"
        )
    return loaded


def _store(
    ledger: ReportLedger, opened: OpenedReport, read: Callable[[Iterable[Block]], T], *, scan: bool
) -> LoadedReport[T]:
    document = opened.document(scan=scan)
    key = {"store": ledger.store, "report_id": opened.report_id}
    rejected, rows = Rejections(), 0
    with ledger.warehouse.connect() as db:
        store_raw(db, ledger.store, opened)
        execute(db, "reports.delete_rejected", **key)

        def blocks() -> Iterator[Block]:
            nonlocal rows
            for block in document.blocks():
                rows += len(block)
                if block.rejected:
                    insert_rejected(db, key, block.rejected, room=MAX_KEPT_REJECTED - rejected.count)
                    rejected.add(block.rejected)
                yield block

        remaining = blocks()
        content = read(remaining)
        for _ in remaining:  # a read that stopped early must not leave lines out of the counts
            pass
        counts = {"row_count": rows, "rejected_row_count": rejected.count, "columns": list(document.header.names)}
        execute(db, "reports.record_rows", **key, **counts)
    return LoadedReport(opened.row, document, content, rejected)


def store_raw(db: psycopg.Connection[Any], store: str, opened: OpenedReport) -> None:
    """Store a report's raw copy, once for equal documents of a type; the caller commits."""
    key = {"store": store, "report_id": opened.report_id}
    values = {"digest": opened.raw.digest, "report_type": opened.report_type.name}
    if opened.is_stored:
        execute(db, "reports.record_digest", **key, **values, shared=True)
        return
    execute(db, "reports.delete_document", **key)
    equal = execute(db, "reports.equal_document", **key, **values).fetchone()
    with suppress(ConfigurationError):  # stored with a key that is lost
        if equal and decrypt(equal["content"]):
            shared = execute(db, "reports.share_document", **key, **values, equal=equal["report_id"])
            if shared.fetchone():
                return
    execute(db, "reports.record_digest", **key, **values, shared=False)
    for number, chunk in enumerate(opened.raw.chunks):
        execute(db, "reports.insert_chunk", **key, chunk=number, content=encrypt(chunk), charset=opened.raw.charset)


def insert_rejected(
    db: psycopg.Connection[Any], key: dict[str, Any], lines: Iterable[Rejected], *, room: int = MAX_KEPT_REJECTED
) -> None:
    """Store lines that cannot be read as rows, their bytes encrypted.

    :param key: store and report_id
    :param room: how many are stored at most; their count is kept elsewhere and is exact
    """
    with db.cursor().copy(statement("reports.copy_rejected")) as copy:
        for line in islice(lines, max(room, 0)):
            copy.write_row((key["store"], key["report_id"], line.line_number, line.reason, line.sku, encrypt(line.raw)))


def copy_rows(db: psycopg.Connection[Any], store: str, report: LoadedReport[Any] | None, table: str) -> None:
    """Replace a store's parsed copy of a report type with the rows of this report.

    :param db: an open transaction
    :param report: None if the report is empty
    :param table: name of the parsed copy: in the schema fba, or like ``acme.a_report`` in one of your own
    """
    clear_copy(db, store, table)
    name = _table(table)
    if report is None:
        return
    columns = sql.SQL(", ").join(map(sql.Identifier, ("store", "report_id", *report.document.copy_columns)))
    leading = b"".join(copy_escaped(text) + b"\t" for text in (store, report.row["report_id"]))
    with db.cursor().copy(compose("reports.fill_copy", table=name, columns=columns)) as copy:
        for block in report.document.blocks():
            copy.write(block.copy_text(leading))


def clear_copy(db: psycopg.Connection[Any], store: str, table: str) -> None:
    """Empty a store's parsed copy of a report type; the caller commits."""
    db.execute(compose("reports.clear_copy", table=_table(table)), {"store": store})


def _table(name: str) -> sql.Identifier:
    schema, _, table = name.rpartition(".")
    return sql.Identifier(schema or "fba", table)


def repeat_evidence(db: psycopg.Connection[Any], store: str, opened: OpenedReport, earlier: str) -> None:
    """Record of a report, unread, what was recorded of an earlier one whose document is equal; the caller commits.

    :param earlier: its report id
    """
    store_raw(db, store, opened)
    if earlier != opened.report_id:
        execute(db, "reports.repeat_evidence", store=store, report_id=opened.report_id, earlier=earlier)


def record_applied(db: psycopg.Connection[Any], store: str, *report_ids: str) -> None:
    """Record in the ledger that the rows of reports are applied; the caller commits both together."""
    execute(db, "reports.record_applied", store=store, report_ids=list(report_ids))


def _in_pieces(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    gathered = bytearray()
    for chunk in chunks:
        gathered += chunk
        while len(gathered) >= size:
            yield bytes(gathered[:size])
            del gathered[:size]
    if gathered:
        yield bytes(gathered)
