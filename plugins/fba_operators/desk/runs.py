"""The page *Reports and runs*: how fresh everything is, what was refused, what could not be read, and Amazon's quotas."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import psycopg
from fastapi import APIRouter, Request
from fastapi.responses import Response

from fba_operators.amazon.operations import OPERATIONS
from fba_operators.desk.access import DAGS
from fba_operators.desk.lists import SCREEN, Row, Text, as_csv, rows_as_csv, screen
from fba_operators.desk.reading import Db
from fba_operators.desk.view import page
from fba_operators.warehouse.statements import execute

router = APIRouter()
REPORT_COLUMNS = (
    *("store", "report_id", "report_type", "status", "requested_at", "finished_at", "applied_at", "refused_at"),
    *("row_count", "rejected_row_count", "data_start", "data_end"),
)
RUN_COLUMNS = (
    *(
        "store",
        "dag_id",
        "run_id",
        "started_at",
        "finished_at",
        "outcome",
        "failure",
        "rows_in",
        "rows_rejected",
        "rows_changed",
    ),
    "throttled_seconds",
)
FRESH_COLUMNS = ("store", "listings_at", "afn_at", "shipments_at", "orders_at", "inventory_run_at", "inventory_outcome")
CALL_COLUMNS = ("store", "operation", "calls", "rate", "burst", "throttled")
QUOTA_COLUMNS = ("operation", "whose", "left_now", "burst", "rate")
REJECTED = 500  # lines of a report that are shown
KINDS = {"all": "All reports", "refused": "Refused", "rejected": "With rejected lines"}


@router.get("/reports")
def reports(
    request: Request,
    db: Db,
    store: Text = "",
    only: Literal["all", "refused", "rejected"] = "all",
    after: UUID | None = None,
    after_at: datetime | None = None,
    form: Literal["page", "csv", "runs", "calls", "quotas", "freshness"] = "page",
) -> Response:
    """Freshness, refusals with the way around them, reports, runs, and the calls of a day against Amazon's quotas."""

    def read(session: psycopg.Connection[Any], last: Row | None, most: int) -> list[dict[str, Any]]:
        begin = {"after": last and last["request_id"], "after_at": last and last["requested_at"]}
        return execute(session, "desk.reports_listed", store=store or None, only=only, **begin, most=most).fetchall()

    if form == "csv":
        return as_csv("reports", REPORT_COLUMNS, read)
    if form == "runs":
        return rows_as_csv("runs", RUN_COLUMNS, _runs(db))
    if form == "calls":
        return rows_as_csv("calls", CALL_COLUMNS, _calls(db))
    if form == "quotas":
        return rows_as_csv("quotas", QUOTA_COLUMNS, _quotas(db))
    if form == "freshness":
        return rows_as_csv("freshness", FRESH_COLUMNS, execute(db, "desk.freshness").fetchall())
    chosen = {"store": store, "only": only}
    rows, last = screen(read(db, {"request_id": after, "requested_at": after_at} if after else None, SCREEN + 1))
    return page(
        request,
        "all_reports.html",
        rows=rows,
        following=last and {**chosen, "after": last["request_id"], "after_at": last["requested_at"].isoformat()},
        stores=[row["store"] for row in execute(db, "desk.stores")],
        fresh=execute(db, "desk.freshness").fetchall(),
        refusals=execute(db, "desk.refusals").fetchall(),
        runs=_runs(db),
        calls=_calls(db),
        quotas=_quotas(db),
        kinds=KINDS,
        chosen=chosen,
    )


@router.get("/rejected")
def rejected(request: Request, db: Db, store: Text, report: Text, form: Literal["page", "csv"] = "page") -> Response:
    """The lines of a report that could not be read, and why."""
    rows = execute(db, "desk.rejected_lines", store=store, report=report, most=REJECTED + 1).fetchall()
    if form == "csv":
        return rows_as_csv("rejected", ("line_number", "reason", "sku"), rows[:REJECTED])
    return page(
        request,
        "rejected.html",
        store=store,
        report=report,
        rows=rows[:REJECTED],
        cut=len(rows) > REJECTED,
    )


def _runs(db: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    return execute(db, "desk.last_runs", dags=list(DAGS)).fetchall()


def _calls(db: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    """The calls of the last day, with the rate that Amazon documents."""
    rows = execute(db, "desk.calls_by_operation").fetchall()
    for row in rows:
        known = OPERATIONS.get(row["operation"])
        row |= {"rate": known and known.rate, "burst": known and known.burst}
        row["a_day"] = known and int(known.rate * 86400)
    return rows


def _quotas(db: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    """What is left of each quota that tasks share. Its name begins with the application's client id, which is not shown."""
    rows = execute(db, "desk.quotas").fetchall()
    for row in rows:
        _, *whose, operation = row["bucket"].split(":")
        row |= {"operation": operation, "whose": ", ".join(whose)}
    return rows
