"""Every wait for the warehouse ends: somebody's idle session holds rows or a lock, and the other stores' runs are green."""

from __future__ import annotations

import os
import re
import socket
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest

from devstack.airflow import PROJECT, store_connection, warehouse_connection
from fba_operators.errors import ThrottledError, UnavailableError
from fba_operators.operators import RetentionOperator
from fba_operators.runs import retention
from fba_operators.settings.models import Retention
from fba_operators.warehouse import statements
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.lock import locked
from sandbox.server.server import Sandbox
from tests.faults.campaign import INVENTORY, SEND, SHIPMENTS, TRACK, Campaign, reset
from tests.helpers import context, run
from tests.stores import AFN, LISTINGS, SHIPMENTS_REPORT, STORE

# What another store's tasks hold: the room and its keys.
LOCKS = {
    "fba.available_change": ["other"],
    "fba.feed": ["other"],
    "fba.global_inventory_pool": ["other"],
    "fba.follow_up": ["other"],
    "fba.publication": ["other"],
    "fba.report": [f"other {each}" for each in (LISTINGS, AFN, SHIPMENTS_REPORT)],
    "fba.report_document": ["R1"],
    "fba.shipment_item": ["other"],
    "fba.stock_breakdown": ["other"],
    "fba.track": ["other"],
}
IN_PARTS = {"fba.report_document": "fba.report_document other", "fba.publication": "fba.publication shop"}
PACKAGE = PROJECT / "plugins" / "fba_operators"
SCHEMA = "fba.schema_version"  # one for all stores, which only a migration takes
CONNECT = Warehouse.connect  # Campaign replaces it


@pytest.fixture(scope="module")
def amazon():
    with Sandbox(listings=30, processing_seconds=0.01) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def url(postgres, migrated_template):
    return postgres.create_database("waits", template=migrated_template)


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


# A row of each kind that retention removes, older than any period allows: table and columns.
OLD = {
    "addresses": (
        "fulfillment_request",
        "fr_number, status, ship_to_name, created_at",
        "'FR', 'pending', 'Old', {age}",
    ),
    "raw reports": ("report_document", "report_id, chunk, content, stored_at", "'R0', 0, 'x', {age}"),
    "rejected lines": ("rejected_row", "report_id, line_number, reason", "'R1', 2, 'why'"),
    "processing reports": (
        "feed",
        "document_id, claim_id, run_id, message_count, claimed_at, result_document",
        "'D0', gen_random_uuid(), 'r', 1, {age}, 'x'",
    ),
    "orders of others": ("order_at_amazon", "fr_number, seen_at", "'X', {age}"),
    "feeds of others": ("foreign_feed", "feed_id, seen_at", "'9', {age}"),
    "comparisons of orders": ("feed_check", "checked_until, token, orders_until", "{age}, gen_random_uuid(), {age}"),
    "features": ("feature", "feature, sku, eligible, asked_at", "'F', 'S', true, {age}"),
    "closed requests": ("fulfillment_request", "fr_number, status, resolved_at", "'CLOSED', 'rejected', {age}"),
    "feeds": (
        "feed",
        "document_id, claim_id, run_id, message_count, settled_at",
        "'D1', gen_random_uuid(), 'r', 1, {age}",
    ),
    "shipments": (
        "amazon_fulfilled_shipments_report",
        "item_key, report_id, report_requested_at, line_number, amazon_order_id, shipment_date, sku, quantity_shipped",
        "'K', 'R', {age}, 2, 'S01', {age}, 'SKU', 2",
    ),
    "reports": (
        "report",
        "request_id, report_id, report_type, marketplace_id, status, requested_at",
        "gen_random_uuid(), 'R2', 'T', 'M', 'DONE', {age}",
    ),
    "runs": ("run", "dag_id, run_id, started_at", "'d', 'r', {age}"),
    "changes of stock": ("stock_change", "sku, at", "'SKU', {age}"),
    "breakdowns of stock": ("stock_breakdown", "sku, as_of", "'SKU', {age}"),
    "delivered changes": (
        "available_change",
        "n, sku, at, available, shares_fnsku_with, newest",
        "1, 'SKU', {age}, 1, '{{}}', false",
    ),
}


def add_old(sql, kind, store):
    """Insert the row of a kind, as only a warehouse that is years old has it."""
    table, columns, values = OLD[kind]
    sql("SET session_replication_role = replica")
    age = "now() - interval '40 months'"
    sql(f"INSERT INTO fba.{table} (store, {columns}) VALUES ('{store}', {values.format(age=age)})")
    sql("SET session_replication_role = origin")


@pytest.fixture
def campaign(url, amazon, monkeypatch, short_waits):
    """A store whose DAGs connect to the warehouse as in production."""
    reset(url, amazon)
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(url))
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url))
    with Campaign(url, amazon, monkeypatch) as made:
        monkeypatch.setattr(Warehouse, "connect", CONNECT)
        yield made


@pytest.mark.parametrize("dag_id", [INVENTORY, SEND, SHIPMENTS, TRACK])
def test_rows_of_another_store_are_not_waited_for(url, campaign, dag_id):
    campaign.prepare(dag_id, "plain")
    for kind in OLD:
        add_old(campaign.sql, kind, "other")
        add_old(campaign.sql, kind, "third")
    campaign.sql("INSERT INTO fba.store (store, max_stock_age_hours) VALUES ('other', 6)")
    campaign.sql(
        "INSERT INTO fba.global_inventory_pool (store, sku, fba_quantity, fbm_quantity, quantity, quantity_source)"
        " VALUES ('other', 'A', 1, 0, 1, 'afn_report')"
    )
    with idle_session(url, *everything_of("other", url)):
        states = campaign.run_dag(dag_id, **campaign.params(dag_id))
    assert set(states.values()) <= {"success", "skipped"}, campaign.output[-3000:]
    assert retention.remove_expired(Warehouse(), Retention()).removed == {"other": dict.fromkeys(OLD, 1)}
    campaign.sql("DELETE FROM fba.global_inventory_pool WHERE store = 'other'")
    assert campaign.wrong_during_fault(dag_id, states) == []


def test_rows_of_the_store_itself_fail_the_task_with_a_reason_and_nothing_is_lost(url, campaign):
    campaign.prepare(INVENTORY, "plain")
    campaign.run_dag(INVENTORY, **campaign.params(INVENTORY))
    campaign.add_new_work(INVENTORY)
    campaign.advance(60)
    before = campaign.sql("SELECT sku, quantity FROM fba.global_inventory_pool ORDER BY sku")
    with idle_session(url, ("SELECT 1 FROM fba.global_inventory_pool FOR UPDATE", None)):
        states = campaign.run_dag(INVENTORY, **campaign.params(INVENTORY))
    assert (states["store.merge"], states["summarise"]) == ("failed", "failed")
    assert {type(error) for error in campaign.errors} == {UnavailableError}
    assert all("held by another session for too long" in str(error) for error in campaign.errors)
    assert campaign.sql("SELECT sku, quantity FROM fba.global_inventory_pool ORDER BY sku") == before
    campaign.advance(60)
    assert campaign.run_dag(INVENTORY, **campaign.params(INVENTORY))["store.merge"] == "success"
    assert campaign.wrong_after_fault(INVENTORY, "plain") == []


@pytest.mark.parametrize("dag_id", [INVENTORY, SEND, SHIPMENTS, TRACK])
def test_a_lock_of_another_store_is_not_waited_for(url, campaign, dag_id):
    """A lock that were not of one store alone would fail the run, or leave the follow-up out."""
    take = "SELECT pg_advisory_xact_lock(hashtext(%s), hashtext(%s))"
    held = [(take, (IN_PARTS.get(room, room), key)) for room, keys in LOCKS.items() for key in keys]
    campaign.prepare(dag_id, "plain")
    with idle_session(url, ("SELECT pg_advisory_xact_lock(hashtext(%s))", (SCHEMA,)), *held):
        states = campaign.run_dag(dag_id, **campaign.params(dag_id))
        assert Warehouse().migrate() == []
    assert set(states.values()) <= {"success", "skipped"}, campaign.output[-3000:]
    assert campaign.wrong_during_fault(dag_id, states) == []
    assert dag_id != SHIPMENTS or campaign.calls_of("getFulfillmentOrder") > 0


def test_every_lock_is_tried():
    texts = [
        path.read_text(encoding="utf-8") for path in (*statements.SQL_FOLDER.glob("*.sql"), *PACKAGE.rglob("*.py"))
    ]
    taken = re.compile(
        r"""hashtext\('(fba\.\w+)|(?:locked|take_lock)\([\w.]+, f?"(fba\.\w+)|(?:LOCKED|LOADS) = "(fba\.\w+)\""""
    )
    found = {name for text in texts for names in taken.findall(text) for name in names if name}
    assert found == set(LOCKS)  # and SCHEMA, whose name is put together


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


def test_every_kind_has_an_old_row():
    assert [kind for kind in retention.KINDS if kind != "sums of stock"] == list(OLD)  # of those one row stays


@pytest.mark.parametrize("kind", OLD)
def test_retention_leaves_what_somebody_holds_to_the_next_run(warehouse, warehouse_url, sql, short_waits, caplog, kind):
    caplog.set_level("INFO")
    for each in OLD:
        add_old(sql, each, "third")
    add_old(sql, kind, "other")
    with idle_session(warehouse_url, (f"SELECT 1 FROM fba.{OLD[kind][0]} WHERE store = 'other' FOR UPDATE", None)):
        assert run(RetentionOperator(task_id="retention"), context()) == {"third": dict.fromkeys(OLD, 1)}
    assert f"Left to the next run, because another session holds it: 1 {kind}." in caplog.text
    assert run(RetentionOperator(task_id="retention"), context()) == {"other": {kind: 1}}
    caplog.clear()
    assert run(RetentionOperator(task_id="retention"), context()) == {}
    assert "Left to the next run" not in caplog.text


def test_an_address_stays_while_somebody_holds_a_text_that_quotes_it(warehouse, warehouse_url, sql, short_waits):
    for store in ("other", "third"):
        add_old(sql, "addresses", store)
        for document in (f"{store}-1", f"{store}-2"):
            key = (store, document)
            sql(
                "INSERT INTO fba.feed (store, document_id, claim_id, run_id, message_count, settled_at)"
                " VALUES (%s, %s, gen_random_uuid(), 'r', 1, now())",
                *key,
            )
            sql(
                "INSERT INTO fba.feed_message (store, document_id, message_id, fr_number, description)"
                " VALUES (%s, %s, 1, 'FR', 'Old is no name')",
                *key,
            )
    left = (
        "SELECT ship_to_name, description FROM fba.fulfillment_request JOIN fba.feed_message USING (store, fr_number)"
    )
    held = ("SELECT 1 FROM fba.feed_message WHERE document_id = 'other-2' FOR UPDATE", None)
    with idle_session(warehouse_url, held):
        assert run(RetentionOperator(task_id="retention"), context()) == {"third": {"addresses": 1}}
        assert set(sql(left).fetchall()) == {("Old", "Old is no name"), (None, None)}
    assert run(RetentionOperator(task_id="retention"), context()) == {"other": {"addresses": 1}}
    assert set(sql(left).fetchall()) == {(None, None)}


def test_a_kind_that_cannot_be_removed_stops_no_other(warehouse, warehouse_url, sql, short_waits, caplog):
    for kind in OLD:
        add_old(sql, kind, "third")
    sql("SET session_replication_role = replica")
    sql(
        "INSERT INTO fba.fulfillment_request_item (store, fr_number, line, sku, quantity) VALUES ('third', 'CLOSED', 1, 'A', 1)"
    )
    held = ("SELECT 1 FROM fba.fulfillment_request_item FOR UPDATE", None)
    with idle_session(warehouse_url, held), pytest.raises(UnavailableError, match="but not all closed requests"):
        run(RetentionOperator(task_id="retention"), context())
    assert "Not all closed requests whose retention period is over were removed: UnavailableError" in caplog.text
    assert run(RetentionOperator(task_id="retention"), context()) == {"third": {"closed requests": 1}}


def test_a_server_that_is_silent_is_given_up_after_a_minute(warehouse):
    with warehouse.connect() as db, socket.socket(fileno=os.dup(db.fileno())) as tcp:
        assert tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, pause, number = (
            tcp.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + pause * number == 60
        assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
