"""The page *Overview*: what needs somebody, and how the stores are."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from fba_operators.desk.access import may_act
from fba_operators.desk.actions import RUNS
from fba_operators.desk.reading import Db
from fba_operators.desk.view import page
from fba_operators.warehouse.statements import execute

router = APIRouter()
MOST_NEEDS = 200  # things that need somebody, on one page


@router.get("/")
def overview(request: Request, db: Db, acts: Annotated[bool, Depends(may_act)]) -> HTMLResponse:
    """What needs somebody now, and the state of each store."""
    return page(
        request,
        "overview.html",
        acts=acts,
        runs=RUNS,
        needs=execute(db, "desk.needs_attention", most=MOST_NEEDS).fetchall(),
    )
