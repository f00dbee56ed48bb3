"""What is decided in the desk. Every decision has two steps: a page that says what it will do, then a form that does it.

All that a form sends is in its address, so Airflow's audit log has it. Who sees a form must already be allowed to send it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.api_fastapi.logging.decorators import action_logging
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from fba_operators.desk.access import MAY_ACT, MAY_TRIGGER, same_origin
from fba_operators.desk.lists import Text
from fba_operators.desk.notice import Notice, carried
from fba_operators.desk.reading import Db, Trouble, WarehouseMissingError, connection_of, reading
from fba_operators.desk.start_run import DagNow, Started, dag_now, start_run
from fba_operators.desk.view import link, page
from fba_operators.errors import UnavailableError
from fba_operators.fulfillment.choices import ACTIONS, choice
from fba_operators.fulfillment.decide import decide, look
from fba_operators.warehouse.database import DEFAULT_WAREHOUSE, Warehouse
from fba_operators.warehouse.statements import execute

router = APIRouter()

INVENTORY, SEND = "fba_get_inventory", "fba_send_fulfillment_requests"
# What a run of each DAG does, for who starts one.
RUNS = {
    INVENTORY: "It asks Amazon for the stock reports of every store and updates the pool. Reports that would wrongly set stock "
    "to 0 are refused, as by schedule.",
    SEND: "It sends every request that is due to Amazon, also of stores that do not send by schedule. The hold, business hours "
    "and approvals are kept. It settles what is open, and asks Amazon to cancel what is to be cancelled.",
    "fba_track_orders": "It asks Amazon what has changed about the orders, and brings parcels and timelines up to date.",
    "fba_get_shipments": "It asks Amazon what was shipped in the lookback window, and brings progress up to date.",
    "fba_publish_stock": "It tells the destinations of stores.yaml which quantities have changed.",
}

_REPORTS = {"GET_MERCHANT_LISTINGS_ALL_DATA": "listings report", "GET_AFN_INVENTORY_DATA": "AFN report"}
_on_inventory = Depends(requires_access_dag("POST", DagAccessEntity.RUN, param_dag_id=INVENTORY))
_on_the_dag = Depends(requires_access_dag("POST", DagAccessEntity.RUN))  # the one that dag_id of the address names
_same_origin = Depends(same_origin)


# One request


@router.get("/decide", dependencies=MAY_TRIGGER)
def ask(request: Request, db: Db, user: GetUserDep, store: Text, number: Text, action: Text) -> HTMLResponse:
    """What a decision about a request will do, and the form that takes it."""
    _known(action)
    seen = look(db, store, number)
    if seen is None:
        raise HTTPException(404, "There is no request of this number in this store.")
    chosen = choice(seen, action)
    return page(
        request,
        "confirm.html",
        title=f"{chosen.label}?",
        facts=[("Store", store), ("Request", number), ("Now", seen.is_now)],
        says=chosen.says,
        warning=chosen.warning,
        refusal=chosen.refusal,
        label=chosen.label,
        send_to=link("decide", store=store, number=number, action=action, seen=seen.digest),
        back=link("request", store=store, number=number),
        back_words=number,
        actor=user.get_name(),
    )


@router.post("/decide", dependencies=[*MAY_ACT, Depends(action_logging("fba_desk_decide"))])
def take(user: GetUserDep, store: Text, number: Text, action: Text, seen: Text) -> RedirectResponse:
    """Take a decision about a request."""
    _known(action)
    with _answers():
        warehouse = Warehouse(connection=connection_of(DEFAULT_WAREHOUSE))
        outcome = decide(warehouse, store, number, action, actor=user.get_name(), seen=seen)
    notice = Notice(outcome.sentence, outcome.done)
    return _then(link("request", store=store, number=outcome.fr_number, said=carried(notice)))


# A run of a DAG


@router.get("/run", dependencies=[_on_the_dag])
def ask_run(request: Request, user: GetUserDep, dag_id: Text) -> HTMLResponse:
    """What a run now will do, and the form that starts it; also where the first run has yet to make the tables."""
    _runnable(dag_id)
    now = dag_now(dag_id)
    facts = [("DAG", dag_id), ("Newest run", now.last_run or None)]
    if dag_id == SEND:
        with contextmanager(reading)() as db:
            facts.append(("Pending requests", _value(db, "desk.pending_requests")))
    return page(
        request,
        "confirm.html",
        title=f"Run {dag_id} now?",
        facts=facts,
        says=RUNS[dag_id],
        warning="What is sent can only be cancelled at Amazon, and Amazon may refuse." if dag_id == SEND else "",
        refusal=now.refusal,
        label="Run now",
        send_to=link(f"run-{dag_id}", seen=now.digest({})),
        back="./",
        back_words="Overview",
        actor=user.get_name(),
    )


# From 3.4 on, Airflow's audit log has the DAG of an address's path, not that of a parameter.
@router.post("/run-{dag_id}", dependencies=[_same_origin, _on_the_dag, Depends(action_logging("fba_desk_run"))])
def run(user: GetUserDep, dag_id: str, seen: Text) -> RedirectResponse:
    """Start a run with the DAG's own params."""
    _runnable(dag_id)
    now = dag_now(dag_id)
    return _started(start_run(now, {}, actor=user.get_name(), seen=seen, digest=now.digest({})))


@router.get("/accept", dependencies=[_on_inventory])
def ask_accept(request: Request, db: Db, user: GetUserDep, store: Text) -> HTMLResponse:
    """What accepting that stock is gone will do, and the form that does it."""
    now, refused = dag_now(INVENTORY), _refused(db, store)
    return page(
        request,
        "confirm.html",
        title=f"Accept zeroed stock of {store}?",
        facts=[
            ("Store", store),
            *((f"Refused {_REPORTS[row['report_type']]}", _times(row)) for row in refused),
            ("Why", _value(db, "desk.last_failure", store=store, dag_id=INVENTORY)),
            ("Newest run", now.last_run or None),
        ],
        says="A run of fba_get_inventory for this store takes the refused reports, or new ones if Amazon makes new ones by now, and "
        "writes what they say, even if most SKUs become 0 or a report is empty.",
        warning="Compare with Seller Central first. A SKU that becomes 0 is offered nowhere any more, and gets its quantity back only "
        "from a later report. The runs after this one refuse such reports again.",
        refusal=_why_not_accept(now, refused, store),
        label="Accept, and run",
        send_to=link("accept", store=store, seen=now.digest(_accepting(store), refused)),
        back="./",
        back_words="Overview",
        actor=user.get_name(),
    )


@router.post("/accept", dependencies=[_same_origin, _on_inventory, Depends(action_logging("fba_desk_accept"))])
def accept(db: Db, user: GetUserDep, store: Text, seen: Text) -> RedirectResponse:
    """Start a run for one store that accepts that its stock is gone."""
    now, refused = dag_now(INVENTORY), _refused(db, store)
    if why := _why_not_accept(now, refused, store):
        return _started(Started("", f"Nothing was started. {why}"))
    conf = _accepting(store)
    return _started(start_run(now, conf, actor=user.get_name(), seen=seen, digest=now.digest(conf, refused)))


def _accepting(store: str) -> dict[str, Any]:
    return {"stores": [store], "accept_zeroed_stock": True}


def _refused(db: psycopg.Connection[Any], store: str) -> list[dict[str, Any]]:
    return execute(db, "desk.refused_stock", store=store).fetchall()


def _value(db: psycopg.Connection[Any], name: str, **values: Any) -> Any:
    """The only value of a statement's only row."""
    return next(iter((execute(db, name, **values).fetchone() or {"": None}).values()))


def _times(row: dict[str, Any]) -> str:
    return str(row["report_id"]) + (f", the newest of {row['number']}" if row["number"] > 1 else "")


def _why_not_accept(now: DagNow, refused: list[dict[str, Any]], store: str) -> str:
    return now.refusal or (
        "" if refused else f"No report of stock of {store} is refused, so there is nothing to accept."
    )


# Both


def _known(action: str) -> None:
    if action not in ACTIONS:
        raise HTTPException(404, "There is no such decision.")


def _runnable(dag_id: str) -> None:
    if dag_id not in RUNS:
        raise HTTPException(404, "The desk runs no such DAG.")


def _started(started: Started) -> RedirectResponse:
    return _then(link("./", said=carried(Notice(started.sentence, bool(started.run_id)))))


def _then(address: str) -> RedirectResponse:
    return RedirectResponse(address, status_code=303)


@contextmanager
def _answers() -> Iterator[None]:
    """Say what it means for a decision when the warehouse does not take it."""
    try:
        yield
    except UnavailableError as error:
        raise WarehouseMissingError(Trouble(str(error), "Try again in a moment.")) from None
    except psycopg.errors.QueryCanceled:
        raise WarehouseMissingError(
            Trouble("The warehouse was too slow; nothing was done.", "Try again in a moment.")
        ) from None
    except psycopg.OperationalError as error:
        if error.pgconn is not None:  # psycopg names it where no session was made
            raise WarehouseMissingError(
                Trouble(
                    "The warehouse does not answer; nothing was done.", "See whether PostgreSQL runs, then try again."
                )
            ) from None
        raise WarehouseMissingError(
            Trouble(
                "The warehouse stopped answering, so it is not known whether this was done.",
                "Look at the request when it answers again: if it was done, its timeline has it.",
            )
        ) from None
