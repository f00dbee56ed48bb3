"""Every wait for the warehouse ends: somebody's idle session holds rows or a lock, and the other stores' runs are green."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest

from devstack.airflow import store_connection, warehouse_connection
from fba_operators.errors import ThrottledError, UnavailableError
from fba_operators.operators import RetentionOperator
from fba_operators.warehouse import statements
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.lock import locked
from sandbox.server.server import Sandbox
from tests.faults.campaign import INVENTORY, SEND, SHIPMENTS, Campaign, reset
from tests.helpers import context, run
from tests.stores import STORE

LOCKS = (
    "fba.schema_version",
    "fba.feed",
    "fba.global_inventory_pool",
    "fba.follow_up",
    "fba.report",
    "fba.shipment_item",
)


@pytest.fixture(scope="module")
def amazon():
    with Sandbox(listings=30, processing_seconds=0.01) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def url(postgres, migrated_template):
    return postgres.create_database("waits", template=migrated_template)


@pytest.fixture
def short_waits(monkeypatch):
    """Give up a lock after a fifth of a second instead of half a minute."""
    real = statements.statement

    def shortened(name):
        text = real(name)
        return text.replace(b"'30s'", b"'200ms'") if name == "warehouse.begin" else text

    monkeypatch.setattr(statements, "statement", shortened)


@contextmanager
def idle_session(url, *queries):
    """A psql that somebody has left open in the middle of a transaction."""
    with psycopg.connect(url, application_name="psql") as db:
        for query, values in queries:
            db.execute(query, values)
        yield db
        db.rollback()


def everything_of(store, url):
    """Statements that hold every row of a store, in every table."""
    with psycopg.connect(url) as db:
        tables = db.execute(
            "SELECT table_name FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)"
            " WHERE table_schema = 'fba' AND column_name = 'store' AND table_type = 'BASE TABLE'"
        ).fetchall()
    return [(f"SELECT 1 FROM fba.{table} WHERE store = %s FOR UPDATE".encode(), (store,)) for (table,) in tables]


@pytest.mark.parametrize("dag_id", [INVENTORY, SEND, SHIPMENTS])
def test_rows_of_another_store_are_not_waited_for(url, amazon, monkeypatch, short_waits, dag_id):
    reset(url, amazon)
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(url))
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url))
    with Campaign(url, amazon, monkeypatch) as campaign:
        campaign.prepare(dag_id, "plain")
        campaign.add("OTHER-1", store="other", ship_to_name="Old")
        campaign.sql(
            "UPDATE fba.fulfillment_request SET created_at = now() - interval '100 days' WHERE store = 'other'"
        )
        campaign.sql("INSERT INTO fba.store (store, max_stock_age_hours) VALUES ('other', 6)")
        campaign.sql(
            "INSERT INTO fba.global_inventory_pool (store, sku, fba_quantity, fbm_quantity, quantity, quantity_source)"
            " VALUES ('other', 'A', 1, 0, 1, 'afn_report')"
        )
        with idle_session(url, *everything_of("other", url)):
            states = campaign.run_dag(dag_id, **campaign.params(dag_id))
        assert set(states.values()) <= {"success", "skipped"}, campaign.output[-3000:]
        campaign.sql("DELETE FROM fba.global_inventory_pool WHERE store = 'other'")
        assert campaign.wrong_during_fault(dag_id, states) == []


@pytest.mark.parametrize("room", LOCKS)
def test_a_lock_of_another_store_is_not_waited_for(url, amazon, monkeypatch, short_waits, room):
    reset(url, amazon)
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(url))
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url))
    held = ("SELECT pg_advisory_xact_lock(hashtext(%s), hashtext('other'))", (room,))
    if room == "fba.schema_version":
        held = ("SELECT pg_advisory_xact_lock(hashtext(%s))", (room,))
    with Campaign(url, amazon, monkeypatch) as campaign, idle_session(url, held):
        campaign.prepare(SEND, "plain")
        assert set(campaign.run_dag(SEND).values()) <= {"success", "skipped"}
        assert Warehouse().migrate() == []


def test_who_holds_a_row_is_named(warehouse, warehouse_url, sql, short_waits, monkeypatch):
    sql("INSERT INTO fba.fulfillment_request (store, fr_number) VALUES ('s', 'FR-1')")
    held = ("SELECT 1 FROM fba.fulfillment_request FOR UPDATE", None)
    real = statements.statement
    monkeypatch.setattr(
        statements,
        "statement",
        lambda name: real(name).replace(b"interval '20 seconds'", b"interval '0'") if name == "warehouse.who_blocks" else real(name).replace(b"'30s'", b"'200ms'"),
    )  # fmt: skip
    with (
        idle_session(warehouse_url, held),
        pytest.raises(
            UnavailableError,
            match=r"held by another session for too long, probably by process \d+ \(psql, user postgres\).*pg_terminate_backend",
        ),
        warehouse.connect() as db,
    ):
        db.execute("UPDATE fba.fulfillment_request SET order_comment = 'x'")


def test_a_store_that_somebody_locks_is_deferred_and_not_failed(warehouse, warehouse_url):
    held = ("SELECT pg_advisory_xact_lock(hashtext('fba.feed'), hashtext(%s))", (STORE,))
    with idle_session(warehouse_url, held), pytest.raises(ThrottledError, match="another task is at work"):  # noqa: SIM117
        with locked(warehouse, "fba.feed", STORE, patience=timedelta(seconds=1)):
            raise AssertionError("it was held")


def test_every_transaction_has_limits(warehouse):
    with warehouse.connect() as db:
        for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
            assert db.execute(f"SHOW {name}".encode()).fetchone() != ("0",)


def test_retention_leaves_what_somebody_holds_to_the_next_run(warehouse, warehouse_url, sql, short_waits):
    sql(
        "INSERT INTO fba.fulfillment_request (store, fr_number, ship_to_name, created_at)"
        " VALUES ('s', 'FR-1', 'Old', now() - interval '100 days')"
    )
    with idle_session(warehouse_url, ("SELECT 1 FROM fba.fulfillment_request FOR UPDATE", None)):
        run(RetentionOperator(task_id="retention"), context())
        assert sql("SELECT ship_to_name FROM fba.fulfillment_request").fetchone() == ("Old",)
    run(RetentionOperator(task_id="retention"), context())
    assert sql("SELECT ship_to_name FROM fba.fulfillment_request").fetchone() == (None,)


def test_a_server_that_is_silent_is_given_up_after_a_minute(warehouse):
    with warehouse.connect() as db, socket.socket(fileno=os.dup(db.fileno())) as tcp:
        assert tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, pause, number = (
            tcp.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + pause * number == 60
        assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
