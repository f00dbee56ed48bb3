"""Finished reports into the warehouse: raw copy, counts, rejected lines, and later the parsed copy."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import pandas as pd
import psycopg
from psycopg import sql

from fba_operators.amazon.client import CHUNK
from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import DecisionNeededError
from fba_operators.inventory.merge import stock_frame
from fba_operators.reports.document import Block, Document
from fba_operators.reports.ledger import RawReport, ReportLedger
from fba_operators.reports.report_types import ReportType
from fba_operators.warehouse.database import encrypt, statements


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
class LoadedReport:
    """A report that is in the warehouse: raw copy, counts and rejected lines; its rows are still to be applied.

    :param row: the ledger's row
    :param document: to read the rows from
    :param stock: the columns a merge needs, see :func:`fba_operators.inventory.merge.stock_frame`
    """

    row: dict[str, Any]
    document: Document
    stock: pd.DataFrame
    rejected: Rejections


def fetch_document(hook: SellingPartnerHook, document_id: str) -> RawReport:
    """Download a report document into memory, compressed."""
    download = hook.download_report(document_id)
    return RawReport(list(_in_pieces(_as_gzip(download.chunks), CHUNK)), download.charset)


def load_report(
    hook: SellingPartnerHook,
    ledger: ReportLedger,
    report_id: str,
    report_type: ReportType,
    *,
    max_rejected_share: float,
) -> LoadedReport:
    """Bring a finished report into the warehouse, from its raw copy if there is one, else from Amazon.

    In one transaction: raw copy, rejected lines, counts. Every line is a row or a rejected line.

    :raises DamagedDocumentError: cut or corrupt; nothing is kept, downloading again may help
    :raises UnreadableDocumentError: a required column is missing, or it is no such report
    :raises DecisionNeededError: more lines than ``max_rejected_share`` were rejected; they are kept
    """
    row = ledger.get(report_id)
    if row["report_type"] != report_type.name:
        raise ValueError(f"{ledger.store}: report {report_id} is a {row['report_type']}, not a {report_type.name}")
    stored = ledger.stored_document(report_id)
    if not stored and not row["document_id"]:
        raise DecisionNeededError(f"{ledger.store}: report {report_id} is {row['status']} and has no document")
    raw = stored or fetch_document(hook, row["document_id"])
    document = Document(raw, report_type, charset=raw.charset, usual_charset=hook.marketplace.usual_charset)
    loaded = _load(ledger, row, document, None if stored else raw)
    share = loaded.rejected.count / document.line_count if document.line_count else 0.0
    if share > max_rejected_share:
        raise DecisionNeededError(
            f"{ledger.store}: {loaded.rejected.count} of {document.line_count} lines of report {report_id} ({report_type.name}) "
            f"could not be read, more than max_rejected_share {max_rejected_share:.2%}. Nothing was applied. The lines and "
            "reasons are in fba.rejected_row; raise max_rejected_share in stores.yaml if they can be done without"
        )
    return loaded


def _load(ledger: ReportLedger, row: dict[str, Any], document: Document, raw: RawReport | None) -> LoadedReport:
    named, key = statements("ledger"), {"store": ledger.store, "report_id": row["report_id"]}
    rejected = Rejections()
    with ledger.warehouse.connect() as db:
        if raw:
            db.execute(named["forget_document"], key)
            for number, chunk in enumerate(raw.chunks):
                values = {**key, "chunk": number, "content": encrypt(chunk), "charset": raw.charset}
                db.execute(named["store_chunk"], values)
        db.execute(named["forget_rejected"], key)

        def rejections_kept(blocks: Iterable[Block]) -> Iterator[Block]:
            for block in blocks:
                for line in block.rejected:
                    rejected.count += 1
                    if line.sku is None:
                        rejected.unreadable += 1
                    else:
                        rejected.skus.add(line.sku)
                    values = {"line_number": line.line_number, "reason": line.reason, "sku": line.sku}
                    db.execute(named["reject"], {**key, **values, "raw_line": encrypt(line.raw)})
                yield block

        stock = stock_frame(rejections_kept(document.blocks()))
        db.execute(named["note_rows"], {**key, "row_count": len(stock), "rejected_row_count": rejected.count})
    return LoadedReport(row, document, stock, rejected)


def copy_rows(db: psycopg.Connection[Any], store: str, report: LoadedReport | None, table: str) -> None:
    """Replace a store's parsed copy of a report type with the rows of this report.

    :param db: an open transaction
    :param report: None if Amazon says there is nothing
    :param table: name of the parsed copy in the schema fba
    """
    named, name = statements("ledger"), sql.Identifier("fba", table)
    db.execute(sql.SQL(named["clear_copy"].decode()).format(table=name), {"store": store})
    if report is None:
        return
    columns = sql.SQL(", ").join(map(sql.Identifier, report.document.copy_columns))
    leading = b"".join(copy_escaped(text) + b"\t" for text in (store, report.row["report_id"]))
    fill = sql.SQL(named["fill_copy"].decode()).format(table=name, columns=columns)
    with db.cursor().copy(fill) as copy:
        for block in report.document.blocks():
            copy.write(block.copy_text(leading))


def copy_escaped(text: str) -> bytes:
    """Write a text as a field of PostgreSQL's COPY text format."""
    for special, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(special, escaped)
    return text.encode()


def _as_gzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    head = b""
    while len(head) < 2 and (chunk := next(chunks, b"")):
        head += chunk
    if head[:2] == b"\x1f\x8b":
        yield from chain([head], chunks)
        return
    packer = zlib.compressobj(level=1, wbits=31)
    for chunk in chain([head], chunks):
        yield packer.compress(chunk)
    yield packer.flush()


def _in_pieces(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    gathered = bytearray()
    for chunk in chunks:
        gathered += chunk
        while len(gathered) >= size:
            yield bytes(gathered[:size])
            del gathered[:size]
    if gathered:
        yield bytes(gathered)
