"""Thousands of reports waited for at once by one real triggerer, and beside it a sensor that pokes: memory, CPU, calls, delay.

`airflow triggerer` runs with the project's own trigger against the sandbox over HTTP; the deferred tasks are put into Airflow's
database, as 2,000 tasks that run until they defer would cost an hour. Ten reports belong to one seller. The sensor runs as
real tasks under LocalExecutor, a handful of them, and asks through the same hook as often.

    python -m benchmarks.waiting [reports [seconds Amazon takes to answer]]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import psutil
import psycopg

from benchmarks.common import print_short
from devstack.airflow import settings, store_connection
from devstack.client import AirflowClient
from devstack.postgres import Server, running_postgres
from devstack.standalone import running_airflow
from sandbox.merchant.merchant import LISTINGS
from sandbox.server.server import Sandbox
from sandbox.world.report_desk import Report, Request

US = "ATVPDKIKX0DER"
REPORTS_OF_A_SELLER = 10
FEW = 50  # of the deferred reports are done while the others wait on
SENSORS = 6
INTERVAL = 30  # seconds between two questions: the trigger's longest, and the sensor's
AGE = 600  # seconds the reports are said to have been waited for, so that questions are that far apart
FOREVER = 1e9
DELAY = "from done at Amazon until the task goes on"


class Cost(NamedTuple):
    """What waiting takes: share of a core, MB (PSS), and median seconds from done to seen."""

    core: float
    mb: float
    late: float


class Bench:
    """What is running: PostgreSQL, a sandbox Amazon, and the settings of an Airflow."""

    def __init__(self, folder: Path, postgres: Server, amazon: Sandbox, sellers: int) -> None:
        self.folder, self.postgres, self.world, self.sellers = folder, postgres, amazon.world, sellers
        warehouse = postgres.create_database("warehouse")
        postgres.create_database("airflow")
        self.environment = settings(folder, postgres.url("airflow", "postgresql+psycopg2"), warehouse, amazon.url)
        # What devstack shortens would make sensors look dearer than they are.
        del self.environment["AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL"]
        (folder / "dags").mkdir()
        (folder / "dags" / "waiting.py").write_text(
            "from benchmarks.waiting import deferred, poked  # Airflow looks for this word, and for dag\n\ndeferred()\npoked()\n"
        )
        self.environment["AIRFLOW__CORE__DAGS_FOLDER"] = str(folder / "dags")
        for n in range(sellers):
            told = self.world.add_merchant(f"ASELLER{n}", [US], listings=5, oddities=False)
            self.environment[f"AIRFLOW_CONN_STORE_{n}"] = store_connection(
                amazon.url, refresh_token=told["refresh_token"], seller_id=told["seller_id"]
            )

        self.asked: set[str] = set()  # reports that getReport was called for
        shown = self.world.desk.shown

        def noted(report: Report) -> dict[str, Any]:
            self.asked.add(f"{report.seller_id} {report.report_id}")
            return shown(report)

        setattr(self.world.desk, "shown", noted)  # noqa: B010 - mypy would not have it otherwise

    def python(self, *arguments: str, given: str | None = None) -> None:
        """Run Python to its end with Airflow's settings."""
        told = subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, **self.environment},
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        if told.returncode:
            raise RuntimeError(told.stderr[-3000:])

    def report(self, seller: int) -> str:
        """Let a seller ask for a report that takes for ever; returns its id."""
        with self.world.lock:
            merchant = self.world.merchant(f"ASELLER{seller}")
            return self.world.desk.create(merchant, Request(LISTINGS, (US,), None, None), None).report_id

    def rows(self, database: str, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Ask one of the databases."""
        with psycopg.connect(self.postgres.url(database), autocommit=True) as db:
            return db.execute(query.encode(), arguments).fetchall()

    def questions(self) -> dict[str, int]:
        """Answers of getReport so far, by HTTP status."""
        return dict(self.world.calls()["outcomes"].get("getReport", {}))

    def sessions(self) -> int:
        """Connections opened to the warehouse so far; those still open may be missing."""
        query = "SELECT sessions FROM pg_stat_database WHERE datname = 'warehouse'"
        return int(self.rows("postgres", query)[0][0])

    def open_sessions(self) -> int:
        """Connections to the warehouse now."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'warehouse'"
        return int(self.rows("postgres", query)[0][0])

    def defer(self, reports: list[tuple[str, str]]) -> None:
        """Put a deferred task for each (store, report) into Airflow's database."""
        code = "import json, sys; from benchmarks.waiting import defer; defer(json.load(sys.stdin))"
        self.python("-c", code, given=json.dumps(reports))

    def resumed(self, count: int) -> list[float]:
        """Wait until so many tasks are no longer deferred; when each went on, in seconds after this was called, in order."""
        done = time.time()
        query = "SELECT scheduled_dttm FROM task_instance WHERE dag_id = 'deferred' AND state = 'scheduled' ORDER BY 1"
        until(lambda: len(self.rows("airflow", query)) >= count, f"{count} tasks go on")
        return [moment.timestamp() - done for (moment,) in self.rows("airflow", query)]


@contextmanager
def bench(sellers: int) -> Iterator[Bench]:
    """Start what both measurements need, and stop it."""
    with (
        tempfile.TemporaryDirectory(prefix="fba-waiting-") as folder,
        running_postgres() as postgres,
        Sandbox(listings=5, processing_seconds=FOREVER) as amazon,
    ):
        on = Bench(Path(folder), postgres, amazon, sellers)
        on.python("-m", "airflow", "db", "migrate")
        on.python("-m", "airflow", "dags", "reserialize")
        postgres.create_database("airflow_of_sensors", template="airflow")
        on.python("-c", "from fba_operators.warehouse.database import Warehouse; Warehouse().migrate()")
        yield on


def until(reached: Callable[[], bool], what: str, patience: float = 600) -> float:
    """Wait until something is so; returns the seconds it took."""
    began = time.monotonic()
    while not reached():
        if time.monotonic() - began > patience:
            raise RuntimeError(f"waited {patience:.0f} s in vain until {what}")
        time.sleep(0.5)
    return time.monotonic() - began


# What processes need


class Processes:
    """Some processes, over a stretch of time."""

    def __init__(self, processes: Iterable[psutil.Process]) -> None:
        self._processes = list(processes)
        self._began, self._cpu = time.monotonic(), self._cpu_seconds()

    @classmethod
    def below(cls, root: int) -> Processes:
        """A process and all that it has started."""
        first = psutil.Process(root)
        return cls([first, *first.children(recursive=True)])

    def _cpu_seconds(self) -> float:
        """Seconds of CPU, user and system, they have used in their lives."""
        return sum(float(sum(process.cpu_times()[:2])) for process in self._processes)

    def core(self) -> float:
        """Share of one core used since this was made."""
        return (self._cpu_seconds() - self._cpu) / (time.monotonic() - self._began)

    def megabytes(self) -> list[float]:
        """RSS, PSS and USS now: shared memory counted for each process, once, and not at all."""
        told = [process.memory_full_info() for process in self._processes]
        return [float(sum(getattr(each, kind) for each in told)) / 2**20 for kind in ("rss", "pss", "uss")]

    def files(self) -> int:
        """Open files of the process that has most."""
        return max(int(process.num_fds()) for process in self._processes)


def title(process: psutil.Process) -> str:
    """What a process calls itself; nothing when it has ended."""
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


# The triggerer


def deferred() -> Any:
    """The DAG whose tasks are put into Airflow's database as deferred."""
    from airflow.sdk import dag

    from fba_operators.operators import WaitForReportOperator

    @dag(dag_id="deferred", schedule=None)
    def made() -> None:
        WaitForReportOperator(task_id="wait", report_id="")

    return made()


def defer(reports: list[tuple[str, str]]) -> None:
    """Write one deferred task for each (store, report), as a worker would have. Runs in a process with Airflow's settings."""
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
            raise RuntimeError("Airflow does not know the DAG")
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
                    patience=7200,
                    since=time.time() - AGE,
                )
            )
            task = TaskInstance(
                dag.get_task("wait"), run_id=run.run_id, map_index=n, dag_version_id=first.dag_version_id
            )
            task.trigger = trigger
            task.state = TaskInstanceState.DEFERRED
            task.next_method, task.next_kwargs = "resume", serialize({})
            session.add(task)
        session.delete(first)


@contextmanager
def triggerer(on: Bench, capacity: int) -> Iterator[int]:
    """Run one triggerer; its process id."""
    environment = {**os.environ, **on.environment, "AIRFLOW__TRIGGERER__CAPACITY": str(capacity)}
    with (on.folder / "triggerer.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        query = "SELECT count(*) FROM job WHERE job_type = 'TriggererJob' AND state = 'running'"
        until(lambda: on.rows("airflow", query) == [(1,)], "the triggerer runs")
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure_triggerer(on: Bench, n: int) -> Cost:
    """Print what the triggerer needs and how late tasks resume; returns it for all reports."""
    sellers = on.sellers
    # A few are done first. They are older for Amazon, so that its time for a report tells them apart.
    first = set(range(0, n, max(n // FEW, 2)))
    ids = {k: on.report(k % sellers) for k in sorted(first)}
    on.world.advance(1000)
    ids |= {k: on.report(k % sellers) for k in range(n) if k not in first}

    with triggerer(on, capacity=n + 100) as pid:
        time.sleep(5)
        idle = Processes.below(pid)
        time.sleep(10)
        idle_core, idle_mb, nothing = idle.core(), idle.megabytes(), on.sessions()
        on.defer([(f"store_{k % sellers}", ids[k]) for k in range(n)])
        start, busiest = Processes.below(pid), 0

        def asked() -> bool:
            nonlocal busiest
            busiest = max(busiest, on.open_sessions())
            return len(on.asked) >= n

        seconds = until(asked, "each report was asked about")
        started, before, opened = start.core(), on.questions(), on.sessions() - nothing
        steady = Processes.below(pid)
        counts = [sum(before.values())]
        for _ in range(2 * INTERVAL):
            time.sleep(1)
            counts.append(sum(on.questions().values()))
        core, mb, files = steady.core(), steady.megabytes(), steady.files()
        most = max(after - then for then, after in pairwise(counts))
        told = {status: count - before.get(status, 0) for status, count in on.questions().items()}
        later = on.sessions() - nothing - opened

        print("| one triggerer | CPU, of one core | RSS MB | PSS MB | USS MB |\n|---|---:|---:|---:|---:|")
        print(f"| that waits for nothing | {idle_core:.1%} | {cells(idle_mb)} |")
        print(f"| that waits for {n:,} reports | {core:.1%} | {cells(mb)} |")
        each_mb = [(now - then) / n for now, then in zip(mb, idle_mb, strict=True)]
        print(f"| for each report | {(core - idle_core) / n:.3%} | {cells(each_mb, 2)} |\n")
        print("| | |\n|---|---:|")
        print(f"| until each report was asked about once | {seconds:.0f} s, {started:.0%} of a core |")
        print(f"| getReport calls a second, then; at most | {sum(told.values()) / 2 / INTERVAL:.1f}; {most} |")
        print(f"| calls for each report a minute | {sum(told.values()) * 30 / INTERVAL / n:.2f} |")
        print(f"| of them answered 429 | {told.get('429', 0)} |")
        print(f"| connections opened to the warehouse at the start; at most at once | {opened:,}; {busiest} |")
        print(f"| connections opened in {2 * INTERVAL} s after that | {later} |")
        print(f"| open files of one process | {files:,} |\n")
        print(f"| {DELAY} | median s | 95 % s | longest s |\n|---|---:|---:|---:|", flush=True)
        on.world.set_clock(processing_seconds=on.world.clock.waited() - 500)
        few = on.resumed(len(first))
        print_delays(f"{len(first)} of {n:,}, the others wait on", few)
        on.world.set_clock(processing_seconds=0)
        rest = on.resumed(n)[len(first) :]
        print_delays(f"the other {n - len(first):,}, all at once", rest)
        print(flush=True)
        return Cost(core, mb[1], median(few))


def cells(numbers: Iterable[float], digits: int = 0) -> str:
    """Join numbers for a row of a table."""
    return " | ".join(f"{number:,.{digits}f}" for number in numbers)


def print_delays(what: str, delays: list[float]) -> None:
    """Print one row."""
    late = (median(delays), quantiles(delays, n=20, method="inclusive")[-1], max(delays))
    print(f"| {what} | {cells(late, 1)} |", flush=True)


# The sensor


def poked() -> Any:
    """The DAG of the sensors."""
    from airflow.sdk import dag, task

    from fba_operators.amazon.hook import SellingPartnerHook

    @task.sensor(mode="poke", poke_interval=INTERVAL, timeout=7200)
    def done(conn_id: str, report_id: str) -> bool:
        return bool(SellingPartnerHook(conn_id).get_report(report_id).processing_status == "DONE")

    @dag(dag_id="poked", schedule=None)
    def made() -> None:
        for k in range(SENSORS):
            report_id = f"{{{{ dag_run.conf['reports'][{k}] }}}}"
            done.override(task_id=f"done_{k}")(conn_id=f"store_{k}", report_id=report_id)

    return made()


def measure_sensors(on: Bench, n: int) -> Cost:
    """Print what sensors need, each one process in one slot; returns what as many as the triggerer has would need."""
    on.world.set_clock(processing_seconds=FOREVER)
    reports, asked = [on.report(k) for k in range(SENSORS)], len(on.asked)
    environment = {
        **on.environment,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": on.postgres.url("airflow_of_sensors", "postgresql+psycopg2"),
        "AIRFLOW__CORE__PARALLELISM": str(SENSORS),
    }
    with running_airflow(environment, on.folder) as url:
        airflow = AirflowClient(url, on.folder)
        airflow.until_parsed("poked")
        airflow.call("PATCH", "/dags/poked", json={"is_paused": False})
        airflow.call("POST", "/dags/poked/dagRuns", json={"logical_date": None, "conf": {"reports": reports}})
        until(lambda: len(on.asked) >= asked + SENSORS, "each sensor has asked")
        ids = on.rows("airflow_of_sensors", "SELECT id FROM task_instance")
        titles = {f"airflow worker -- {id_}" for (id_,) in ids}
        tasks = [process for process in psutil.Process().children(recursive=True) if title(process) in titles]
        if len(tasks) != SENSORS:
            raise RuntimeError(f"{len(tasks)} processes of {SENSORS} sensors were found")
        # Above each task's process is that of the executor, which watches it.
        watched = Processes(
            {process.pid: process for task in tasks for process in (task, task.parent()) if process}.values()
        )
        time.sleep(2 * INTERVAL)
        core, mb = watched.core() / SENSORS, [each / SENSORS for each in watched.megabytes()]
        done = time.time()
        on.world.set_clock(processing_seconds=0)
        query = "SELECT end_date FROM task_instance WHERE state = 'success'"
        until(lambda: len(on.rows("airflow_of_sensors", query)) == SENSORS, "each sensor has seen it")
        delays = [moment.timestamp() - done for (moment,) in on.rows("airflow_of_sensors", query)]
    print("| a sensor in poke mode | slots | CPU, of one core | RSS MB | PSS MB | USS MB |")
    print("|---|---:|---:|---:|---:|---:|")
    print(f"| one, the mean of {SENSORS} | 1 | {core:.2%} | {cells(mb)} |")
    print(f"| {n:,}, reckoned | {n:,} | {core * n:.0%} | {cells([each * n for each in mb])} |\n")
    print(f"| {DELAY} | median s | 95 % s | longest s |\n|---|---:|---:|---:|")
    print_delays(f"{SENSORS} sensors", delays)
    return Cost(core * n, mb[1] * n, median(delays))


def main(n: int, amazon_takes: float) -> None:
    """Run both, and print Markdown tables."""
    with bench(max(n // REPORTS_OF_A_SELLER, SENSORS)) as on:
        if amazon_takes:
            on.world.add_fault("getReport", "delay", times=None, seconds=amazon_takes)
        ours, sensors = measure_triggerer(on, n), measure_sensors(on, n)
    told = (
        ("CPU of one core", "{:.0%}", ours.core, sensors.core, f"{n:,} sensors in poke mode, reckoned"),
        ("PSS", "{:,.0f} MB", ours.mb, sensors.mb, f"{n:,} sensors in poke mode, reckoned"),
        ("from done to seen, median", "{:.0f} s", ours.late, sensors.late, f"{SENSORS} sensors"),
    )
    for what, text, here, beside, whose in told:
        print_short(
            f"{n:,} waiting reports, {what}", text.format(here), f"{text.format(beside)}: {whose}", here / beside
        )


if __name__ == "__main__":
    began = time.monotonic()
    main(int(sys.argv[1]) if sys.argv[1:] else 2000, float(sys.argv[2]) if sys.argv[2:] else 0)
    print(f"\n{time.monotonic() - began:.0f} s in all.", file=sys.stderr)
