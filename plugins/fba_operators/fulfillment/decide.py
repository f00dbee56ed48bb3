"""A person's decision about one request: what was seen is compared under the row's lock, and the database's rules decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from fba_operators.fulfillment.choices import Deciding, choice
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.statements import execute

_STATEMENTS = {
    "approve": "fulfillment.decide_approve",
    "pending": "fulfillment.decide_status",
    "cancel": "fulfillment.decide_cancel",
    "resend": "fulfillment.decide_resend",
    "acknowledge": "fulfillment.decide_acknowledge",
    "decide-pending": "fulfillment.decide_status",
    "decide-accepted": "fulfillment.decide_status",
    "decide-rejected": "fulfillment.decide_status",
}


@dataclass(frozen=True)
class Outcome:
    """What became of a decision.

    :param done: whether it was taken
    :param sentence: what was done, or why nothing was
    :param fr_number: the request to look at next: a copy, where one was made
    """

    done: bool
    sentence: str
    fr_number: str


def look(db: psycopg.Connection[Any], store: str, fr_number: str) -> Deciding | None:
    """Return the request as it is now, or None if there is none. It reads nothing that ``fba_reader`` may not read."""
    row = execute(db, "fulfillment.to_decide", store=store, fr_number=fr_number).fetchone()
    return None if row is None else Deciding(**row)


def decide(warehouse: Warehouse, store: str, fr_number: str, action: str, *, actor: str, seen: str) -> Outcome:
    """Take a decision, once: only if the request is still what the person saw, and the database's rules allow it by hand.

    :param action: one of :data:`fba_operators.fulfillment.choices.ACTIONS`
    :param actor: who decides: the user's name in Airflow, which the timeline keeps
    :param seen: ``digest`` of the :class:`Deciding` that the person saw
    :raises KeyError: there is no such action
    :raises ValueError: nobody is named
    :raises UnavailableError: another session holds the request
    """
    if not actor:
        raise ValueError(f"A decision about request {fr_number} of {store} names nobody who takes it; nothing was done")
    name = f"{fr_number} of {store}"
    try:
        with warehouse.connect() as db:
            execute(db, "fulfillment.as_person", actor=actor)
            # Nobody changes it from here on: a second person and a run wait, or pass it over.
            execute(db, "fulfillment.lock_to_decide", store=store, fr_number=fr_number)
            now = look(db, store, fr_number)
            if now is None:
                return Outcome(False, f"Nothing was done: there is no request {name} any more.", fr_number)
            if now.digest != seen:
                return Outcome(
                    False,
                    f"Nothing was done: somebody or a run was faster. {name} is now {now.is_now}. Look at it, and decide again.",
                    fr_number,
                )
            if refusal := choice(now, action).refusal:
                return Outcome(False, f"Nothing was done to {name}. {refusal}", fr_number)
            row = execute(
                db,
                _STATEMENTS[action],
                store=store,
                fr_number=fr_number,
                actor=actor,
                status=now.status,
                decided=action.removeprefix("decide-"),
            ).fetchone()
            then = look(db, store, fr_number)
    except (psycopg.errors.RaiseException, psycopg.errors.CheckViolation) as error:
        return Outcome(False, f"Nothing was done: the database refuses it. {str(error).splitlines()[0]}", fr_number)
    if row is None or then is None:
        return Outcome(False, f"Nothing was done: {name} is {now.is_now}.", fr_number)
    made = str(row["fr_number"])
    if made != fr_number:
        return Outcome(True, f"{name} is sent again as {made}, which is pending.", made)
    if action == "acknowledge":
        return Outcome(True, f"{name} is {then.is_now}, and needs nobody any more.", fr_number)
    return Outcome(True, f"{name} is now {then.is_now}.", fr_number)
