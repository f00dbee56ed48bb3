"""make check-warehouse: what the DAGs leave keeps every guarantee, and whatever breaks one is found and named."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg
import pytest

from devstack.airflow import store_connection, warehouse_connection
from fba_operators.warehouse.check import GUARANTEES, Broken, check, main
from fba_operators.warehouse.database import Warehouse
from sandbox.server.server import Sandbox
from tests.faults.campaign import INVENTORY, SEND, SHIPMENTS, TRACK, Campaign, reset
from tests.stores import SELLER

# What somebody could do by hand, or a fault of ours: without the database's own rules, of which some are the same.
BREAK = {
    "check_quantities": "UPDATE fba.global_inventory_pool SET fba_quantity = quantity + 1 WHERE sku = 'AFN-PLAIN'",
    "check_history": "UPDATE fba.stock_change SET quantity = quantity + 1 WHERE sku = 'AFN-PLAIN'",
    "check_parsed_copies": "DELETE FROM fba.amazon_afn_inventory_report WHERE seller_sku = 'AFN-PLAIN'",
    "check_carriers": "UPDATE fba.fulfillment_request SET status = 'submitted', claim_id = gen_random_uuid() WHERE fr_number = '{sent}'",
    "check_one_carrier": """
        WITH one AS (
            INSERT INTO fba.feed (store, document_id, claim_id, run_id, message_count)
            VALUES ('amazon_us', 'A', gen_random_uuid(), 'r', 1) RETURNING store, document_id
        ), message AS (
            INSERT INTO fba.feed_message (store, document_id, message_id, fr_number) SELECT store, document_id, 1, '{sent}' FROM one
        )
        INSERT INTO fba.outbound_order (claim_id, batch_id, run_id, store, fr_number, seller_id, marketplace_id, endpoint, content_digest,
                                        features, held)
        VALUES (gen_random_uuid(), gen_random_uuid(), 'r', 'amazon_us', '{sent}', 'S', 'M', 'E', 'd', ARRAY[]::text[], false)
    """,
    "check_removed_numbers": """
        INSERT INTO fba.removed_request (fr_number, store, seller_id, removed_at)
        SELECT fr_number, store, seller_id, sent_at - interval '1 day' FROM fba.fulfillment_request WHERE fr_number = '{sent}'
    """,
    "check_items": "DELETE FROM fba.fulfillment_request_item WHERE fr_number = '{sent}'",
    "check_timeline": "DELETE FROM fba.request_event WHERE fr_number = '{sent}' AND what = 'created'",
    "check_addresses": "UPDATE fba.fulfillment_request SET created_at = now() - interval '92 days' WHERE fr_number = '{sent}'",
    "check_encryption": "UPDATE fba.lwa_token SET token = 'Atza|secret'",
    "check_digests": "UPDATE fba.schema_version SET digest = NULL WHERE version = 7",
}
BY_NATURE = {"check_progress"}  # the view adds up what it compares


@pytest.fixture(scope="module")
def url(postgres, migrated_template):
    """A warehouse in which every DAG has run."""
    url = postgres.create_database("checked", template=migrated_template)
    with Sandbox(listings=30, processing_seconds=0.01) as amazon, pytest.MonkeyPatch.context() as patch:
        reset(url, amazon)
        patch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(url))
        patch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url))
        with Campaign(url, amazon, patch) as campaign:
            campaign.prepare(INVENTORY, "plain")
            campaign.prepare(SEND, "plain")
            for dag_id in (INVENTORY, SEND, SHIPMENTS, TRACK):
                if dag_id == SHIPMENTS:
                    amazon.world.ship_now(SELLER)
                states = campaign.run_dag(dag_id, **campaign.params(dag_id))
                assert set(states.values()) <= {"success", "skipped"}, campaign.output[-3000:]
    return url


@pytest.fixture
def copy(postgres, url, monkeypatch):
    """A copy of it, as the connection fba_warehouse."""
    made = postgres.create_database("checked_copy", template="checked")
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(made))
    return made


@pytest.fixture
def sent(copy):
    """The number of a request that was sent."""
    with psycopg.connect(copy) as db:
        return db.execute("SELECT min(fr_number) FROM fba.fulfillment_request WHERE status = 'accepted'").fetchone()[0]


def command(*arguments):
    started = [sys.executable, "-m", "fba_operators.warehouse.check", *arguments]
    return subprocess.run(started, env=dict(os.environ), capture_output=True, text=True, check=False)


def test_what_the_dags_leave_keeps_every_guarantee(copy):
    assert check(Warehouse()) == {}
    done = command()
    assert done.returncode == 0, done.stderr
    assert [line[0] for line in done.stdout.splitlines()] == ["✓"] * len(GUARANTEES)


@pytest.mark.parametrize("name", BREAK)
def test_what_breaks_a_guarantee_is_found_and_named(copy, sent, name):
    with psycopg.connect(copy) as db:
        db.execute("SET session_replication_role = replica")
        assert db.execute(BREAK[name].format(sent=sent).encode()).rowcount > 0
    found = check(Warehouse())
    assert set(found) == {f"warehouse.{name}"}
    assert found[f"warehouse.{name}"].number >= 1
    assert found[f"warehouse.{name}"].first


def test_each_guarantee_is_broken_once():
    assert {f"warehouse.{name}" for name in {*BREAK, *BY_NATURE}} == set(GUARANTEES)


def test_many_are_counted_and_the_first_are_shown(copy):
    with psycopg.connect(copy) as db:
        db.execute("SET session_replication_role = replica")
        number = db.execute("UPDATE fba.global_inventory_pool SET quantity = 12345").rowcount
    assert number > 5
    found = check(Warehouse())["warehouse.check_quantities"]
    assert found == Broken(number, found.first)
    assert len(found.first) == 5
    done = command()
    assert done.returncode == 1
    assert "✗ every quantity is what Amazon holds" in done.stdout
    assert f" and {number - 5} more\n" in done.stdout


def test_nothing_is_written_and_what_cannot_be_checked_is_said(copy, monkeypatch):
    monkeypatch.setitem(GUARANTEES, "warehouse.begin", "it cannot write")
    monkeypatch.setattr("fba_operators.warehouse.check.execute", lambda db, name: db.execute("DELETE FROM fba.run"))
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        check(Warehouse())
    with psycopg.connect(copy) as db:
        db.execute("DROP TABLE fba.request_event CASCADE")
    done = command()
    assert done.returncode == 2
    assert "The warehouse fba_warehouse cannot be checked" in done.stderr
    assert command("--help").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no_such_connection"], "There is no connection no_such_connection: make it in Airflow, or set AIRFLOW_CONN_"),
        (["--help"], "usage: "),
        (["one", "two"], "usage: "),
    ],
)
def test_without_a_connection_it_says_what_to_make(capsys, airflow_database, arguments, says):
    assert main(arguments) == 2
    assert says in capsys.readouterr().err


def test_a_server_that_does_not_answer_is_not_a_broken_guarantee(capsys, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", '{"conn_type": "postgres", "host": "127.0.0.1", "port": 9}')
    assert main([]) == 2
    assert "The warehouse fba_warehouse cannot be checked: " in capsys.readouterr().err
