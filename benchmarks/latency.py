"""Where the seconds of a run go: Amazon's, Airflow's, and our own, along the longest chain of tasks, on a real scheduler.

Three stores, one after another, one run of each DAG for each; reports and feeds take Amazon four seconds. What is told for a
DAG is the mean of the second and third run (in the first, Airflow's worker processes start as well). The instants come from
the task's logs and from Airflow's REST API; Amazon's from the sandbox.

    python -m benchmarks.latency
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from benchmarks.common import print_short
from benchmarks.stage import Scheduled, scheduled

DAGS = ("fba_get_inventory", "fba_send_fulfillment_requests", "fba_get_shipments")
STORES = 3
PARTS = {
    "amazon": "Amazon works",
    "seen": "until the trigger sees it",
    "airflow": "Airflow schedules and starts processes",
    "parsed": "the process reads the DAG file",
    "work": "the tasks' own work",
}


def main() -> None:
    """Run and print one Markdown table."""
    with scheduled(STORES, processing_seconds=4, listings=300) as on:
        print(f"| seconds of a run for one store | in all | tasks in the chain | {' | '.join(PARTS.values())} |")
        print(f"|---|---:|---:|{'---:|' * len(PARTS)}", flush=True)
        means = {}
        for dag_id in DAGS:
            if dag_id == "fba_send_fulfillment_requests":
                on.add_requests(5)
            elif dag_id == "fba_get_shipments":
                on.ship()
            told = [_run(on, dag_id, store) for store in on.stores][1:]
            means[dag_id] = {part: sum(each[part] for each in told) / len(told) for part in (*PARTS, "tasks")}
            print(_row(dag_id, **means[dag_id]), flush=True)
        for dag_id, each in means.items():
            work, rest = each["work"], sum(each[part] for part in PARTS if part != "amazon")
            print_short(f"{dag_id}, its own work", f"{work:.1f} s", f"{rest:.1f} s: all but Amazon's", work / rest)


def _row(dag_id: str, tasks: float, **parts: float) -> str:
    cells = " | ".join(f"{parts[part]:.1f}" for part in PARTS)
    return f"| `{dag_id}` | {sum(parts.values()):.1f} | {tasks:.0f} | {cells} |"


def _run(on: Scheduled, dag_id: str, store: str) -> dict[str, float]:
    """Run a DAG for one store; returns the seconds of each part along the chain that ended last."""
    on.airflow.run(dag_id, {"stores": [store]})
    (run,) = on.airflow.call("GET", f"/dags/{dag_id}/dagRuns", params={"order_by": "-id", "limit": 1})["dag_runs"]
    tasks = on.airflow.call("GET", f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}/taskInstances")["task_instances"]
    downstream = {
        task["task_id"]: task["downstream_task_ids"]
        for task in on.airflow.call("GET", f"/dags/{dag_id}/tasks")["tasks"]
    }
    by_id = {task["task_id"]: task for task in tasks if task["end_date"] and task["state"] == "success"}
    parts: dict[str, float] = defaultdict(float)
    task_id, last = "summarise", _time(run["end_date"])
    parts["airflow"] += (last - _time(by_id[task_id]["end_date"])).total_seconds()
    while True:
        before = [by_id[name] for name, below in downstream.items() if task_id in below and name in by_id]
        begins = max((_time(task["end_date"]) for task in before), default=_time(run["start_date"]))
        for part, seconds in _parts_of(on, run["dag_run_id"], dag_id, by_id[task_id], begins).items():
            parts[part] += seconds
        parts["tasks"] += 1
        if not before:
            return parts
        task_id = max(before, key=lambda task: _time(task["end_date"]))["task_id"]


def _parts_of(on: Scheduled, run_id: str, dag_id: str, task: dict[str, Any], begins: datetime) -> dict[str, float]:
    """Divide the time from the end of the task before to the end of this one."""
    parts: dict[str, float] = defaultdict(float)
    at = begins
    for leg, (started, parsed, ended) in enumerate(_legs(on, run_id, dag_id, task["task_id"])):
        if leg:  # it was deferred at `at`; Amazon had finished before that was seen
            resumed = _time(task["scheduled_when"])
            finished = max((end for end in _amazon_ends(on) if at <= end <= resumed), default=at)
            parts["amazon"] += (finished - at).total_seconds()
            parts["seen"] += (resumed - finished).total_seconds()
            at = resumed
        parts["airflow"] += (started - at).total_seconds()
        parts["parsed"] += (parsed - started).total_seconds()
        parts["work"] += (ended - parsed).total_seconds()
        at = ended
    parts["airflow"] += (_time(task["end_date"]) - at).total_seconds()
    return parts


def _legs(on: Scheduled, run_id: str, dag_id: str, task_id: str) -> Iterator[tuple[datetime, datetime, datetime]]:
    """When each process of a task began, had read the DAG file, and was done."""
    (log,) = (on.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}").rglob("attempt=1.log")
    started = parsed = None
    for line in log.read_text().splitlines():
        told = json.loads(line)
        event, moment = told["event"], _time(told["timestamp"])
        if event == "::group::Pre Execute":
            started = moment
        elif event == "Worker startup parse complete":
            parsed = moment
        elif event == "::group::Post Execute" and started and parsed:
            yield started, parsed, moment


def _amazon_ends(on: Scheduled) -> list[datetime]:
    world = on.amazon.world
    with world.lock:
        asked = [report.asked_at for report in world.desk.reports.values()]
        asked += [feed.asked_at for feed in world.feed_desk.feeds.values()]
        return [datetime.fromtimestamp(world.clock.wall_at(at + world.desk.processing_seconds), UTC) for at in asked]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


if __name__ == "__main__":
    main()
