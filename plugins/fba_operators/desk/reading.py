"""The warehouse as the desk reads it: transactions that can write nothing and that end soon, and plain words when it cannot."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, cast

import psycopg
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from fastapi import Depends

from fba_operators.warehouse.database import DEFAULT_WAREHOUSE
from fba_operators.warehouse.statements import execute

DESK = "fba_desk"  # the connection that is used where it exists, so that the desk can have a login that only reads
PATIENCE = 5  # seconds for a connection, and for each statement
MOST_AT_ONCE = 8  # pages that read at the same time: the API server's threads are Airflow's too
_places = threading.BoundedSemaphore(MOST_AT_ONCE)


class Trouble(NamedTuple):
    """Why a page cannot be shown, and what to do about it."""

    what: str
    remedy: str


class WarehouseMissingError(Exception):
    """The warehouse cannot be read; ``trouble`` says why and what to do."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.what)
        self.trouble = trouble


def reading() -> Iterator[psycopg.Connection[Any]]:
    """A transaction that only reads, for one page.

    :raises WarehouseMissingError: there is no connection, the server does not answer, or too many pages are being read
    """
    if not _places.acquire(timeout=PATIENCE):
        raise WarehouseMissingError(
            Trouble("Too many pages of the desk are being read at the same time.", "Try again in a moment.")
        )
    try:
        db = _connected()
        try:
            execute(db, "desk.begin", patience=f"{PATIENCE}s")
            yield db
        finally:
            db.close()
    finally:
        _places.release()


Db = Annotated[psycopg.Connection[Any], Depends(reading)]


def _connected() -> psycopg.Connection[Any]:
    connection = connection_of(DESK, DEFAULT_WAREHOUSE)
    hook = PostgresHook(connection=connection, log_sql=False)
    try:
        db = cast("psycopg.Connection[Any]", hook.get_conn())
    except psycopg.OperationalError:
        raise WarehouseMissingError(
            Trouble(
                f"The warehouse does not answer (connection {connection.conn_id}).",
                "See whether PostgreSQL runs, and whether host, port, login and password of this connection are right.",
            )
        ) from None
    db.prepare_threshold = None  # a prepared statement belongs to a session, and there may be a pooler
    return db


def connection_of(*conn_ids: str) -> Any:
    """Return the first of these connections of Airflow's that there is, made to give up soon where nobody answers.

    :raises WarehouseMissingError: there is none
    """
    for conn_id in conn_ids:
        try:
            connection = BaseHook.get_connection(conn_id)
        except AirflowNotFoundException:
            continue
        connection.extra = json.dumps({"connect_timeout": PATIENCE, **connection.extra_dejson})
        return connection
    raise WarehouseMissingError(
        Trouble(
            f"There is no connection {DEFAULT_WAREHOUSE}, so there is no warehouse to read.",
            f"Make a Postgres connection {DEFAULT_WAREHOUSE} under Admin, Connections; docs/connect.md has the steps.",
        )
    )


def trouble_of(error: psycopg.Error) -> Trouble:
    """What an error of the database means to who reads the page."""
    if isinstance(error, psycopg.errors.QueryCanceled):
        return Trouble(
            f"The warehouse did not answer within {PATIENCE} seconds.",
            "Try again, or look for less at once. If it stays so, look for what keeps the database busy.",
        )
    if isinstance(error, (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName)):
        return Trouble(
            "The warehouse has no tables yet.",
            "Run the DAG fba_get_inventory: the first task of every DAG makes them.",
        )
    if isinstance(error, (psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction)):
        return Trouble(
            "The warehouse is older than the desk.",
            "Run the DAG fba_get_inventory: the first task of every DAG brings the tables up to date.",
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return Trouble(
            "The desk's login may not read a table that it needs.",
            "Run include/sql/roles.sql again, and give the login of the desk's connection the role fba_reader.",
        )
    return Trouble("The warehouse could not be read.", "The API server's log has the error. Try again in a moment.")
