"""The page *Overview*: what needs somebody, and how the stores are."""

from datetime import UTC, datetime, time, timedelta
from itertools import groupby
from typing import Annotated, Any, Literal

import psycopg
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from fba_operators.desk.access import may_act
from fba_operators.desk.actions import RUNS
from fba_operators.desk.lists import rows_as_csv
from fba_operators.desk.plot import NARROW, plot
from fba_operators.desk.reading import Db
from fba_operators.desk.remedies import remedy
from fba_operators.desk.view import link, page
from fba_operators.warehouse.statements import execute

router = APIRouter()
SUBJECTS = 50  # that are named of one kind of thing that needs somebody
TABLES = {
    "needs": ("desk.needs_attention", ("store", "code", "subject", "number", "since", "remedy")),
    "units": ("desk.stock_units", ("store", "day", "units")),
    "requests": ("desk.requests_by_day", ("day", "status", "requests")),
    "parcels": ("desk.parcels_by_status", ("status", "parcels", "arrives_first")),
    "freshness": (
        "desk.freshness",
        ("store", "listings_at", "afn_at", "shipments_at", "orders_at", "inventory_run_at", "inventory_outcome"),
    ),
}
# Where the desk shows what a code of needs_attention is about, where that is not a request.
_PAGES = {
    **dict.fromkeys(("unconfirmed_skus", "vanished_skus"), ("stock", "unconfirmed")),
    **dict.fromkeys(("low_stock", "out_of_stock"), ("stock", "low")),
    "zeroed_skus": ("stock", "zero"),
    "units_jumped": ("stock", "changed"),
    "conflicting_skus": ("stock", "conflicts"),
    "refused_stock": ("reports", "refused"),
    **dict.fromkeys(("rejected_lines", "report_drift"), ("reports", "rejected")),
    **dict.fromkeys(("failed_run", "stale_stock", "clock_skew"), ("reports", "all")),
}


@router.get("/")
def overview(
    request: Request,
    db: Db,
    acts: Annotated[bool, Depends(may_act)],
    form: Literal["page", "needs", "units", "requests", "parcels", "freshness"] = "page",
) -> Response:
    """What needs somebody now, and the state of each store."""
    if form != "page":
        query, columns = TABLES[form]
        rows = execute(db, query, most=100_000).fetchall()
        if form == "needs":
            rows = [{**row, "remedy": remedy(row)} for row in rows]
        return rows_as_csv(form, columns, rows)
    read = {name: execute(db, query).fetchall() for name, (query, _) in TABLES.items() if name != "needs"}
    needs = execute(db, "desk.needs_by_kind", most=SUBJECTS).fetchall()
    for row in needs:
        row["target"] = _target(row)
    statuses = sorted({row["status"] for row in read["requests"]})
    days = {
        day: {row["status"]: row["requests"] for row in rows}
        for day, rows in groupby(read["requests"], lambda row: row["day"])
    }
    return page(
        request,
        "overview.html",
        acts=acts,
        runs=RUNS,
        needs=needs,
        plots=_plots(read["units"]),
        statuses=statuses,
        days=days,
        parcels=read["parcels"],
        fresh=read["freshness"],
        is_new=not read["freshness"] and not _has_stock(db),
    )


def _target(row: dict[str, Any]) -> str | None:
    """The page of the desk that shows what a kind is about, all of it."""
    if row["code"] in ("invalid", "rejected", "unknown"):
        return link("requests", store=row["store"], status=row["code"])
    if row["code"] in _PAGES:
        where, only = _PAGES[row["code"]]
        return link(where, store=row["store"], only=only)
    return None


def _plots(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A plot for each store: units in stock at the end of each day."""
    plots, now = [], datetime.now(UTC)
    for store, days in groupby(rows, lambda row: row["store"]):
        points = [
            (min(datetime.combine(row["day"] + timedelta(days=1), time(), UTC), now), row["units"]) for row in days
        ]
        title = f"Units in stock of {store[:60]} over {len(points)} days"
        plots.append(
            {
                "store": store[:60],
                "units": points[-1][1],
                "drawing": plot(points, title=title, until=now, width=NARROW),
            }
        )
    return plots


def _has_stock(db: psycopg.Connection[Any]) -> bool:
    return execute(db, "desk.stores").fetchone() is not None
