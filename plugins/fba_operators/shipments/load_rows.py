"""Rows of a shipments report into the warehouse, each once, whatever was loaded before. Imports pandas, so only a task that loads does."""

from __future__ import annotations

from collections import Counter
from typing import Any

import psycopg
from psycopg import sql

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import EmptyDocumentError
from fba_operators.reports.ledger import ReportLedger
from fba_operators.reports.load_report import LoadedReport, load_report
from fba_operators.reports.report_types import FULFILLED_SHIPMENTS
from fba_operators.warehouse.database import encrypt, statements

TIMES = ("purchase_date", "payments_date", "shipment_date", "reporting_date", "estimated_arrival_date")


def load_shipments(hook: SellingPartnerHook, ledger: ReportLedger, report_id: str) -> Counter[str]:
    """Load a finished report; returns the counts of :func:`apply_rows`, empty where nothing was shipped.

    First transaction: raw copy, ledger's counts, rejected lines. Second: the rows. Readable rows are never held back.
    """
    counts: Counter[str] = Counter()
    if ledger.get(report_id)["status"] == "CANCELLED":
        return counts
    with ledger.warehouse.connect() as db:
        db.execute(statements("shipments")["lock_report"], {"store": ledger.store, "report_id": report_id})
        try:
            # Rows of shipments say nothing about each other, so a bad one is no reason to wait with the good.
            report = load_report(hook, ledger, report_id, FULFILLED_SHIPMENTS, max_rejected_share=1.0)
            counts = apply_rows(db, ledger.store, report)
        except EmptyDocumentError:
            pass
        db.execute(statements("ledger")["note_applied"], {"store": ledger.store, "report_ids": [report_id]})
    return counts


def apply_rows(db: psycopg.Connection[Any], store: str, report: LoadedReport) -> Counter[str]:
    """Merge a report's rows into the parsed copy and ``fba.shipment_item``; the caller commits.

    :param db: an open transaction
    :return: lines, rejected, rows (each at most once), new, updated, repeated, replaced, without_id, without_request,
        of_requests, unknown_sku
    """
    named, key = statements("shipments"), {"store": store, "report_id": report.row["report_id"]}
    document = report.document
    counts: Counter[str] = Counter(lines=document.line_count)
    db.execute("SET LOCAL TimeZone TO 'UTC'")  # for a time without an offset
    db.execute(named["lock_store"], key)
    db.execute(statements("ledger")["plan_for_bulk"])
    db.execute(named["create_staging"])
    copied = sql.SQL(", ").join(map(sql.Identifier, document.copy_columns))
    with db.cursor().copy(sql.SQL(named["fill_staging"].decode()).format(columns=copied)) as copy:
        for block in document.blocks():
            copy.write(block.copy_text())
    db.execute(named["analyze_staging"])
    _reject_unreadable_times(db, key, report)
    ((counts["rejected"],),) = db.execute(named["rejected_of"], key)
    told = {"row_count": counts["lines"] - counts["rejected"], "rejected_row_count": counts["rejected"]}
    db.execute(statements("ledger")["note_rows"], {**key, **told})
    ((counts["without_id"],),) = db.execute(named["count_without_id"])
    db.execute(named["drop_repeats"])
    if counts["without_id"]:
        db.execute(named["name_rows"])
        db.execute(named["analyze_staging"])
        db.execute(named["drop_known_by_id"], key)
    counts["replaced"] = db.execute(named["replace_rows_without_id"], key).rowcount
    update = sql.SQL(named["update_items"].decode())
    counts["updated"] = db.execute(update.format(update_changed=_statement("update_changed", store, report))).rowcount
    db.execute(_statement("insert_new_items", store, report))
    counts["new"] = db.execute(_statement("insert_new", store, report)).rowcount
    db.execute(named["attach_late_requests"], key)
    cursor = db.execute(named["count_staged"], key)
    ((counts["rows"], counts["of_requests"], counts["without_request"], counts["unknown_sku"]),) = cursor
    counts["repeated"] = counts["lines"] - counts["rejected"] - counts["new"] - counts["updated"]
    return counts


def _statement(name: str, store: str, report: LoadedReport) -> sql.Composed:
    """One of the statements that write rows, for the columns this document has; those it lacks keep their values."""
    columns = [*(each for each in report.document.copy_columns if each not in ("line_number", "extra")), "extra"]
    staged = {column: _staged_value(column) for column in columns}
    comma = sql.SQL(", ")
    return sql.SQL(statements("shipments")[name].decode()).format(
        store=sql.Literal(store),
        report_id=sql.Literal(report.row["report_id"]),
        requested_at=sql.Literal(report.row["requested_at"]),
        report_type=sql.Literal(FULFILLED_SHIPMENTS.name),
        columns=comma.join(map(sql.Identifier, columns)),
        quantity=staged["quantity_shipped"],
        ship_date=staged["shipment_date"],
        staged_values=comma.join(staged.values()),
        table_values=comma.join(sql.Identifier("p", column) for column in columns),
        assignments=comma.join(
            sql.SQL("{} = {}").format(sql.Identifier(column), value) for column, value in staged.items()
        ),
    )


def _staged_value(column: str) -> sql.Composable:
    template = "{}"
    if column in TIMES:
        template = "nullif({}, '')::timestamptz"
    elif column == "quantity_shipped":
        template = "{}::numeric::bigint"  # 1.0 is 1
    return sql.SQL(template).format(sql.Identifier("s", column))


def _reject_unreadable_times(db: psycopg.Connection[Any], key: dict[str, str], report: LoadedReport) -> None:
    """Reject staged rows without a readable shipment-date; another unreadable time goes to ``extra`` as Amazon sent it."""
    readable = {
        column: sql.SQL(
            "(coalesce({0}, '') = '' OR {0} LIKE '____-__-__T%' AND pg_input_is_valid({0}, 'timestamptz'))"
        ).format(sql.Identifier("staged", column))
        for column in TIMES
    }
    query = sql.SQL(statements("shipments")["unreadable_times"].decode()).format(
        readable_ship_date=readable["shipment_date"],
        all_readable=sql.SQL(" AND ").join(readable.values()),
        unreadable_texts=sql.SQL("jsonb_strip_nulls(jsonb_build_object({}))").format(
            sql.SQL(", ").join(
                sql.SQL("{}, CASE WHEN NOT {} THEN {} END").format(
                    sql.Literal(FULFILLED_SHIPMENTS.amazon_name(column)), valid, sql.Identifier("staged", column)
                )
                for column, valid in readable.items()
            )
        ),
        without_unreadable=sql.SQL(", ").join(
            sql.SQL("{} = CASE WHEN {} THEN {} END").format(
                sql.Identifier(column), valid, sql.Identifier("staged", column)
            )
            for column, valid in readable.items()
        ),
    )
    wrong = dict(db.execute(query).fetchall())
    if not wrong:
        return
    for block in report.document.blocks():
        for number, line in zip(block.line_numbers.tolist(), block.rows.lines(), strict=True):
            if number in wrong:
                values = {"line_number": number, "sku": wrong[number], "raw_line": encrypt(line)}
                reason = {"reason": "shipment-date is no time in ISO 8601"}
                db.execute(statements("ledger")["reject"], {**key, **values, **reason})
