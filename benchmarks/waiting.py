"""2,000 reports that one real triggerer waits for, compared with sensors in poke mode: memory, CPU, calls, delay.

`airflow triggerer` runs with the project's trigger against the sandbox over HTTP. The deferred tasks are written into
Airflow's database, because running 2,000 tasks until they defer would take an hour. Each seller has ten reports. A few
sensors run as real tasks under LocalExecutor, and poll through the same hook at the same interval.

    python -m benchmarks.waiting [reports [seconds Amazon takes to answer]]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median, quantiles
from typing import Any, NamedTuple

import psutil
import psycopg

from benchmarks.common.processes import migrate_warehouse, run_python
from benchmarks.common.stacks import US, Stack, running_stack
from benchmarks.common.summary import print_summary_row
from devstack.client import AirflowClient
from devstack.standalone import running_airflow
from sandbox.merchant.merchant import LISTINGS
from sandbox.world.report_desk import Report, Request

REPORTS_PER_SELLER = 10
DONE_FIRST = 50  # reports that are done while the others are still waited for
SENSORS = 6
POLL_INTERVAL = 30  # seconds: the trigger's longest interval, and the sensor's
WAITED_BEFORE = 600  # seconds since the simulated start of each wait, so that the trigger's interval is the longest
NEVER = 1e9  # seconds a report takes that is not done in this benchmark
TIMEOUT = 7200  # seconds
DELAY = "from DONE at Amazon until the task resumes"
DAG_FILE = """\
from benchmarks.waiting import deferred_dag, sensor_dag  # Airflow reads only files that contain airflow and dag

deferred_dag()
sensor_dag()
"""


class WaitingCost(NamedTuple):
    """What waiting costs: CPU in cores, MB (PSS), and median seconds from DONE until the task resumes."""

    cores: float
    megabytes: float
    delay: float


class WaitingBench:
    """A stack whose sandbox records which reports were polled, and the Airflow database of its triggerer."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.world = stack.amazon.world
        self.environment = dict(stack.environment)
        # devstack shortens this interval, which would make sensors look more expensive than they are.
        del self.environment["AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL"]
        dags = stack.folder / "dags"
        dags.mkdir()
        (dags / "waiting.py").write_text(DAG_FILE)
        self.environment["AIRFLOW__CORE__DAGS_FOLDER"] = str(dags)
        self.polled: set[str] = set()
        answer = self.world.desk.shown

        def recording_answer(report: Report) -> dict[str, Any]:
            self.polled.add(f"{report.seller_id} {report.report_id}")
            return answer(report)

        setattr(self.world.desk, "shown", recording_answer)  # noqa: B010 - mypy refuses an assignment

    def store(self, n: int) -> str:
        """The store of the report with this number; reports are distributed evenly."""
        return self.stack.stores[n % len(self.stack.stores)]

    def create_report(self, n: int) -> str:
        """Create a report at the sandbox for the store of this number; returns its id."""
        with self.world.lock:
            merchant = self.world.merchant(self.stack.sellers[self.store(n)])
            return self.world.desk.create(merchant, Request(LISTINGS, (US,), None, None), None).report_id

    def query(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query in one of the databases."""
        with psycopg.connect(self.stack.postgres.url(database), autocommit=True) as db:
            return db.execute(query.encode()).fetchall()

    def polls(self) -> dict[str, int]:
        """Answers of getReport so far, by HTTP status."""
        return dict(self.world.calls()["outcomes"].get("getReport", {}))

    def opened_connections(self) -> int:
        """Connections opened to the warehouse so far; those still open may be missing."""
        query = "SELECT sessions FROM pg_stat_database WHERE datname = 'warehouse'"
        return int(self.query("postgres", query)[0][0])

    def open_connections(self) -> int:
        """Connections to the warehouse that are open now."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'warehouse'"
        return int(self.query("postgres", query)[0][0])

    def defer(self, reports: list[tuple[str, str]]) -> None:
        """Write a deferred task for each (store, report id) into Airflow's database."""
        code = "import json, sys; from benchmarks.waiting import write_deferred_tasks as f; f(json.load(sys.stdin))"
        run_python("-c", code, environment=self.environment, stdin=json.dumps(reports))

    def seconds_until_resumed(self, count: int) -> list[float]:
        """Wait until so many tasks are no longer deferred; for each, in order, the seconds since this method was called."""
        began = time.time()
        query = "SELECT scheduled_dttm FROM task_instance WHERE dag_id = 'deferred' AND state = 'scheduled' ORDER BY 1"
        wait_until(lambda: len(self.query("airflow", query)) >= count, f"{count} tasks have resumed")
        return [moment.timestamp() - began for (moment,) in self.query("airflow", query)]


@contextmanager
def waiting_bench(sellers: int) -> Iterator[WaitingBench]:
    """Start what both measurements need; stop it at the end."""
    with running_stack(sellers, processing_seconds=NEVER, listings=5) as stack:
        bench = WaitingBench(stack)
        run_python("-m", "airflow", "db", "migrate", environment=bench.environment)
        run_python("-m", "airflow", "dags", "reserialize", environment=bench.environment)
        stack.postgres.create_database("airflow_of_sensors", template="airflow")
        migrate_warehouse(bench.environment)
        yield bench


def wait_until(reached: Callable[[], bool], what: str, timeout: float = 600) -> float:
    """Wait until a condition is true; returns the seconds it took."""
    began = time.monotonic()
    while not reached():
        if time.monotonic() - began > timeout:
            raise RuntimeError(f"after {timeout:.0f} s it is still not true that {what}")
        time.sleep(0.5)
    return time.monotonic() - began


# CPU and memory of processes


class Processes:
    """Some processes, measured from now on."""

    def __init__(self, processes: Iterable[psutil.Process]) -> None:
        self._processes = list(processes)
        self._began, self._cpu_before = time.monotonic(), self._cpu_seconds()

    @classmethod
    def tree(cls, root: int) -> Processes:
        """A process and its descendants."""
        first = psutil.Process(root)
        return cls([first, *first.children(recursive=True)])

    def _cpu_seconds(self) -> float:
        """Seconds of CPU, user and system, used since the processes began."""
        return sum(float(sum(process.cpu_times()[:2])) for process in self._processes)

    def cores(self) -> float:
        """CPU used since this object was created, in cores."""
        return (self._cpu_seconds() - self._cpu_before) / (time.monotonic() - self._began)

    def megabytes(self) -> list[float]:
        """RSS, PSS and USS now: memory shared between processes is counted for each process, once, or not at all."""
        memory = [process.memory_full_info() for process in self._processes]
        return [float(sum(getattr(each, kind) for each in memory)) / 2**20 for kind in ("rss", "pss", "uss")]

    def open_files(self) -> int:
        """Open files of the process that has most."""
        return max(int(process.num_fds()) for process in self._processes)


def command_line(process: psutil.Process) -> str:
    """The command line of a process; empty if it has ended."""
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


# The triggerer


def deferred_dag() -> Any:
    """The DAG whose tasks are written into Airflow's database as deferred."""
    from airflow.sdk import dag

    from fba_operators.operators import WaitForReportOperator

    @dag(dag_id="deferred", schedule=None)
    def deferred() -> None:
        WaitForReportOperator(task_id="wait", report_id="")

    return deferred()


def write_deferred_tasks(reports: list[tuple[str, str]]) -> None:
    """Write a deferred task for each (store, report id), as a worker would have. Runs in a process with Airflow's settings."""
    from airflow.models.dagbag import DBDagBag
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.sdk.serde import serialize
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState, TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    from fba_operators.amazon.trigger import ProcessingTrigger

    now = datetime.now(UTC)
    with create_session() as session:
        dag = DBDagBag().get_latest_version_of_dag("deferred", session=session)
        if dag is None:
            raise RuntimeError("Airflow does not know the DAG deferred")
        run = dag.create_dagrun(
            run_id="benchmark",
            run_after=now,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.RUNNING,
            session=session,
        )
        (first,) = run.get_task_instances(session=session)
        for n, (conn_id, report_id) in enumerate(reports):
            trigger = Trigger.from_object(
                ProcessingTrigger(
                    conn_id=conn_id,
                    warehouse_conn_id="fba_warehouse",
                    kind="report",
                    amazon_id=report_id,
                    patience=TIMEOUT,
                    since=time.time() - WAITED_BEFORE,
                )
            )
            task = TaskInstance(
                dag.get_task("wait"), run_id=run.run_id, map_index=n, dag_version_id=first.dag_version_id
            )
            task.trigger = trigger
            task.state = TaskInstanceState.DEFERRED
            task.next_method, task.next_kwargs = "execute_complete", serialize({})
            session.add(task)
        session.delete(first)


@contextmanager
def triggerer(bench: WaitingBench, capacity: int) -> Iterator[int]:
    """Run one triggerer; yields its process id."""
    environment = {**os.environ, **bench.environment, "AIRFLOW__TRIGGERER__CAPACITY": str(capacity)}
    with (bench.stack.folder / "triggerer.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        query = "SELECT count(*) FROM job WHERE job_type = 'TriggererJob' AND state = 'running'"
        wait_until(lambda: bench.query("airflow", query) == [(1,)], "the triggerer runs")
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure_triggerer(bench: WaitingBench, n: int) -> WaitingCost:
    """Print what the triggerer needs and how late tasks resume."""
    # Those to be done first are created first: then a processing time exists at which they are done and the others not.
    first = set(range(0, n, max(n // DONE_FIRST, 2)))
    ids = {k: bench.create_report(k) for k in sorted(first)}
    bench.world.advance(1000)
    ids |= {k: bench.create_report(k) for k in range(n) if k not in first}

    with triggerer(bench, capacity=n + 100) as pid:
        time.sleep(5)
        idle = Processes.tree(pid)
        time.sleep(10)
        idle_cores, idle_mb, opened_before = idle.cores(), idle.megabytes(), bench.opened_connections()
        bench.defer([(bench.store(k), ids[k]) for k in range(n)])
        starting, most_open = Processes.tree(pid), 0

        def all_polled() -> bool:
            nonlocal most_open
            most_open = max(most_open, bench.open_connections())
            return len(bench.polled) >= n

        seconds = wait_until(all_polled, "each report was polled")
        start_cores, polls_before = starting.cores(), bench.polls()
        opened_at_start = bench.opened_connections() - opened_before
        steady = Processes.tree(pid)
        totals = [sum(polls_before.values())]
        for _ in range(2 * POLL_INTERVAL):
            time.sleep(1)
            totals.append(sum(bench.polls().values()))
        cores, mb, files = steady.cores(), steady.megabytes(), steady.open_files()
        most_per_second = max(after - before for before, after in pairwise(totals))
        polls = {status: count - polls_before.get(status, 0) for status, count in bench.polls().items()}
        opened_later = bench.opened_connections() - opened_before - opened_at_start

        print("| one triggerer | CPU, of one core | RSS MB | PSS MB | USS MB |\n|---|---:|---:|---:|---:|")
        print(f"| idle | {idle_cores:.1%} | {cells(idle_mb)} |")
        print(f"| waiting for {n:,} reports | {cores:.1%} | {cells(mb)} |")
        mb_per_report = [(after - before) / n for after, before in zip(mb, idle_mb, strict=True)]
        print(f"| for each report | {(cores - idle_cores) / n:.3%} | {cells(mb_per_report, 2)} |\n")
        per_second = sum(polls.values()) / 2 / POLL_INTERVAL
        print("| | |\n|---|---:|")
        print(f"| until each report was polled once | {seconds:.0f} s, {start_cores:.0%} of a core |")
        print(f"| getReport calls per second after that: mean; maximum | {per_second:.1f}; {most_per_second} |")
        print(f"| calls per minute for each report | {per_second * 60 / n:.2f} |")
        print(f"| calls answered 429 | {polls.get('429', 0)} |")
        print(f"| connections to the warehouse at the start: opened; at once | {opened_at_start:,}; {most_open} |")
        print(f"| connections opened in the {2 * POLL_INTERVAL} s after that | {opened_later} |")
        print(f"| open files of one process | {files:,} |\n")
        print(f"| {DELAY} | median s | 95 % s | maximum s |\n|---|---:|---:|---:|", flush=True)
        bench.world.set_clock(processing_seconds=bench.world.clock.waited() - 500)
        first_delays = bench.seconds_until_resumed(len(first))
        print_delays(f"{len(first)} of {n:,}; the others are still waited for", first_delays)
        bench.world.set_clock(processing_seconds=0)
        print_delays(f"the other {n - len(first):,}, all at once", bench.seconds_until_resumed(n)[len(first) :])
        print(flush=True)
        return WaitingCost(cores, mb[1], median(first_delays))


def cells(numbers: Iterable[float], digits: int = 0) -> str:
    """Numbers as cells of a table."""
    return " | ".join(f"{number:,.{digits}f}" for number in numbers)


def print_delays(what: str, delays: list[float]) -> None:
    """Print one row of the table of delays."""
    figures = (median(delays), quantiles(delays, n=20, method="inclusive")[-1], max(delays))
    print(f"| {what} | {cells(figures, 1)} |", flush=True)


# The sensors


def sensor_dag() -> Any:
    """The DAG of the sensors."""
    from airflow.sdk import dag, task

    from fba_operators.amazon.hook import SellingPartnerHook

    @task.sensor(mode="poke", poke_interval=POLL_INTERVAL, timeout=TIMEOUT)
    def done(conn_id: str, report_id: str) -> bool:
        return bool(SellingPartnerHook(conn_id).get_report(report_id).processing_status == "DONE")

    @dag(dag_id="sensors", schedule=None)
    def sensors() -> None:
        for k in range(SENSORS):
            report_id = f"{{{{ dag_run.conf['reports'][{k}] }}}}"
            done.override(task_id=f"done_{k}")(conn_id=f"store_{k}", report_id=report_id)

    return sensors()


def measure_sensors(bench: WaitingBench, n: int) -> WaitingCost:
    """Print what sensors need, each one process in one slot; returns what n sensors would need."""
    bench.world.set_clock(processing_seconds=NEVER)
    reports, polled_before = [bench.create_report(k) for k in range(SENSORS)], len(bench.polled)
    environment = {
        **bench.environment,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": bench.stack.postgres.url("airflow_of_sensors", "postgresql+psycopg2"),
        "AIRFLOW__CORE__PARALLELISM": str(SENSORS),
    }
    with running_airflow(environment, bench.stack.folder) as url:
        airflow = AirflowClient(url, bench.stack.folder)
        airflow.until_parsed("sensors")
        airflow.call("PATCH", "/dags/sensors", json={"is_paused": False})
        airflow.call("POST", "/dags/sensors/dagRuns", json={"logical_date": None, "conf": {"reports": reports}})
        wait_until(lambda: len(bench.polled) >= polled_before + SENSORS, "each sensor has polled")
        processes = Processes(sensor_processes(bench))
        time.sleep(2 * POLL_INTERVAL)
        cores, mb = processes.cores() / SENSORS, [each / SENSORS for each in processes.megabytes()]
        done = time.time()
        bench.world.set_clock(processing_seconds=0)
        query = "SELECT end_date FROM task_instance WHERE state = 'success'"
        wait_until(lambda: len(bench.query("airflow_of_sensors", query)) == SENSORS, "each sensor has succeeded")
        delays = [moment.timestamp() - done for (moment,) in bench.query("airflow_of_sensors", query)]
    print("| a sensor in poke mode | slots | CPU, of one core | RSS MB | PSS MB | USS MB |")
    print("|---|---:|---:|---:|---:|---:|")
    print(f"| one, mean of {SENSORS} | 1 | {cores:.2%} | {cells(mb)} |")
    print(f"| {n:,}, calculated | {n:,} | {cores * n:.0%} | {cells([each * n for each in mb])} |\n")
    print(f"| {DELAY} | median s | 95 % s | maximum s |\n|---|---:|---:|---:|")
    print_delays(f"{SENSORS} sensors", delays)
    return WaitingCost(cores * n, mb[1] * n, median(delays))


def sensor_processes(bench: WaitingBench) -> list[psutil.Process]:
    """The process of each sensor's task, and the executor's process above it, which supervises it."""
    ids = bench.query("airflow_of_sensors", "SELECT id FROM task_instance")
    command_lines = {f"airflow worker -- {task_id}" for (task_id,) in ids}
    children = psutil.Process().children(recursive=True)
    tasks = [process for process in children if command_line(process) in command_lines]
    if len(tasks) != SENSORS:
        raise RuntimeError(f"{len(tasks)} processes of {SENSORS} sensors were found")
    return list({process.pid: process for task in tasks for process in (task, task.parent()) if process}.values())


def main(n: int, answer_seconds: float) -> None:
    """Measure both, and print Markdown tables."""
    with waiting_bench(max(n // REPORTS_PER_SELLER, SENSORS)) as bench:
        if answer_seconds:
            bench.world.add_fault("getReport", "delay", times=None, seconds=answer_seconds)
        trigger, sensors = measure_triggerer(bench, n), measure_sensors(bench, n)
    calculated = f"{n:,} sensors in poke mode, calculated"
    comparisons = (
        ("CPU of one core", "{:.0%}", trigger.cores, sensors.cores, calculated),
        ("PSS", "{:,.0f} MB", trigger.megabytes, sensors.megabytes, calculated),
        ("from DONE until the task resumes, median", "{:.0f} s", trigger.delay, sensors.delay, f"{SENSORS} sensors"),
    )
    for what, form, ours, theirs, whose in comparisons:
        print_summary_row(
            f"{n:,} waiting reports, {what}", form.format(ours), f"{form.format(theirs)}: {whose}", ours / theirs
        )


if __name__ == "__main__":
    began = time.monotonic()
    main(int(sys.argv[1]) if sys.argv[1:] else 2000, float(sys.argv[2]) if sys.argv[2:] else 0)
    print(f"\n{time.monotonic() - began:.0f} s in total.", file=sys.stderr)
