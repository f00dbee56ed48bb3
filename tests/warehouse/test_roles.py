"""include/sql/roles.sql: what the DAGs, a merchant's system and a dashboard may do, each with a login of its own."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from pathlib import Path

import psycopg
import pytest

from devstack.airflow import warehouse_connection
from devstack.postgres import PSQL, running_postgres
from fba_operators.fulfillment.decide import decide, look
from fba_operators.operators import PrepareRunOperator, SummariseRequestsOperator
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.statements import SQL_FOLDER, execute
from tests.helpers import as_product, run
from tests.sending import GOOD, PERSONAL
from tests.stores import STORE, US

ROLES = SQL_FOLDER / "roles.sql"
LOGINS = {"airflow": "fba_product", "second": "fba_product", "shop": "fba_merchant", "dashboard": "fba_reader"}
DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana-dashboard.json"
DENIED = psycopg.errors.InsufficientPrivilege
numbers = itertools.count(1)


def give_roles(url):
    subprocess.run([PSQL, "--set", "ON_ERROR_STOP=1", "--quiet", "--dbname", url, "--file", ROLES], check=True)


@pytest.fixture(scope="module")
def server():
    """One of its own: roles belong to a whole server. Its owner of databases is no superuser, as with a hosted one."""
    with running_postgres() as server:
        with psycopg.connect(server.url("postgres"), autocommit=True) as db:
            db.execute("CREATE ROLE dba LOGIN CREATEROLE CREATEDB")
        yield server


def of(url, login):
    """The address of a database for another login."""
    return url.replace("//postgres@", f"//{login}@")


@pytest.fixture
def warehouse_url(server, monkeypatch):
    """A new warehouse, made by the owner of databases, with the tables that the DAGs' login made of nothing."""
    name = f"roles_{next(numbers)}"
    url = server.url(name)
    with psycopg.connect(of(server.url("postgres"), "dba"), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}".encode())
        db.execute(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC".encode())
    give_roles(of(url, "dba"))
    with psycopg.connect(of(url, "dba"), autocommit=True) as db:
        for login, role in LOGINS.items():
            if not db.execute("SELECT to_regrole(%s)", (login,)).fetchone()[0]:
                db.execute(f"CREATE ROLE {login} LOGIN IN ROLE {role}".encode())
                if role == "fba_product":
                    db.execute(f"GRANT {login} TO dba".encode())
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(of(url, "airflow")))
    Warehouse().migrate()
    give_roles(of(url, "dba"))
    return of(url, "airflow")


@pytest.fixture
def login(warehouse_url):
    """Connect as one of the logins: ``login("shop")``."""
    opened = []

    def connect(name):
        opened.append(psycopg.connect(warehouse_url.replace("airflow@", f"{name}@"), autocommit=True))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def product(login):
    connection = login("airflow")
    as_product(connection)
    connection.autocommit = True
    return connection


def order(db, number="FR-1", **fields):
    """Insert a request as a merchant's system does."""
    row = {"store": STORE, "fr_number": number, "shipping_method": "Standard", **PERSONAL, **fields}
    with db.transaction():
        names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
        db.execute(f"INSERT INTO fba.fulfillment_request ({names}) VALUES ({marks})".encode(), [*row.values()])
        db.execute(
            "INSERT INTO fba.fulfillment_request_item (store, fr_number, line, sku, quantity) VALUES (%s, %s, 1, %s, 2)",
            (STORE, number, GOOD),
        )


def advance(product, number, *statuses):
    for status in statuses:
        product.execute("UPDATE fba.fulfillment_request SET status = %s WHERE fr_number = %s", (status, number))


def status_of(db, number="FR-1"):
    return db.execute("SELECT status FROM fba.fulfillment_request WHERE fr_number = %s", (number,)).fetchone()[0]


# The product


def test_a_send_from_a_merchants_order_to_amazons_answer_without_a_superuser(shop, login, monkeypatch):
    order(login("shop"))
    ctx = shop.context()
    run(PrepareRunOperator(task_id="prepare", stores=[STORE]), ctx)
    with monkeypatch.context() as one_run:
        one_run.setattr(shop, "context", lambda run_type: ctx)
        assert shop.send() == {"accepted": 1}
    assert run(SummariseRequestsOperator(task_id="summarise", stores=[STORE]), ctx) == {STORE: "success"}
    assert status_of(login("dashboard")) == "accepted"
    assert shop.orders_made() == {"FR-1": 1}
    login("shop").execute("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    shop.send(until="settle")
    assert status_of(login("shop")) == "cancelled"


def test_another_login_of_the_product_can_migrate_what_the_first_one_made(login):
    second = login("second")
    second.execute("ALTER TABLE fba.feed ADD COLUMN more text")
    second.execute("CREATE OR REPLACE FUNCTION fba.frozen(status text) RETURNS boolean LANGUAGE sql AS 'SELECT true'")
    login("airflow").execute("CREATE TABLE fba.newer (n int)")
    second.execute("INSERT INTO fba.newer VALUES (1)")


def test_the_login_that_made_an_older_warehouse_becomes_the_product(server, warehouse_url, monkeypatch):
    """Else the database would refuse it what it has to do, from the moment at which the roles exist.

    ``warehouse_url`` comes first, so that the owner of databases makes the roles: it may not grant those of a superuser.
    """
    with psycopg.connect(server.url("postgres"), autocommit=True) as db:
        db.execute("DROP ROLE IF EXISTS old_login")
        db.execute("CREATE ROLE old_login LOGIN")
        db.execute("CREATE DATABASE older OWNER old_login")
    url = server.url("older")
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(of(url, "old_login")))
    Warehouse().migrate()
    give_roles(url)
    assert Warehouse().migrate() == []
    with Warehouse().connect() as db:
        assert db.execute("SELECT fba.is_product()").fetchone() == (True,)
        db.execute("ALTER TABLE fba.feed ADD COLUMN more text")


def test_it_may_be_run_at_any_time_and_takes_back_what_it_does_not_give(server, warehouse_url, login):
    with psycopg.connect(of(warehouse_url, "airflow"), autocommit=True) as db:
        db.execute("GRANT SELECT ON fba.lwa_token, fba.fulfillment_request TO fba_reader")
        before = privileges(db)
    give_roles(warehouse_url.replace("airflow@", "dba@"))
    with psycopg.connect(warehouse_url) as db:
        after = privileges(db)
    assert before - after
    assert not after - before
    with pytest.raises(DENIED):
        login("dashboard").execute("SELECT token FROM fba.lwa_token")
    give_roles(warehouse_url.replace("airflow@", "postgres@"))
    with psycopg.connect(warehouse_url) as db:
        assert privileges(db) == after


def privileges(db):
    return set(
        db.execute("""
            SELECT r.rolname, c.relname, a.attname, p.privilege
            FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE')) AS p (privilege)
            JOIN pg_roles AS r ON r.rolname IN ('fba_product', 'fba_merchant', 'fba_reader')
            WHERE c.relnamespace = 'fba'::regnamespace AND c.relkind IN ('r', 'v')
              AND has_column_privilege(r.oid, c.oid, a.attnum, p.privilege)
        """).fetchall()
    )


# A dashboard


def test_every_panel_of_the_grafana_dashboard_is_filled_by_the_dashboards_login(login, product):
    order(login("shop"))
    for table, row in {
        "store": {"max_stock_age_hours": 24, "low_stock_days": 14},
        "global_inventory_pool": {
            "sku": GOOD,
            "fba_quantity": 7,
            "fbm_quantity": 0,
            "quantity": 7,
            "quantity_source": "afn_report",
        },
        "stock_cover": {"sku": GOOD, "fba_units": 7, "units_a_day": 2, "days_of_cover": 3, "as_of": "2026-11-01"},
        "package": {"fr_number": "FR-1", "package_key": "1"},
        "run": {"dag_id": "fba_get_inventory", "run_id": "1", "outcome": "failed", "calls": '{"createReport": 2}'},
        "report": {
            "request_id": "00000000-0000-0000-0000-000000000001",
            "report_id": "1",
            "report_type": "GET_AFN_INVENTORY_DATA",
            "marketplace_id": US,
            "status": "DONE",
            "requested_at": "2026-11-01",
            "applied_at": "2026-11-01",
        },
    }.items():
        names, marks = ", ".join(["store", *row]), ", ".join(["%s"] * (1 + len(row)))
        product.execute(f"INSERT INTO fba.{table} ({names}) VALUES ({marks})".encode(), [STORE, *row.values()])
    # One that is under way, and one that Airflow ended because its time was up.
    product.execute(
        "INSERT INTO fba.run (store, dag_id, run_id, ends_by) VALUES (%s, 'fba_track_orders', 'under way', now() + interval '1 hour'),"
        " (%s, 'fba_track_orders', 'over', now() - interval '1 hour')",
        [STORE, STORE],
    )
    dashboard = json.loads(DASHBOARD.read_text())
    db = login("dashboard")
    rows = {}
    for panel in dashboard["panels"]:
        (target,) = panel["targets"]
        query = re.sub(
            r"\$__timeFilter\((\S+?)\)", r"\1 BETWEEN now() - interval '30 days' AND now()", target["rawSql"]
        )
        assert "$" not in query
        cursor = db.execute(query.encode())
        rows[panel["title"]] = cursor.fetchall()
        if target["format"] == "time_series":
            assert cursor.description[0].name == "time"
    assert {title for title, found in rows.items() if not found} == set()
    assert len(rows["Runs that were not a success"]) == 2


# A merchant's system


def test_a_merchant_edits_and_deletes_what_was_not_sent(login):
    shop = login("shop")
    order(shop)
    shop.execute("UPDATE fba.fulfillment_request SET ship_to_name = 'Another', order_comment = NULL")
    shop.execute("UPDATE fba.fulfillment_request_item SET quantity = 3")
    assert shop.execute(
        "SELECT ship_to_name, quantity FROM fba.fulfillment_request JOIN fba.fulfillment_request_item"
        " USING (store, fr_number)"
    ).fetchall() == [("Another", 3)]
    shop.execute("DELETE FROM fba.fulfillment_request_item")
    shop.execute("DELETE FROM fba.fulfillment_request")


def test_a_merchant_puts_right_cancels_and_acknowledges(login, product):
    shop = login("shop")
    order(shop)
    advance(product, "FR-1", "invalid")
    shop.execute("UPDATE fba.fulfillment_request SET acknowledged_at = now()")
    shop.execute("UPDATE fba.fulfillment_request SET status = 'pending'")
    shop.execute("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    assert status_of(shop) == "pending"


def test_a_merchant_approves_what_was_quoted_and_an_edit_takes_that_back(login, product):
    shop = login("shop")
    order(shop)
    approval = "SELECT approved_by, approved_fee FROM fba.fulfillment_request"
    for edit in (
        "UPDATE fba.fulfillment_request_item SET quantity = quantity + 1",
        "UPDATE fba.fulfillment_request SET ship_to_name = ship_to_name || '!'",
    ):
        product.execute(
            "INSERT INTO fba.fulfillment_quote (store, fr_number, speed, quoted_at, fulfillable, fee, chosen)"
            " VALUES (%s, 'FR-1', 'Standard', now(), true, 12.30, true)",
            (STORE,),
        )
        assert shop.execute("SELECT fee FROM fba.fulfillment_quote").fetchall() != []
        shop.execute("UPDATE fba.fulfillment_request SET approved_at = now(), approved_by = 'Ann'")
        assert [(who, float(fee)) for who, fee in shop.execute(approval)] == [("Ann", 12.3)]
        shop.execute(edit.encode())
        assert shop.execute(approval).fetchall() == [(None, None)]
        assert shop.execute("SELECT fee FROM fba.fulfillment_quote").fetchall() == []


def test_a_merchant_decides_a_stuck_request(login, product):
    shop = login("shop")
    order(shop)
    advance(product, "FR-1", "sending", "unknown")
    shop.execute("UPDATE fba.fulfillment_request SET status = 'accepted'")
    assert status_of(shop) == "accepted"


def test_a_merchant_sends_again(login, product):
    shop = login("shop")
    order(shop)
    advance(product, "FR-1", "sending", "unknown", "cancelled")
    assert shop.execute("SELECT fba.resend(%s, 'FR-1')", (STORE,)).fetchone() == ("FR-1-2",)
    assert status_of(shop, "FR-1-2") == "pending"
    with pytest.raises(DENIED):
        login("dashboard").execute("SELECT fba.resend(%s, 'FR-1')", (STORE,))


@pytest.mark.parametrize("view", ["fulfillment_progress", "needs_attention", "global_inventory_pool"])
@pytest.mark.parametrize("name", ["shop", "dashboard"])
def test_both_read_how_things_are(login, name, view):
    login(name).execute(f"SELECT * FROM fba.{view}".encode()).fetchall()


def test_what_the_product_does_is_refused_to_a_merchant_whatever_it_sets(login, product):
    shop = login("shop")
    order(shop)
    for path in ("public", "pg_temp, pg_catalog"):
        shop.execute("SET fba.writer = 'product'")
        shop.execute("CREATE TEMPORARY TABLE IF NOT EXISTS pg_roles (oid oid, rolname name)")
        shop.execute(f"SET search_path = {path}".encode())
        with pytest.raises(psycopg.errors.RaiseException, match="cannot go from pending to sending"):
            shop.execute("UPDATE fba.fulfillment_request SET status = 'sending'")


def test_what_is_under_way_is_neither_edited_nor_deleted_by_a_merchant(login, product):
    shop = login("shop")
    order(shop)
    advance(product, "FR-1", "sending")
    for statement, why in {
        "UPDATE fba.fulfillment_request SET ship_to_name = 'Another'": "content is frozen",
        "UPDATE fba.fulfillment_request_item SET quantity = 9": "items are frozen",
        "DELETE FROM fba.fulfillment_request_item": "items are frozen",
        "DELETE FROM fba.fulfillment_request": "cannot be deleted",
    }.items():
        with pytest.raises(psycopg.errors.RaiseException, match=why):
            shop.execute(statement.encode())


def test_a_merchant_may_do_nothing_else(login):
    shop = login("shop")
    not_refused = []
    for statement in (
        *("TRUNCATE fba.fulfillment_request CASCADE", "ALTER TABLE fba.fulfillment_request DISABLE TRIGGER guard"),
        *("SET session_replication_role = 'replica'", "SET ROLE fba_product"),
        *("CREATE TABLE fba.mine (n int)", "DROP VIEW fba.needs_attention"),
        "INSERT INTO fba.fulfillment_request (store, fr_number, status) VALUES ('s', 'FR-2', 'accepted')",
        *(f"UPDATE fba.fulfillment_request SET {name} = NULL" for name in ("seller_id", "claim_id", "absent_since")),
        *(f"UPDATE fba.fulfillment_request SET {name} = NULL" for name in ("attempts", "sent_at", "status_reason")),
        *("UPDATE fba.fulfillment_request SET approved_fee = 1", "UPDATE fba.fulfillment_quote SET fee = 1"),
        *("UPDATE fba.fulfillment_request SET transport = 'feed'", "DELETE FROM fba.outbound_order"),
        *("SELECT token FROM fba.lwa_token", "SELECT feed_id FROM fba.feed", "DELETE FROM fba.feed"),
        *("SELECT fr_number FROM fba.feed_message", "SELECT content FROM fba.report_document"),
        *("SELECT raw_line FROM fba.rejected_row", "SELECT summary FROM fba.run", "SELECT token FROM fba.feed_check"),
        *("UPDATE fba.foreign_feed SET cleared_at = now()", "UPDATE fba.global_inventory_pool SET quantity = 1"),
    ):
        try:
            shop.execute(statement.encode())
        except DENIED:
            continue
        not_refused.append(statement)
    assert not_refused == []


# Who decides in the desk


def test_a_desk_that_only_reads_sees_the_same_as_who_decides(login, product):
    """The page is read by a login in fba_reader, the decision is taken with the DAGs': both make the same digest."""
    order(login("shop"))
    seen = look(login("dashboard"), STORE, "FR-1")
    assert seen == look(product, STORE, "FR-1")
    assert seen.has_address
    assert decide(Warehouse(), STORE, "FR-1", "cancel", actor="ann", seen=seen.digest).done
    told = login("dashboard").execute("SELECT what, actor, source FROM fba.request_event ORDER BY n").fetchall()
    assert told == [("created", None, "merchant"), ("cancel_requested", "ann", "merchant")]


def test_the_desk_may_no_more_than_a_merchant_although_its_login_is_the_products(login, product):
    order(login("shop"))
    advance(product, "FR-1", "sending", "unknown")
    product.execute("UPDATE fba.fulfillment_request SET claim_id = gen_random_uuid()")
    product.execute(
        "INSERT INTO fba.feed (store, document_id, claim_id, run_id, message_count) VALUES (%s, 'D', gen_random_uuid(), 'r', 1)",
        (STORE,),
    )
    product.execute(
        "INSERT INTO fba.feed_message (store, document_id, message_id, fr_number) VALUES (%s, 'D', 1, 'FR-1')", (STORE,)
    )
    with Warehouse().connect() as db:
        execute(db, "fulfillment.as_person", actor="ann")
        with pytest.raises(psycopg.errors.RaiseException, match="by hand yet"):
            execute(
                db, "fulfillment.decide_status", store=STORE, fr_number="FR-1", status="unknown", decided="accepted"
            )


# A dashboard

# What a reader must not see: addresses, secrets, raw documents, and texts that may quote an address.
HIDDEN = {
    "fulfillment_request": set(PERSONAL) | {"ship_to_address_2", "ship_to_address_3", "status_reason"},
    "fulfillment_request_item": {"gift_message"},
    "outbound_order": {"content_digest"},
    "feed": {"document_digest", "result_document"},
    "feed_check": {"token"},
    "feed_message": {"description"},
    "rejected_row": {"raw_line"},
    "run": {"summary"},
    "applied_stock": {"result"},
    "amazon_fulfilled_shipments_report": {"extra"},
    "report_document": {"store", "report_id", "chunk", "content", "charset", "stored_at"},
    "lwa_token": {"credential", "token", "expires_at", "refreshed_at", "fetching_until"},
}
# What a merchant's system writes into a request.
WRITTEN = {
    *PERSONAL,
    *("store", "fr_number", "shipping_method", "displayable_order_number", "ship_to_address_2", "ship_to_address_3"),
    *("created_at", "cancel_requested_at", "acknowledged_at", "approved_at", "approved_by"),
    *("channel", "packaging", "block_amazon_logistics", "signature", "deliver_together", "deliver_by"),
}


def columns_of(db):
    return db.execute("""
        SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'fba' ORDER BY 1, ordinal_position
    """).fetchall()


def test_of_every_column_it_is_decided_whether_a_reader_sees_it(login):
    """A column that is missing here was added without that decision: put it into roles.sql, or into HIDDEN."""
    dashboard = login("dashboard")
    columns = columns_of(login("airflow"))
    refused = {}
    for table, column in columns:
        try:
            dashboard.execute(f'SELECT "{column}" FROM fba."{table}"'.encode())
        except DENIED:
            refused.setdefault(table, set()).add(column)
    assert refused == HIDDEN
    assert len(columns) > 100


def test_of_every_column_of_a_request_it_is_decided_whether_a_merchant_writes_it(login):
    held = privileges(login("airflow"))
    for privilege, more in {"INSERT": {"resend_of"}, "UPDATE": {"status"}}.items():
        of_merchant = {
            column
            for role, table, column, what in held
            if (role, table, what) == ("fba_merchant", "fulfillment_request", privilege)
        }
        assert of_merchant == WRITTEN | more


def test_a_reader_writes_nothing(login):
    assert {what for role, _, _, what in privileges(login("airflow")) if role == "fba_reader"} == {"SELECT"}
    for statement in ("DELETE FROM fba.fulfillment_request", "TRUNCATE fba.run", "DELETE FROM fba.feed"):
        with pytest.raises(DENIED):
            login("dashboard").execute(statement.encode())
