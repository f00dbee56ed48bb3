"""Where the seconds of a run go that are ours and not Amazon's, on a real scheduler.

Airflow runs as `make run` starts it. Each DAG runs once for one store, and what every task did is read from Airflow's REST API
until the run ends: queued, running, deferred. Amazon takes a fixed time, which is subtracted once for each wait in a row.

    python -m benchmarks.latency
"""

from __future__ import annotations

import os
import time
from collections import defaultdict

from benchmarks.cost import add_requests
from benchmarks.stage import stage
from devstack.__main__ import AirflowClient, running_airflow

PROCESSING = 4.0
PAUSE = 0.2  # between two looks
DAGS = ("fba_get_inventory", "fba_send_fulfillment_requests", "fba_get_shipments")
STATES = ("queued", "running", "deferred")


def watch(airflow: AirflowClient, dag_id: str) -> tuple[float, dict[str, dict[str, float]]]:
    """Run a DAG; returns its seconds, and the seconds each task spent in each state."""
    airflow.until_parsed(dag_id)
    airflow.call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
    spent: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(STATES, 0.0))
    began = last = time.monotonic()
    run_id = airflow.call("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": {}})["dag_run_id"]
    while True:
        tasks = airflow.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        state = airflow.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
        now = time.monotonic()
        for task in tasks:
            name = {"scheduled": "queued"}.get(task["state"], task["state"])
            if name in STATES:
                spent[task["task_id"]][name] += now - last
        last = now
        if state == "failed":
            raise RuntimeError(f"{dag_id} failed")
        if state == "success":
            return now - began, spent
        time.sleep(PAUSE)


def main() -> None:
    """Print one table of runs and one of tasks."""
    with stage(1, processing_seconds=PROCESSING) as on:
        environment = {**os.environ, "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False"}
        with running_airflow(environment, on.folder) as url:
            airflow = AirflowClient(url, on.folder)
            tables = {}
            for dag_id in DAGS:
                if dag_id == "fba_send_fulfillment_requests":
                    add_requests(on)
                tables[dag_id] = watch(airflow, dag_id)
    print("| DAG | whole run s | Amazon s | ours s |\n|---|---:|---:|---:|")
    for dag_id, (seconds, _) in tables.items():
        print(f"| {dag_id} | {seconds:.1f} | {PROCESSING:.0f} | {seconds - PROCESSING:.1f} |")
    print("\n| task | queued s | running s | deferred s |\n|---|---:|---:|---:|")
    for dag_id, (_, spent) in tables.items():
        for task_id, states in spent.items():
            print(f"| {dag_id}: {task_id} | {' | '.join(f'{states[name]:.1f}' for name in STATES)} |")


if __name__ == "__main__":
    main()
