"""Sixty days of shipments by Airflow's own backfill, executed: a scheduler, a triggerer, ten runs at a time.

The DAG's schedule is made daily here, so that sixty days are sixty runs and not 360 (a quarter of an hour, not one and a half). All else is
as shipped. The sandbox's clock runs sixty times as fast, and with it Amazon's quota of one report a minute.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from devstack.airflow import PROJECT, settings
from devstack.client import AirflowClient
from devstack.standalone import running_airflow
from sandbox.server.server import Sandbox
from tests.stores import SELLER, SHIPMENTS_REPORT, US

DAYS = int(os.environ.get("FBA_BACKFILL_DAYS", "60"))
TIMEOUT = timedelta(minutes=40)

pytestmark = [
    pytest.mark.skipif(os.environ.get("FBA_FAULTS") != "1", reason="takes ten minutes or more: make faults"),
    pytest.mark.timeout(3600),
]


def daily_dag(folder):
    """The DAG file with another schedule."""
    text = (PROJECT / "dags" / "fba_get_shipments.py").read_text()
    text, found = re.subn(
        r'CronTriggerTimetable\("15 \*/4 \* \* \*", timezone="UTC", interval=timedelta\(hours=4\)\)',
        'CronTriggerTimetable("0 0 * * *", timezone="UTC", interval=timedelta(days=1))',
        text,
    )
    assert found == 1
    folder.mkdir()
    (folder / "fba_get_shipments.py").write_text(text)


def test_sixty_days_ten_runs_at_a_time_without_duplicates_or_deadlocks(postgres, tmp_path):
    daily_dag(tmp_path / "dags")
    warehouse_url = postgres.create_database("warehouse_of_a_backfill")
    postgres.create_database("airflow_of_a_backfill")
    last = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
    first = last - timedelta(days=DAYS - 1)
    with Sandbox(listings=300, processing_seconds=60, speed=60) as amazon:
        for day in range(DAYS):
            start = first + timedelta(days=day - 1, hours=1)
            amazon.world.seed_shipments(
                SELLER, US, 40, start.isoformat(), (start + timedelta(hours=22)).isoformat(), day
            )
        metadata = postgres.url("airflow_of_a_backfill", "postgresql+psycopg2")
        environment = settings(tmp_path / "home", metadata, warehouse_url, amazon.url)
        environment |= {"AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"), "AIRFLOW__CORE__PARALLELISM": "6"}
        (tmp_path / "home").mkdir()
        with running_airflow(environment, tmp_path / "home") as url:
            airflow = AirflowClient(url, tmp_path / "home")
            airflow.until_parsed("fba_get_shipments")
            backfill = [sys.executable, "-m", "airflow", "backfill", "create", "--dag-id", "fba_get_shipments"]
            backfill += ["--from-date", f"{first:%Y-%m-%d}", "--to-date", f"{last:%Y-%m-%d}", "--max-active-runs", "10"]
            subprocess.run(
                [*backfill, "--dag-run-conf", '{"lookback_days": 1}'], env=environment, check=True, capture_output=True
            )
            airflow.call("PATCH", "/dags/fba_get_shipments", json={"is_paused": False})
            runs = until_done(airflow)
            tasks = airflow.call(
                "GET", "/dags/fba_get_shipments/dagRuns/~/taskInstances", params={"limit": 1000, "state": "failed"}
            )["task_instances"]
        assert Counter(run["state"] for run in runs if run["run_type"] == "backfill") == {"success": DAYS}
        assert tasks == []
        truth = amazon.world.shipment_truth(SELLER, US, (first - timedelta(days=2)).isoformat())
    with psycopg.connect(warehouse_url) as db:
        backfilled = {run["dag_run_id"] for run in runs if run["run_type"] == "backfill"}
        windows = Counter(
            db.execute("SELECT data_start, data_end FROM fba.report WHERE report_type = %s", (SHIPMENTS_REPORT,))
        )
        for day in range(DAYS):
            end = first + timedelta(days=day)
            assert windows.pop((end - timedelta(days=1), end)) == 1
        assert len(windows) <= 1  # the run that the schedule made when the DAG was unpaused
        query = "SELECT order_id, sku, quantity, coalesce(tracking_number, '') FROM fba.shipment_item"
        assert Counter(db.execute(query).fetchall()) == Counter(
            (row["amazon-order-id"], row["sku"], int(row["quantity"]), row["tracking-number"]) for row in truth["rows"]
        )
        assert len(truth["rows"]) >= DAYS * 40
        ((requested,),) = db.execute("SELECT count(*) FROM fba.report").fetchall()
        assert amazon.world.calls()["reports_created"] == {SHIPMENTS_REPORT: requested}
        ((deadlocks,),) = db.execute("SELECT sum(deadlocks) FROM pg_stat_database")  # the warehouse's and Airflow's own
        assert deadlocks == 0
        outcomes = db.execute("SELECT run_id, outcome FROM fba.run").fetchall()
        assert {outcome for run_id, outcome in outcomes if run_id in backfilled} == {"success"}


def until_done(airflow):
    """Wait for every run of the backfill, and print its progress."""
    deadline = time.monotonic() + TIMEOUT.total_seconds()
    began = reported = time.monotonic()
    while time.monotonic() < deadline:
        runs = airflow.call("GET", "/dags/fba_get_shipments/dagRuns", params={"limit": 1000})["dag_runs"]
        states = Counter(run["state"] for run in runs)
        if len(runs) >= DAYS and not set(states) & {"queued", "running"}:
            return runs
        if time.monotonic() - reported > 30:
            reported = time.monotonic()
            sys.stderr.write(f"{reported - began:.0f} s: {dict(states)}\n")
        time.sleep(3)
    raise AssertionError(f"not done in {TIMEOUT}: {dict(states)}")
