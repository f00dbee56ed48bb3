"""The pages *Stock*: the SKUs of a store, and why one of them has the number that it has."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse

from fba_operators.desk.access import may_act
from fba_operators.desk.reading import Db
from fba_operators.desk.view import page
from fba_operators.warehouse.statements import execute

router = APIRouter()
HISTORY = 500  # changes of a SKU that are shown


@router.get("/sku")
def sku(request: Request, db: Db, acts: Annotated[bool, Depends(may_act)], store: str, sku: str) -> HTMLResponse:
    """One SKU: its number, the lines of the reports behind it, its history, and what is promised of it."""
    key = {"store": store, "sku": sku}
    row = execute(db, "desk.sku", **key).fetchone()
    history = execute(db, "desk.sku_history", **key, most=HISTORY).fetchall()
    if row is None and not history:
        raise HTTPException(404, "The stock of this store has no such SKU.")
    reports = {name: row and row[name] for name in ("afn_report_id", "listings_report_id")}
    return page(
        request,
        "sku.html",
        acts=acts,
        row=row,
        history=history,
        afn=execute(db, "desk.sku_afn_lines", **key).fetchall(),
        listings=execute(db, "desk.sku_listings_lines", **key).fetchall(),
        rejected=execute(db, "desk.sku_rejected_lines", **key, **reports).fetchall(),
        outlook=execute(db, "desk.outlook", **key).fetchone(),
        breakdown=execute(db, "desk.sku_breakdown", **key).fetchone(),
        requests=execute(db, "desk.sku_requests", **key).fetchall(),
        begins=execute(db, "desk.history_begins").fetchone(),
    )
