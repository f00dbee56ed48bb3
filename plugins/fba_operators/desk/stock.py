"""The pages *Stock*: the SKUs of a store, and why one of them has the number that it has."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import psycopg
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response
from psycopg import sql

from fba_operators.desk.access import may_act
from fba_operators.desk.explain import why
from fba_operators.desk.lists import IN_CELL, ON_SCREEN, SCREEN, Row, Text, as_csv, rows_as_csv, screen
from fba_operators.desk.plot import plot
from fba_operators.desk.reading import Db
from fba_operators.desk.view import page
from fba_operators.warehouse.statements import compose, execute, statement

router = APIRouter()
HISTORY = 500  # changes of a SKU that are shown
FOUND = 100  # SKUs that a search shows
COLUMNS = (
    "sku",
    "title",
    "asin",
    "quantity",
    "fba_quantity",
    "fbm_quantity",
    "quantity_source",
    "unconfirmed_since",
    "updated_at",
)
MORE = {"low": ("days_of_cover",), "changed": ("changed_at", "changed_from", "changed_to")}
TABLES = {
    "history": (
        "desk.sku_history",
        (
            "at",
            "quantity_before",
            "quantity",
            "fba_quantity",
            "fbm_quantity",
            "quantity_source_before",
            "quantity_source",
            "afn_report_id",
            "listings_report_id",
        ),
    ),
    "afn": (
        "desk.sku_afn_lines",
        ("report_id", "line_number", "warehouse_condition_code", "quantity_available", "fnsku", "condition_type"),
    ),
    "listings": (
        "desk.sku_listings_lines",
        ("report_id", "line_number", "fulfillment_channel", "quantity", "price", "status", "asin"),
    ),
    "requests": ("desk.sku_requests", ("fr_number", "status", "units", "promised", "created_at")),
}
ONLY = {
    "all": "All SKUs",
    "zero": "At zero",
    "low": "Low: sold out soon",
    "changed": "Changed in the last 24 hours",
    "unconfirmed": "No report names them any more",
    "conflicts": "Listings contradict each other",
}
SORTS = {"sku": "SKU", "fewest": "fewest units first", "most": "most units first"}
Only = Literal["all", "zero", "low", "changed", "unconfirmed", "conflicts"]
Sort = Literal["sku", "fewest", "most"]


@router.get("/stock")
def stock(
    request: Request,
    db: Db,
    store: Text | None = None,
    q: Text = "",
    only: Only = "all",
    sort: Sort = "sku",
    after: Text | None = None,
    after_units: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    after_at: datetime | None = None,
    after_days: float = 0,
    form: Literal["page", "csv"] = "page",
) -> Response:
    """The SKUs of one store: found by what was typed, or one screen of a filter in an order."""
    stores = [row["store"] for row in execute(db, "desk.stores")]
    store = store or next(iter(stores), None)
    if store is None:
        return page(request, "stock.html", stores=[], store=None, rows=[])
    words = re.findall(r"[^\W_]+", q)
    letters = IN_CELL if form == "csv" else ON_SCREEN
    if q.strip():
        search = {
            "begins": like(q.strip().upper()),
            "asin": q.strip().upper(),
            "words": _all_of(words),
            "most": FOUND + 1,
            "letters": letters,
        }
        rows = _rows(db, "desk.stock_found", {"store": store, **search})
        if form == "csv":
            return rows_as_csv("stock", COLUMNS, rows)
        return page(
            request,
            "stock.html",
            stores=stores,
            store=store,
            rows=rows[:FOUND],
            found=FOUND if len(rows) > FOUND else None,
            **_choices(q, only, sort),
            following=None,
        )

    def read(session: psycopg.Connection[Any], last: Row | None, most: int) -> list[dict[str, Any]]:
        values = {"store": store, "only": only, "most": most, "letters": letters, **_after(last)}
        return _rows(session, _keys(only, sort), values)

    if form == "csv":
        return as_csv("stock", COLUMNS + MORE.get(only, ()), read)
    first = (
        {"after_sku": after, "quantity": after_units, "changed_at": after_at, "days_of_cover": after_days}
        if after
        else None
    )
    rows, last = screen(read(db, first, SCREEN + 1))
    following = last and {
        "store": store,
        "only": only,
        "sort": sort,
        "after": last["after_sku"],
        "after_units": last["quantity"],
        "after_at": _iso(last["changed_at"]),
        "after_days": last["days_of_cover"],
    }
    return page(
        request,
        "stock.html",
        stores=stores,
        store=store,
        rows=rows,
        found=None,
        **_choices(q, only, sort),
        following=following,
    )


def like(begins: str) -> str:
    """The pattern of LIKE for texts that begin like this."""
    return re.sub(r"([\\%_])", r"\\\1", begins) + "%"


def _all_of(words: list[str]) -> str | None:
    """The tsquery for all of these words, of which the last may go on; None where that would be most SKUs."""
    if not words or len(words[-1]) < 2:
        words = words[:-1]
        return " & ".join(words) or None
    return " & ".join([*words[:-1], f"{words[-1]}:*"])


def _choices(q: str, only: str, sort: str) -> dict[str, Any]:
    return {"q": q, "only": only, "sort": sort, "filters": ONLY, "sorts": SORTS}


def _keys(only: str, sort: str) -> str:
    """The statement that selects the SKUs of a filter in an order."""
    if only in ("low", "changed", "conflicts"):
        return {"low": "desk.stock_low", "changed": "desk.stock_changed", "conflicts": "desk.stock_conflicts"}[only]
    return {"sku": "desk.stock_by_sku", "fewest": "desk.stock_fewest", "most": "desk.stock_most"}[sort]


def _rows(db: psycopg.Connection[Any], keys: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    query = compose("desk.stock_rows", keys=sql.SQL(statement(keys).decode()))
    return db.cursor(row_factory=psycopg.rows.dict_row).execute(query, values).fetchall()


def _after(last: Row | None) -> dict[str, Any]:
    """Where the next rows begin: after this one."""
    return {
        "after": last and last["after_sku"],
        "after_units": last and last["quantity"],
        "after_at": last and last["changed_at"],
        "after_days": last and last["days_of_cover"],
    }


def _iso(value: datetime | None) -> str | None:
    return value.isoformat() if value else None


@router.get("/sku")
def sku(
    request: Request,
    db: Db,
    acts: Annotated[bool, Depends(may_act)],
    store: Text,
    sku: Text,
    form: Literal["page", "history", "afn", "listings", "requests"] = "page",
) -> Response:
    """One SKU: its number, the lines of the reports behind it, its history, and what is promised of it."""
    key = {"store": store, "sku": sku}
    row = execute(db, "desk.sku", **key).fetchone()
    tables: dict[str, Any] = {
        name: execute(db, query, **key, most=HISTORY).fetchall() for name, (query, _) in TABLES.items()
    }
    if row is None and not tables["history"]:
        raise HTTPException(404, "The stock of this store has no such SKU.")
    if form != "page":
        return rows_as_csv(form, TABLES[form][1], tables[form])
    reports = {name: row and row[name] for name in ("afn_report_id", "listings_report_id")}
    breakdown = execute(db, "desk.sku_breakdown", **key).fetchone()
    return page(
        request,
        "sku.html",
        acts=acts,
        row=row,
        **tables,
        drawing=_history_plot(row, tables["history"]),
        why=row and why(row, tables["afn"], tables["listings"], tables["history"], breakdown),
        rejected=execute(db, "desk.sku_rejected_lines", **key, **reports).fetchall(),
        cover=execute(db, "desk.cover", **key).fetchone(),
        breakdown=breakdown,
        begins=execute(db, "desk.history_begins").fetchone(),
    )


def _history_plot(row: Row | None, history: list[dict[str, Any]]) -> Any:
    """The quantity over time; before its first change it was what that change found."""
    points = [(change["at"], change["quantity"] or 0) for change in reversed(history)]
    if not points:
        return ""
    return plot(points, title="Quantity over time", until=datetime.now(UTC) if row else None)
