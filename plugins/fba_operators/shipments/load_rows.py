"""Rows of a shipments report into the warehouse, each once, whatever was loaded before.

Imports numpy, so only a task that loads imports it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.processing_status import ProcessingStatus
from fba_operators.errors import EmptyDocumentError
from fba_operators.reports.document import Block
from fba_operators.reports.ledger import ReportLedger
from fba_operators.reports.load import (
    MAX_KEPT_REJECTED,
    LoadedReport,
    insert_rejected,
    open_report,
    read_report,
    record_applied,
)
from fba_operators.reports.report_types import FULFILLED_SHIPMENTS
from fba_operators.reports.rows import MAX_NAME, Rejected
from fba_operators.shipments.staging import Staging
from fba_operators.warehouse.statements import compose, execute

TIMES = ("purchase_date", "payments_date", "shipment_date", "reporting_date", "estimated_arrival_date")
# A day less than the tables take: their bounds are midnight where the session was that made them. CASE, because a cast that
# is only the second condition may be tried first.
READABLE = """CASE WHEN coalesce({0}, '') = '' THEN true
    WHEN {0} LIKE '____-__-__T%' AND pg_input_is_valid({0}, 'timestamptz')
    THEN {0}::timestamptz BETWEEN '2000-01-02' AND '2099-12-31' ELSE false END"""


def load_shipments(hook: SellingPartnerHook, ledger: ReportLedger, report_id: str) -> Counter[str]:
    """Load a finished report; returns the counts of :func:`apply_rows`, empty where nothing was shipped.

    First transaction: raw copy, ledger's counts, rejected lines. Second: the rows. Readable rows are always loaded.
    """
    counts: Counter[str] = Counter()
    if ledger.get(report_id)["status"] == ProcessingStatus.CANCELLED:
        return counts
    opened = open_report(hook, ledger, report_id, FULFILLED_SHIPMENTS)
    with ledger.warehouse.connect() as db:
        execute(db, "shipments.lock_report", store=ledger.store, report_id=report_id)
        execute(db, "shipments.lock_store", store=ledger.store)
        try:
            window = (opened.row["data_start"], opened.row["data_end"])

            def read(blocks: Iterable[Block]) -> Staging:
                with db.transaction():  # undone alone if the document has to be read again
                    staging = Staging(db, ledger.store, window)
                    staging.fill(blocks)
                    return staging

            # 1.0: rows of shipments are independent of each other, so the readable ones are loaded in any case.
            report = read_report(ledger, opened, max_rejected_share=1.0, read=read)
            counts = apply_rows(db, ledger.store, report)
        except EmptyDocumentError:
            pass
        record_applied(db, ledger.store, report_id)
    return counts


def apply_rows(db: psycopg.Connection[Any], store: str, report: LoadedReport[Staging]) -> Counter[str]:
    """Merge a report's staged rows into the parsed copy and ``fba.shipment_item``; the caller commits.

    :param db: the transaction in which they are staged
    :return: lines, rejected, rows (each at most once), new, updated, repeated, replaced, without_id, without_request,
        of_requests, unknown_sku
    """
    key = {"store": store, "report_id": report.row["report_id"]}
    staging = report.content
    counts: Counter[str] = Counter(lines=report.document.line_count)
    db.execute("SET LOCAL TimeZone TO 'UTC'")  # for a time without an offset
    execute(db, "reports.tune_for_bulk")
    execute(db, "reports.avoid_nested_loops")
    execute(db, "shipments.analyze_staging")
    counts["rejected"] = report.rejected.count + _reject_unreadable(db, key, report)
    rows = counts["lines"] - counts["rejected"]
    execute(db, "reports.record_rows", **key, row_count=rows, rejected_row_count=counts["rejected"], columns=None)
    without_id = _count(db, "shipments.count_without_id")
    counts["without_id"] = without_id + staging.known_without_id
    execute(db, "shipments.drop_repeats")
    execute(db, "shipments.name_further_parcels")
    execute(db, "shipments.name_known_parcels", store=store)
    if without_id:
        execute(db, "shipments.name_rows")
        execute(db, "shipments.analyze_staging")
        execute(db, "shipments.drop_known_by_id", store=store)
    counts["replaced"] = execute(db, "shipments.replace_rows_without_id", store=store).rowcount
    update = compose("shipments.update_items", update_changed=_row_statement("shipments.update_changed", store, report))
    counts["updated"] = db.execute(update).rowcount
    db.execute(_row_statement("shipments.insert_new_items", store, report))
    counts["new"] = db.execute(_row_statement("shipments.insert_new", store, report)).rowcount
    execute(db, "shipments.attach_late_requests", store=store)
    execute(db, "shipments.tell_shipped", store=store)
    counts.update(execute(db, "shipments.count_staged", store=store).fetchone() or {})
    counts.update(staging.known.counts(db, store))
    counts["repeated"] = rows - counts["new"] - counts["updated"]
    return counts


def _count(db: psycopg.Connection[Any], name: str, **values: Any) -> int:
    return int(execute(db, name, **values).fetchall()[0]["count"])


def _row_statement(name: str, store: str, report: LoadedReport[Any]) -> sql.Composed:
    """One of the statements that write rows, for the columns this document has; those it lacks keep their values."""
    columns = [*(each for each in report.document.copy_columns if each not in ("line_number", "extra")), "extra"]
    staged = {column: _staged_value(column) for column in columns}
    comma = sql.SQL(", ")
    return compose(
        name,
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


def _reject_unreadable(db: psycopg.Connection[Any], key: dict[str, str], report: LoadedReport[Any]) -> int:
    """Reject staged rows without a readable shipment-date or with too long an id; another unreadable time goes to ``extra``.

    :return: number of rows rejected
    """
    readable = {column: sql.SQL(READABLE).format(sql.Identifier("staged", column)) for column in TIMES}
    query = compose(
        "shipments.reject_unreadable",
        readable_ship_date=readable["shipment_date"],
        no_ship_date=sql.Literal("shipment-date is no time in ISO 8601 between the years 2000 and 2100"),
        too_long=sql.SQL("greatest(length(shipment_item_id), length(merchant_order_id)) > {}").format(MAX_NAME),
        long_id=sql.Literal(f"shipment-item-id or merchant-order-id is longer than {MAX_NAME} characters"),
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
    if wrong:
        insert_rejected(
            db,
            key,
            (
                Rejected(number, wrong[number], line, sku=None)
                for block in report.document.blocks()
                for number, line in zip(block.line_numbers.tolist(), block.rows.lines(), strict=True)
                if number in wrong
            ),
            room=MAX_KEPT_REJECTED - report.rejected.count,
        )
    return len(wrong)
