"""Crashes: a killed worker, a restarted PostgreSQL, a full disk, a killed triggerer. Afterwards every result is right."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from devstack.airflow import settings, store_connection, warehouse_connection
from devstack.client import AirflowClient
from devstack.postgres import running_postgres
from devstack.standalone import running_airflow
from fba_operators.errors import SellingPartnerError
from fba_operators.reports.ledger import ReportLedger
from fba_operators.warehouse.database import Warehouse
from sandbox.server.server import Sandbox
from tests.faults.campaign import COMPLETE, INVENTORY, SEND, SHIPMENTS, TRACK, Campaign, reset, shipped_dag
from tests.faults.isolated import run_isolated
from tests.stores import SELLER, STORE, US

TASKS = [
    (dag_id, task_id) for dag_id in (INVENTORY, SEND, SHIPMENTS, TRACK) for task_id in shipped_dag(dag_id).task_ids
]
SAMPLE = [(SEND, "store.submit"), (SEND, "store.send"), (TRACK, "store.track")]  # every 24th effect of them
STRIDE = 1 if COMPLETE else 24
LOADS = [(INVENTORY, "store.merge"), (SHIPMENTS, "window.load")]
only_complete = pytest.mark.skipif(not COMPLETE, reason="takes minutes; `make faults` runs it")


class CrashCampaign(Campaign):
    """A campaign in which one task of the first run gets a fault and is then retried, in separate processes."""

    planned: tuple[str, str, int] | None = None
    injected = False
    outcome: Any = None
    around: Callable[[], AbstractContextManager[None]] = staticmethod(nullcontext)

    def inject(self, task_id: str, fault: str, at: int) -> None:
        """Inject a fault before the nth effect of this task, the next time it runs."""
        self.planned, self.injected, self.failures = (task_id, fault, at), False, []

    def reconnect(self) -> None:
        """Connect again: the restart has closed the connections of this process too."""
        for db in (self.db, *self.idle):
            db.close()
        self.idle.clear()
        self.db = psycopg.connect(self.url, autocommit=True)

    def _try(self, task: Any, ctx: Any, done: dict[str, Any]) -> tuple[str, Any]:
        if not self.planned or self.planned[0] != task.task_id:
            return super()._try(task, ctx, done)
        _, fault, at = self.planned
        self.planned = None
        job = self.job(task, ctx, done)
        with self.around():
            result = self.outcome = run_isolated(job, fault, at)
        self.injected = result is None or result["injected"]
        if result is None:
            result = run_isolated(job)
        elif self.injected:
            self.reconnect()
        assert result is not None
        if result["state"] in ("success", "skipped"):
            return result["state"], result["value"]
        if result["state"] == "failed":
            assert result["retried"], result
            self.failures.append(result)
        return super()._try(task, ctx, done)  # the task defers, or is retried, by the clock of the test


@pytest.fixture(scope="module")
def amazon():
    with Sandbox(listings=30, processing_seconds=0.01) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def url(postgres, migrated_template):
    return postgres.create_database("crashes", template=migrated_template)


@contextmanager
def fresh(url, amazon, patch):
    """A store with an empty Amazon and an empty warehouse."""
    reset(url, amazon)
    with patch.context() as within:
        within.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(url))
        within.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url))
        with CrashCampaign(url, amazon, within) as campaign:
            yield campaign


def recover(campaign, dag_id):
    """Run the DAG again until nothing is wrong; no person may be needed."""
    campaign.add_new_work(dag_id)
    for _ in range(8):
        campaign.advance(31)
        states = campaign.run_dag(dag_id, **campaign.params(dag_id))
        if "failed" not in states.values() and not campaign.wrong_after_fault(dag_id, "plain"):
            break
    assert "failed" not in states.values(), campaign.result[-3000:]
    assert campaign.wrong_after_fault(dag_id, "plain") == []
    assert campaign.leaks("") == []


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("dag_id", "task_id"), TASKS if COMPLETE else SAMPLE)
def test_a_worker_killed_before_any_effect_of_a_task(url, amazon, monkeypatch, record_property, dag_id, task_id):
    for at in count(1, STRIDE):
        with fresh(url, amazon, monkeypatch) as campaign:
            campaign.prepare(dag_id, "orders" if task_id == "store.send" else "plain")
            campaign.inject(task_id, "killed", at)
            states = campaign.run_dag(dag_id, **campaign.params(dag_id))
            assert campaign.planned is None, "the task never ran"
            assert campaign.wrong_during_fault(dag_id, states) == []
            for error in campaign.errors:
                assert isinstance(error, SellingPartnerError), repr(error)
            recover(campaign, dag_id)
            if not campaign.injected:
                break
    record_property("kills", at - 1)
    assert at > 1


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def restartable(migrated_template):
    """A warehouse on a separate server, which is restarted."""
    # Commits must survive the restart, as in any warehouse; fsync matters only when the machine loses power.
    durable = {"fsync": "off"}
    with running_postgres(durable) as server, pytest.MonkeyPatch.context() as patch:
        url = server.create_database("crashes")
        patch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(url))
        Warehouse().migrate()
        with psycopg.connect(url) as db:
            ((folder,),) = db.execute("SHOW data_directory").fetchall()
        patch.setenv("FBA_TEST_POSTGRES_DATA", folder)
        yield url


@only_complete
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("dag_id", "task_id"), [*LOADS, (SEND, "store.submit"), (SEND, "store.record"), (TRACK, "store.track")]
)
def test_postgres_restarted_before_any_effect_of_a_task(
    restartable, amazon, monkeypatch, record_property, dag_id, task_id
):
    for at in count(1, STRIDE):
        with fresh(restartable, amazon, monkeypatch) as campaign:
            campaign.prepare(dag_id, "plain")
            campaign.inject(task_id, "postgres restarted", at)
            states = campaign.run_dag(dag_id, **campaign.params(dag_id))
            assert campaign.planned is None, "the task never ran"
            assert campaign.wrong_during_fault(dag_id, states) == []
            # UnavailableError: what is noticed first is that the session with the store's lock was cut.
            expected = {"OperationalError", "UnavailableError"}
            assert all(expected & {*failure["error"]} for failure in campaign.failures), campaign.failures
            recover(campaign, dag_id)
            if not campaign.injected:
                break
    record_property("restarts", at - 1)
    assert at > 1


@pytest.fixture
def small_disk(postgres):
    """A tablespace on 48 MB of memory."""
    folder = Path(tempfile.mkdtemp(prefix="fba-disk-"))  # not tmp_path: PostgreSQL's user may not enter that
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", folder]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("Only root may mount a small disk here, so no disk was filled.")
    try:
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as db:
            ((data,),) = db.execute("SHOW data_directory").fetchall()
            place = folder / "tablespace"
            place.mkdir()
            for path in (folder, place):
                shutil.chown(path, Path(data).owner())
            db.execute(f"CREATE TABLESPACE small LOCATION '{place}'".encode())
            try:
                yield folder
            finally:
                db.execute(b"DROP DATABASE IF EXISTS full_disk WITH (FORCE)")
                db.execute(b"DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


def filled(folder, spare):
    """Fill the disk up to some kilobytes."""
    ballast = folder / "ballast"
    free = shutil.disk_usage(folder).free
    ballast.write_bytes(bytes(max(free - spare * 1024, 0)))
    return ballast


@contextmanager
def full_disk(campaign, folder, spare):
    """Leave only some kilobytes of space meanwhile."""
    before, ballast = contents(campaign), filled(folder, spare)
    try:
        yield
    finally:
        ballast.unlink()
    if campaign.outcome["state"] == "failed":
        assert contents(campaign) == before


@only_complete
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("dag_id", "task_id"), LOADS)
def test_a_full_disk_fails_a_load_and_leaves_nothing_half_written(
    postgres, migrated_template, small_disk, monkeypatch, record_property, dag_id, task_id
):
    full = 0
    with Sandbox(listings=1000, processing_seconds=0.01) as amazon:
        for spare in range(0, 4096, 64):
            # A new database each time: deleted rows of an old one would leave space.
            with psycopg.connect(postgres.url("postgres"), autocommit=True) as db:
                db.execute(b"DROP DATABASE IF EXISTS full_disk WITH (FORCE)")
                db.execute(b"CREATE DATABASE full_disk TEMPLATE warehouse_template TABLESPACE small")
            with fresh(postgres.url("full_disk"), amazon, monkeypatch) as campaign:
                campaign.prepare(dag_id, "plain")
                campaign.around = partial(full_disk, campaign, small_disk, spare)
                campaign.inject(
                    task_id, "killed", 0
                )  # no fault at 0: it runs in a separate process, its retry in this one
                states = campaign.run_dag(dag_id, **campaign.params(dag_id))
                assert "failed" not in states.values()
                assert all("DiskFull" in failure["error"] for failure in campaign.failures), campaign.failures
                stopped = bool(campaign.failures)
                recover(campaign, dag_id)
            full += stopped
            if not stopped:
                break
    record_property("full", full)
    assert full


def contents(campaign):
    """What a load writes, in rows: applied reports, parsed copies, the pool, shipments; each raw copy is complete or absent."""
    for (report_id,) in campaign.sql("SELECT DISTINCT report_id FROM fba.report_document"):
        raw = ReportLedger(Warehouse(), STORE).stored_document(report_id)
        assert raw
        assert gzip.decompress(b"".join(raw()))
    applied = campaign.sql("SELECT report_id FROM fba.report WHERE applied_at IS NOT NULL")
    tables = (
        "global_inventory_pool",
        "amazon_all_listings_report",
        "amazon_afn_inventory_report",
        "shipment_item",
    )
    return applied, [campaign.sql(f"SELECT count(*) FROM fba.{table}") for table in tables]


# --- the triggerer ---------------------------------------------------------------------------------------------------


def triggerers(home):
    """Processes of the triggerer of one Airflow: id and environment."""
    found = {}
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ")
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if b"triggerer" in words and f"AIRFLOW_HOME={home}\0".encode() in environment:
            pairs = (line.decode().partition("=") for line in environment.split(b"\0") if b"=" in line)
            found[int(process.name)] = {name: value for name, _, value in pairs}
    return found


@only_complete
@pytest.mark.timeout(600)
def test_a_killed_triggerer_is_replaced_and_the_run_ends_green(postgres, tmp_path):
    warehouse_url = postgres.create_database("triggerer_warehouse")
    metadata_url = postgres.create_database("triggerer_airflow")
    with Sandbox(listings=300, processing_seconds=3600) as amazon, ExitStack() as stack:
        environment = settings(
            tmp_path, metadata_url.replace("postgresql", "postgresql+psycopg2", 1), warehouse_url, amazon.url
        )
        environment["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] = "False"
        url = stack.enter_context(running_airflow(environment, tmp_path))
        airflow = AirflowClient(url, tmp_path)
        path = f"/dags/{INVENTORY}/dagRuns"
        airflow.until_parsed(INVENTORY)
        airflow.call("PATCH", f"/dags/{INVENTORY}", json={"is_paused": False})
        run_id = airflow.call("POST", path, json={"logical_date": None})["dag_run_id"]

        def until(reached):
            for _ in range(240):
                tasks = airflow.call("GET", f"{path}/{run_id}/taskInstances")["task_instances"]
                if reached(tasks):
                    return tasks
                time.sleep(1)
            raise AssertionError({task["task_id"]: task["state"] for task in tasks})

        def held(task):
            """Whether a triggerer has the task's trigger."""
            return task["state"] == "deferred" and (task["trigger"] or {}).get("triggerer_id") is not None

        until(lambda tasks: sum(map(held, tasks)) == 1)  # one wait for both reports
        killed = triggerers(tmp_path)
        assert killed
        for process in killed:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        until(lambda tasks: not triggerers(tmp_path))
        amazon.world.set_clock(processing_seconds=0.1)
        assert sum(task["state"] == "deferred" for task in until(bool)) == 1
        with (tmp_path / "triggerer.log").open("wb") as log:
            new = subprocess.Popen(
                [sys.executable, "-m", "airflow", "triggerer"],
                env=next(iter(killed.values())),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            stack.callback(new.wait)
            stack.callback(os.killpg, new.pid, signal.SIGKILL)
            until(lambda tasks: all(task["state"] == "success" for task in tasks))
        truth = amazon.world.truth(SELLER, US, fetch_missing_inventory=False)
        with psycopg.connect(warehouse_url) as db:
            pool = dict(db.execute("SELECT sku, quantity FROM fba.global_inventory_pool").fetchall())
        assert pool == {sku: stock["quantity"] for sku, stock in truth.items()}
