"""The pages *Requests*: the orders that Amazon is asked to fulfil, and what happened to one of them."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

import psycopg
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import Response

from fba_operators.desk.access import may_act
from fba_operators.desk.lists import IN_CELL, ON_SCREEN, SCREEN, Row, Text, as_csv, rows_as_csv, screen
from fba_operators.desk.reading import Db
from fba_operators.desk.stock import like
from fba_operators.desk.view import page
from fba_operators.fulfillment.choices import choices
from fba_operators.fulfillment.decide import look
from fba_operators.warehouse.statements import execute

router = APIRouter()
STATUSES = ("pending", "sending", "submitted", "unknown", "accepted", "rejected", "invalid", "cancelled")
COLUMNS = (
    *("store", "fr_number", "status", "reason", "amazon_order_status", "channel", "shipping_method", "skus", "units"),
    *("created_at", "sent_at", "resolved_at"),
)
TABLES = {
    "timeline": ("desk.request_timeline", ("at", "what", "package_key", "detail", "source", "actor")),
    "items": ("desk.request_items", ("line", "sku", "title", "quantity", "shipped", "delivered", "open", "unit_price")),
    "packages": (
        "desk.request_packages",
        (
            "package_key",
            "status",
            "carrier",
            "tracking_number",
            "units",
            "skus",
            "ship_date",
            "arrives_at",
            "delivered_at",
        ),
    ),
    "shipments": (
        "desk.request_shipments",
        ("sku", "quantity", "carrier", "tracking_number", "service_level", "ship_date"),
    ),
    "quotes": (
        "desk.request_quotes",
        (
            "speed",
            "chosen",
            "fulfillable",
            "fee",
            "currency",
            "arrive_earliest",
            "arrive_latest",
            "shipments",
            "quoted_at",
        ),
    ),
    "feeds": (
        "desk.request_feeds",
        ("feed_id", "status", "submitted_at", "finished_at", "result_code", "message_code", "description"),
    ),
}


@router.get("/requests")
def requests(
    request: Request,
    db: Db,
    q: Text = "",
    sku: Text = "",
    store: Text = "",
    status: Literal[
        "", "pending", "sending", "submitted", "unknown", "accepted", "rejected", "invalid", "cancelled"
    ] = "",
    channel: Text = "",
    day: date | Literal[""] = "",
    after: Text | None = None,
    after_store: Text = "",
    after_at: datetime | None = None,
    form: Literal["page", "csv"] = "page",
) -> Response:
    """The requests, newest first: of a number, SKU, status, channel or day."""
    wanted = {
        "number": like(q.strip().upper()) if q.strip() else None,
        "sku": sku.strip() or None,
        "store": store or None,
        "status": status or None,
        "channel": channel or None,
        "day": day or None,
        "letters": IN_CELL if form == "csv" else ON_SCREEN,
    }

    def read(session: psycopg.Connection[Any], last: Row | None, most: int) -> list[dict[str, Any]]:
        begin = {
            "after": last and last["after_number"],
            "after_store": last and last["store"],
            "after_at": last and last["created_at"],
        }
        return execute(session, "desk.requests_listed", **wanted, **begin, most=most).fetchall()

    if form == "csv":
        return as_csv("requests", COLUMNS, read)
    first = {"after_number": after, "store": after_store, "created_at": after_at} if after else None
    rows, last = screen(read(db, first, SCREEN + 1))
    chosen = {"q": q, "sku": sku, "store": store, "status": status, "channel": channel, "day": str(day)}
    following = last and {
        **chosen,
        "after": last["after_number"],
        "after_store": last["store"],
        "after_at": last["created_at"].isoformat(),
    }
    return page(
        request,
        "requests.html",
        rows=rows,
        following=following,
        stores=[row["store"] for row in execute(db, "desk.stores")],
        channels=[row["channel"] for row in execute(db, "desk.channels")],
        statuses=STATUSES,
        chosen=chosen,
    )


@router.get("/request")
def one(
    request: Request,
    db: Db,
    acts: Annotated[bool, Depends(may_act)],
    store: Text,
    number: Text,
    form: Literal["page", "timeline", "items", "packages", "shipments", "quotes", "feeds"] = "page",
) -> Response:
    """One request: what it asks for, what happened to it and when, and where its parcels are."""
    key = {"store": store, "number": number}
    row = execute(db, "desk.request", **key).fetchone()
    if row is None:
        raise HTTPException(404, "There is no request of this number in this store.")
    if form != "page":
        query, columns = TABLES[form]
        return rows_as_csv(form, columns, execute(db, query, **key).fetchall())
    tables: dict[str, Any] = {name: execute(db, query, **key).fetchall() for name, (query, _) in TABLES.items()}
    return page(
        request,
        "request.html",
        acts=acts,
        row=row,
        choices=choices(now) if acts and (now := look(db, store, number)) else [],
        words=execute(db, "desk.request_words", **key).fetchone(),
        needs=execute(db, "desk.request_needs", **key).fetchall(),
        copies=execute(db, "desk.request_copies", **key).fetchall(),
        **tables,
    )
