"""Where the time of a run goes: Amazon, Airflow or the tasks' own work, along the critical path, on a real scheduler.

Three stores, one after another, one run of each DAG for each; reports and feeds take Amazon four seconds. The result for a
DAG is the mean of the second and third run (in the first, Airflow's worker processes start as well). The times come from
the tasks' logs and from Airflow's REST API; Amazon's from the sandbox.

    python -m benchmarks.latency
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from benchmarks.common.stacks import DAGS, Stack, airflow_stack
from benchmarks.common.summary import print_summary_row
from devstack.client import AirflowClient

STORES = 3
REQUESTS = 5  # of each store
PARTS = {
    "amazon": "Amazon works",
    "notice": "until the trigger notices",
    "airflow": "Airflow schedules and starts processes",
    "parse": "the process reads the DAG file",
    "work": "the tasks' own work",
}


def main() -> None:
    """Run and print one Markdown table."""
    with airflow_stack(STORES, processing_seconds=4, listings=300) as (stack, airflow):
        print(f"| seconds of a run for one store | total | tasks on the critical path | {' | '.join(PARTS.values())} |")
        print(f"|---|---:|---:|{'---:|' * len(PARTS)}", flush=True)
        means = {}
        for dag_id in DAGS:
            stack.prepare_run(dag_id, REQUESTS)
            runs = [run_dag(stack, airflow, dag_id, store) for store in stack.stores][1:]
            means[dag_id] = {part: sum(run[part] for run in runs) / len(runs) for part in (*PARTS, "tasks")}
            print(_row(dag_id, **means[dag_id]), flush=True)
        for dag_id, mean in means.items():
            work, rest = mean["work"], sum(mean[part] for part in PARTS if part != "amazon")
            print_summary_row(
                f"{dag_id}, its own work", f"{work:.1f} s", f"{rest:.1f} s: all but Amazon's", work / rest
            )


def _row(dag_id: str, tasks: float, **parts: float) -> str:
    cells = " | ".join(f"{parts[part]:.1f}" for part in PARTS)
    return f"| `{dag_id}` | {sum(parts.values()):.1f} | {tasks:.0f} | {cells} |"


def run_dag(stack: Stack, airflow: AirflowClient, dag_id: str, store: str) -> dict[str, float]:
    """Run a DAG for one store; returns the seconds of each part along the critical path, and its number of tasks."""
    airflow.run(dag_id, {"stores": [store]})
    (run,) = airflow.call("GET", f"/dags/{dag_id}/dagRuns", params={"order_by": "-id", "limit": 1})["dag_runs"]
    instances = airflow.call("GET", f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}/taskInstances")["task_instances"]
    downstream = {
        task["task_id"]: task["downstream_task_ids"] for task in airflow.call("GET", f"/dags/{dag_id}/tasks")["tasks"]
    }
    finished = {task["task_id"]: task for task in instances if task["end_date"] and task["state"] == "success"}
    path = _Run(stack, dag_id, run["dag_run_id"])
    parts: dict[str, float] = defaultdict(float)
    task = finished["summarise"]
    parts["airflow"] += _seconds(_time(task["end_date"]), _time(run["end_date"]))
    while True:
        upstream = [
            finished[name] for name, below in downstream.items() if task["task_id"] in below and name in finished
        ]
        ready = max((_time(each["end_date"]) for each in upstream), default=_time(run["start_date"]))
        for part, seconds in path.parts_of(task, ready).items():
            parts[part] += seconds
        parts["tasks"] += 1
        if not upstream:
            return parts
        task = max(upstream, key=lambda each: _time(each["end_date"]))


@dataclass(frozen=True)
class _Run:
    """One run, whose task logs show when each process of a task began and ended."""

    stack: Stack
    dag_id: str
    run_id: str

    def parts_of(self, task: dict[str, Any], ready: datetime) -> dict[str, float]:
        """Divide the time from the end of the task before to the end of this one."""
        parts: dict[str, float] = defaultdict(float)
        now = ready
        for n, (started, parsed, ended) in enumerate(self._processes(task["task_id"])):
            if n:  # the task was deferred at `now`, and Amazon had finished before the trigger noticed
                resumed = _time(task["scheduled_when"])
                done = max((each for each in self._done_at_amazon() if now <= each <= resumed), default=now)
                parts["amazon"] += _seconds(now, done)
                parts["notice"] += _seconds(done, resumed)
                now = resumed
            parts["airflow"] += _seconds(now, started)
            parts["parse"] += _seconds(started, parsed)
            parts["work"] += _seconds(parsed, ended)
            now = ended
        parts["airflow"] += _seconds(now, _time(task["end_date"]))
        return parts

    def _processes(self, task_id: str) -> Iterator[tuple[datetime, datetime, datetime]]:
        """For each process of a task: when it began, had read the DAG file, and had done its work."""
        folder = self.stack.folder / "logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}" / f"task_id={task_id}"
        (log,) = folder.rglob("attempt=1.log")
        started = parsed = None
        for line in log.read_text().splitlines():
            entry = json.loads(line)
            event, moment = entry["event"], _time(entry["timestamp"])
            if event == "::group::Pre Execute":
                started = moment
            elif event == "Worker startup parse complete":
                parsed = moment
            elif event == "::group::Post Execute" and started and parsed:
                yield started, parsed, moment

    def _done_at_amazon(self) -> list[datetime]:
        """When each report and feed was done at the sandbox."""
        world = self.stack.amazon.world
        with world.lock:
            requested = [report.asked_at for report in world.desk.reports.values()]
            requested += [feed.asked_at for feed in world.feed_desk.feeds.values()]
            seconds = world.desk.processing_seconds
            return [datetime.fromtimestamp(world.clock.wall_at(at + seconds), UTC) for at in requested]


def _seconds(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


if __name__ == "__main__":
    main()
