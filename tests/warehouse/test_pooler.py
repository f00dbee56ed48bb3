"""Behind a pooler: with pgbouncer in transaction mode, where each transaction may get another session, all DAGs work."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import ExitStack

import psycopg
import pytest

from devstack.airflow import store_connection, warehouse_connection
from devstack.postgres import free_port
from fba_operators.errors import UnavailableError
from fba_operators.warehouse.database import Warehouse
from sandbox.server.server import Sandbox
from tests.faults.campaign import INVENTORY, SEND, SHIPMENTS, Campaign, reset

PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
CONNECT = Warehouse.connect

pytestmark = pytest.mark.skipif(
    PGBOUNCER is None,
    reason="pgbouncer is not installed, so nothing was tried behind a pooler (Debian: apt install pgbouncer)",
)


@pytest.fixture(scope="module")
def url(postgres, migrated_template):
    return postgres.create_database("pooled", template=migrated_template)


@pytest.fixture(scope="module")
def pooled(postgres, url, tmp_path_factory):
    """The address of that database by way of a pooler with three sessions."""
    folder, port = tmp_path_factory.mktemp("pgbouncer"), free_port()
    folder.chmod(0o755)
    for parent in folder.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    config = folder / "pgbouncer.ini"
    config.write_text(
        f"[databases]\npooled = host=127.0.0.1 port={postgres.port} dbname=pooled user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 100\nquery_wait_timeout = 20\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([PGBOUNCER, "-u", "nobody", config], stdout=subprocess.DEVNULL, stderr=log)
    try:
        address = f"postgresql://postgres@127.0.0.1:{port}/pooled"
        for _ in range(100):
            try:
                psycopg.connect(address).close()
                break
            except psycopg.OperationalError:
                assert process.poll() is None, (folder / "log").read_text()[-500:]
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def amazon():
    with Sandbox(listings=30, processing_seconds=0.01) as sandbox:
        yield sandbox


@pytest.mark.parametrize("dag_id", [INVENTORY, SEND, SHIPMENTS])
def test_a_dag_does_its_work_behind_a_pooler(url, pooled, amazon, monkeypatch, dag_id):
    reset(url, amazon)
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(pooled))
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url))
    with Campaign(url, amazon, monkeypatch) as campaign:
        monkeypatch.setattr(Warehouse, "connect", CONNECT)
        campaign.prepare(dag_id, "plain")
        for more_work in (True, False):
            states = campaign.run_dag(dag_id, **campaign.params(dag_id))
            assert set(states.values()) <= {"success", "skipped"}, campaign.output[-3000:]
            if more_work:
                campaign.add_new_work(dag_id)
                campaign.advance(31)
        assert campaign.wrong_after_fault(dag_id, "plain") == []
        assert campaign.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


def test_nothing_of_the_product_is_left_in_a_session(url, pooled, monkeypatch):
    """Whoever gets the session next is nobody's product, and waits as long as it likes."""
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(pooled))
    for _ in range(10):
        with Warehouse().connect() as db:
            assert db.execute("SELECT fba.is_product()").fetchone() == (True,)
    for _ in range(10):
        with psycopg.connect(pooled) as db:
            assert db.execute("SELECT fba.is_product(), current_setting('lock_timeout')").fetchone() == (False, "0")


def test_a_statement_run_often_is_not_prepared(pooled, monkeypatch):
    """A prepared statement belongs to a session, and the next transaction may be in another."""
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(pooled))
    with Warehouse().connect() as db:
        for number in range(20):
            db.execute("SELECT %s::integer", (number,))
        assert db.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


def test_a_pool_that_is_too_small_is_named(url, pooled, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(pooled))
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(psycopg.connect(pooled)).execute("SELECT 1")
        refused = pytest.raises(UnavailableError, match="The pooler in front of the warehouse gave no session")
        with refused, Warehouse().connect() as db:
            db.execute("SELECT 1")
