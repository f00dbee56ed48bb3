"""What both benchmarks of loads share: documents, a measured worker process, and the lower bound it is compared with."""

from __future__ import annotations

import gzip
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from benchmarks.common.processes import migrate_warehouse, print_result, result_in, run_python
from benchmarks.common.summary import print_summary_row
from devstack.airflow import settings
from devstack.postgres import Server, running_postgres

STORE = "amazon_us"
DURABLE = {"shared_buffers": "256MB", "max_wal_size": "4GB"}
EMPTY_WAREHOUSE, WAREHOUSE, LOWER_BOUND = "empty_warehouse", "warehouse", "lower_bound"
UNREACHABLE = "http://127.0.0.1:9"  # no Amazon: a load that called it would fail


@dataclass
class Bound:
    """What a load cannot do without: seconds, and CPU seconds of worker and PostgreSQL."""

    seconds: float
    cpu: float


class LoadBench:
    """A durable PostgreSQL with an empty warehouse to copy, and a folder for documents.

    :param module: the benchmark that is run as worker, e.g. ``benchmarks.inventory``
    """

    def __init__(self, module: str, postgres: Server, folder: Path) -> None:
        self.module = module
        self.postgres = postgres
        self.folder = folder
        empty = postgres.create_database(EMPTY_WAREHOUSE)
        migrate_warehouse(settings(folder, "sqlite://", empty, UNREACHABLE))
        self.environment = settings(folder, "sqlite://", postgres.url(WAREHOUSE), UNREACHABLE)

    def create_warehouse(self) -> None:
        """Begin with an empty warehouse."""
        self.postgres.create_database(WAREHOUSE, template=EMPTY_WAREHOUSE)

    def stop_history(self) -> None:
        """Let changes of the pool go unrecorded from here on, to see what recording them costs."""
        with psycopg.connect(self.postgres.url(WAREHOUSE)) as db:
            for name in ("record_new", "record_changed", "record_gone"):
                db.execute(f"ALTER TABLE fba.global_inventory_pool DISABLE TRIGGER {name}".encode())

    def write_document(self, name: str, lines: Iterator[str]) -> None:
        """Write a gzip document into the folder."""
        with gzip.open(self.folder / name, "wt", compresslevel=6, encoding="utf-8", newline="\n") as file:
            for line in lines:
                file.write(line + "\n")

    def insert_ledger_entry(self, report_type: str, report_id: str, document: str) -> None:
        """Write a finished report into the ledger, as the request and wait tasks would have."""
        with psycopg.connect(self.postgres.url(WAREHOUSE)) as db:
            db.execute(
                "INSERT INTO fba.report (request_id, store, report_id, report_type, marketplace_id, data_start, data_end,"
                " status, document_id, requested_at) VALUES (gen_random_uuid(), %s, %s, %s, 'ATVPDKIKX0DER',"
                " '2026-10-01', '2026-10-30', 'DONE', %s, clock_timestamp())",
                (STORE, report_id, report_type, document),
            )

    def run_worker(self, *arguments: str) -> dict[str, Any]:
        """Run the benchmark's worker in a separate process; returns what :func:`measure` printed there, and what PostgreSQL did.

        Dead rows are removed before, as autovacuum would have done in the hour between two reports.
        """
        with psycopg.connect(self.postgres.url(WAREHOUSE), autocommit=True) as db:
            db.execute("VACUUM ANALYZE")
            db.execute("CHECKPOINT")
        command = ("-m", self.module, "--work", str(self.folder), *arguments)
        with self.work_of_postgres() as done:
            result = result_in(run_python(*command, environment=self.environment))
        result["cpu"] += done["cpu"]
        return result | {"wal_mb": done["wal_mb"]}

    @contextmanager
    def work_of_postgres(self) -> Iterator[dict[str, float]]:
        """Measure PostgreSQL meanwhile: CPU seconds of all its processes, and MB of WAL."""
        done: dict[str, float] = {}
        with psycopg.connect(self.postgres.url("postgres"), autocommit=True) as db:
            server = psutil.Process(psutil.Process(db.info.backend_pid).ppid())
            began, position = _cpu_seconds(server, db), _wal_position(db)
            yield done
            done["cpu"] = _cpu_seconds(server, db) - began
            done["wal_mb"] = (_wal_position(db) - position) / 1e6

    def size_mb(self, *tables: str) -> float:
        """Size of tables with their indexes."""
        with psycopg.connect(self.postgres.url(WAREHOUSE)) as db:
            sizes = [db.execute("SELECT pg_total_relation_size(%s)", (f"fba.{table}",)).fetchone() for table in tables]
        return sum(int(size[0]) for size in sizes if size) / 1e6

    def lower_bound(self, documents: tuple[str, ...], tables: tuple[str, ...], *, only_keys: bool = True) -> Bound:
        """What it takes to gunzip the documents, plus bare COPYs of the filled tables into empty ones with their keys.

        :param only_keys: without the other indexes, and without triggers
        """
        bound = self._gunzip(documents)
        target = self.postgres.create_database(LOWER_BOUND, template=EMPTY_WAREHOUSE)
        if only_keys:
            _leave_only_keys(target, tables)
        for table in tables:
            with tempfile.TemporaryFile() as file:
                filled = self.postgres.url(WAREHOUSE)
                with psycopg.connect(filled) as db, db.cursor().copy(f"COPY fba.{table} TO STDOUT".encode()) as copy:
                    for data in copy:
                        file.write(data)
                file.seek(0)
                with psycopg.connect(target) as db:
                    db.execute("CHECKPOINT")
                with self.work_of_postgres() as done:
                    began, own = time.perf_counter(), time.process_time()
                    with (
                        psycopg.connect(target) as db,
                        db.cursor().copy(f"COPY fba.{table} FROM STDIN".encode()) as copy,
                    ):
                        while data := file.read(1 << 20):
                            copy.write(data)
                    bound.seconds += time.perf_counter() - began
                    bound.cpu += time.process_time() - own
                bound.cpu += done["cpu"]
        with psycopg.connect(self.postgres.url("postgres"), autocommit=True) as db:
            db.execute(f"DROP DATABASE {LOWER_BOUND}".encode())
        return bound

    def _gunzip(self, documents: tuple[str, ...]) -> Bound:
        began, own = time.perf_counter(), time.process_time()
        for name in documents:
            decompressor = zlib.decompressobj(wbits=31)
            with (self.folder / name).open("rb") as file:
                while chunk := file.read(4 << 20):
                    decompressor.decompress(chunk)
        return Bound(time.perf_counter() - began, time.process_time() - own)


def _leave_only_keys(url: str, tables: tuple[str, ...]) -> None:
    with psycopg.connect(url) as db:
        for table in tables:
            db.execute(f"ALTER TABLE fba.{table} DISABLE TRIGGER USER".encode())
            indexes = db.execute(
                "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = %s::regclass AND NOT indisprimary",
                (f"fba.{table}",),
            ).fetchall()
            for (index,) in indexes:
                db.execute(f"DROP INDEX {index}".encode())


def _cpu_seconds(server: psutil.Process, db: psycopg.Connection[Any]) -> float:
    """Of a server's processes, also of those that have ended: first all other sessions have to."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    while db.execute(others).fetchone() != (0,):
        time.sleep(0.05)
    time.sleep(0.1)
    times = server.cpu_times()
    total = float(times.user + times.system + times.children_user + times.children_system)
    for child in server.children():
        with suppress(psutil.NoSuchProcess):
            total += sum(child.cpu_times()[:2])
    return total


def _wal_position(db: psycopg.Connection[Any]) -> int:
    (position,) = db.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint").fetchone() or (0,)
    return int(position)


@contextmanager
def load_bench(module: str) -> Iterator[LoadBench]:
    """Start what a benchmark of loads needs; stop it at the end."""
    with tempfile.TemporaryDirectory() as folder, running_postgres(DURABLE) as postgres:
        yield LoadBench(module, postgres, Path(folder))


def read_documents_from(folder: Path) -> None:
    """In a worker: take report documents from the folder instead of Amazon, in chunks of the size of a download's."""
    from fba_operators.amazon.hook import SellingPartnerHook
    from fba_operators.amazon.transport import CHUNK, Download

    def from_disk(hook: SellingPartnerHook, document_id: str) -> Download:
        file = (folder / document_id).open("rb")
        return Download("UTF-8", iter(lambda: file.read(CHUNK), b""))

    setattr(SellingPartnerHook, "download_report", from_disk)  # noqa: B010 - mypy refuses an assignment


def measure(work: Callable[[], dict[str, Any]]) -> None:
    """In a worker: do the work and print its seconds, its CPU seconds, the process's peak memory, and the work's counts."""
    began, own = time.perf_counter(), time.process_time()
    counts = work()
    seconds, cpu = time.perf_counter() - began, time.process_time() - own
    print_result({"seconds": seconds, "cpu": cpu, "counts": counts})


def print_head(rows: str) -> None:
    """Print the head of the table of loads."""
    print(f"| {rows} | load | CPU s | ratio | aim | wall s | ratio | WAL MB | peak MB |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|---:|")


def print_row(n: int, what: str, bound: Bound, load: dict[str, Any], aim: float | None = None) -> None:
    """Print one row of it.

    :param aim: the CPU ratio that it should not exceed
    """
    cpu = f"{load['cpu']:.1f} | {load['cpu'] / bound.cpu:.2f} | {'' if aim is None else aim}"
    wall = f"{load['seconds']:.1f} | {load['seconds'] / bound.seconds:.2f}"
    print(f"| {n:,} | {what} | {cpu} | {wall} | {load['wal_mb']:.0f} | {load['peak_mb']:.0f} |", flush=True)


def print_bounds(n: int, bound: Bound, with_indexes: Bound) -> None:
    """Print the row of the lower bound, and that of the same COPYs with every index and trigger of the tables."""
    for name, each in (("*lower bound*", bound), ("*the same, with all indexes and triggers*", with_indexes)):
        cpu, wall = (
            f"{each.cpu:.1f} | {each.cpu / bound.cpu:.2f}",
            f"{each.seconds:.1f} | {each.seconds / bound.seconds:.2f}",
        )
        print(f"| {n:,} | {name} | {cpu} | | {wall} | | |", flush=True)


def print_summary(what: str, bound: Bound, load: dict[str, Any]) -> None:
    """Print the row of the summary for one load."""
    compared = f"{bound.cpu:.1f} s: gunzip and COPY"
    print_summary_row(what, f"{load['cpu']:.1f} s of CPU", compared, load["cpu"] / bound.cpu)
