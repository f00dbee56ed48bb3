"""The pages *Requests*: the orders that Amazon is asked to fulfil, and what happened to one of them."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse

from fba_operators.desk.access import may_act
from fba_operators.desk.reading import Db
from fba_operators.desk.view import page
from fba_operators.fulfillment.choices import choices
from fba_operators.fulfillment.decide import look
from fba_operators.warehouse.statements import execute

router = APIRouter()


@router.get("/request")
def request(request: Request, db: Db, acts: Annotated[bool, Depends(may_act)], store: str, number: str) -> HTMLResponse:
    """One request: what it asks for, what happened to it and when, and where its parcels are."""
    key = {"store": store, "number": number}
    row = execute(db, "desk.request", **key).fetchone()
    if row is None:
        raise HTTPException(404, "There is no request of this number in this store.")
    return page(
        request,
        "request.html",
        acts=acts,
        row=row,
        choices=choices(now) if acts and (now := look(db, store, number)) else [],
        words=execute(db, "desk.request_words", **key).fetchone(),
        needs=execute(db, "desk.request_needs", **key).fetchall(),
        copies=execute(db, "desk.request_copies", **key).fetchall(),
        items=execute(db, "desk.request_items", **key).fetchall(),
        timeline=execute(db, "desk.request_timeline", **key).fetchall(),
        quotes=execute(db, "desk.request_quotes", **key).fetchall(),
        packages=execute(db, "desk.request_packages", **key).fetchall(),
        shipments=execute(db, "desk.request_shipments", **key).fetchall(),
        feeds=execute(db, "desk.request_feeds", **key).fetchall(),
    )
