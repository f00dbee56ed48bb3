"""Finished reports into the warehouse: raw copy, counts, rejected lines, and later the parsed copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, overload

import psycopg
from psycopg import sql

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.transport import CHUNK
from fba_operators.errors import DecisionNeededError
from fba_operators.reports.document import Block, Document
from fba_operators.reports.ledger import RawReport, ReportLedger
from fba_operators.reports.lines import zipped
from fba_operators.reports.report_types import ReportType
from fba_operators.warehouse.copy import copy_escaped
from fba_operators.warehouse.encryption import encrypt
from fba_operators.warehouse.statements import compose, execute

T = TypeVar("T")


@dataclass
class Rejections:
    """The lines of a report that could not be read.

    :param skus: those whose SKU could be read
    :param unreadable: lines of which not even the SKU is known
    """

    count: int = 0
    skus: set[str] = field(default_factory=set)
    unreadable: int = 0


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


def count_rows(blocks: Iterable[Block]) -> int:
    """Number of rows; what :func:`load_report` reads unless it is given something else."""
    return sum(map(len, blocks))


def fetch_document(hook: SellingPartnerHook, document_id: str) -> RawReport:
    """Download a report document into memory, compressed."""
    download = hook.download_report(document_id)
    return RawReport(list(_in_pieces(zipped(download.chunks), CHUNK)), download.charset)


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
    """Bring a finished report into the warehouse, from its raw copy if there is one, else from Amazon.

    In one transaction: raw copy, rejected lines, counts. Every line is a row or a rejected line.

    :param max_rejected_share: share (0–1) of the lines that may be rejected
    :param read: gets the blocks of rows in the same pass; what it returns is the report's ``content``, by default the
        number of rows
    :raises DamagedDocumentError: truncated or corrupt; nothing is stored, downloading again may help
    :raises UnreadableDocumentError: a required column is missing, or it is no such report
    :raises DecisionNeededError: more lines than ``max_rejected_share`` were rejected; they are stored
    """
    row = ledger.get(report_id)
    if row["report_type"] != report_type.name:
        raise ValueError(f"{ledger.store}: report {report_id} is a {row['report_type']}, not a {report_type.name}")
    stored = ledger.stored_document(report_id)
    if not stored and not row["document_id"]:
        raise DecisionNeededError(f"{ledger.store}: report {report_id} is {row['status']} and has no document")
    raw = stored or fetch_document(hook, row["document_id"])
    document = Document(raw, report_type, charset=raw.charset, usual_charset=hook.marketplace.usual_charset)
    loaded = _store(ledger, row, document, None if stored else raw, read)
    share = loaded.rejected.count / document.line_count if document.line_count else 0.0
    if share > max_rejected_share:
        raise DecisionNeededError(
            f"{ledger.store}: {loaded.rejected.count} of {document.line_count} lines of report {report_id} ({report_type.name}) "
            f"could not be read, more than max_rejected_share {max_rejected_share:.2%}. Nothing was applied. The lines and "
            "reasons are in fba.rejected_row; raise max_rejected_share in stores.yaml if they can be done without"
        )
    return loaded


def _store(
    ledger: ReportLedger,
    row: dict[str, Any],
    document: Document,
    raw: RawReport | None,
    read: Callable[[Iterable[Block]], T],
) -> LoadedReport[T]:
    key = {"store": ledger.store, "report_id": row["report_id"]}
    rejected, rows = Rejections(), 0
    with ledger.warehouse.connect() as db:
        if raw:
            execute(db, "reports.delete_document", **key)
            for number, chunk in enumerate(raw.chunks):
                execute(db, "reports.insert_chunk", **key, chunk=number, content=encrypt(chunk), charset=raw.charset)
        execute(db, "reports.delete_rejected", **key)

        def blocks() -> Iterator[Block]:
            nonlocal rows
            for block in document.blocks():
                rows += len(block)
                _store_rejected(db, key, block, rejected)
                yield block

        remaining = blocks()
        content = read(remaining)
        for _ in remaining:  # a read that stopped early must not leave lines out of the counts
            pass
        execute(db, "reports.record_rows", **key, row_count=rows, rejected_row_count=rejected.count)
    return LoadedReport(row, document, content, rejected)


def _store_rejected(db: psycopg.Connection[Any], key: dict[str, Any], block: Block, rejected: Rejections) -> None:
    for line in block.rejected:
        rejected.count += 1
        if line.sku is None:
            rejected.unreadable += 1
        else:
            rejected.skus.add(line.sku)
        insert_rejected(db, key, line.line_number, reason=line.reason, sku=line.sku, raw=line.raw)


def insert_rejected(
    db: psycopg.Connection[Any], key: dict[str, Any], line_number: int, *, reason: str, sku: str | None, raw: bytes
) -> None:
    """Store a line that cannot be read as a row.

    :param key: store and report_id
    :param raw: the line's bytes; stored encrypted
    """
    values = {"line_number": line_number, "reason": reason, "sku": sku, "raw_line": encrypt(raw)}
    execute(db, "reports.insert_rejected", **key, **values)


def copy_rows(db: psycopg.Connection[Any], store: str, report: LoadedReport[Any] | None, table: str) -> None:
    """Replace a store's parsed copy of a report type with the rows of this report.

    :param db: an open transaction
    :param report: None if the report is empty
    :param table: name of the parsed copy in the schema fba
    """
    name = sql.Identifier("fba", table)
    db.execute(compose("reports.clear_copy", table=name), {"store": store})
    if report is None:
        return
    columns = sql.SQL(", ").join(map(sql.Identifier, report.document.copy_columns))
    leading = b"".join(copy_escaped(text) + b"\t" for text in (store, report.row["report_id"]))
    with db.cursor().copy(compose("reports.fill_copy", table=name, columns=columns)) as copy:
        for block in report.document.blocks():
            copy.write(block.copy_text(leading))


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
