"""What both benchmarks of loads share: documents, a measured worker process, and the lower bound it is compared with."""

from __future__ import annotations

import gzip
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.common.processes import migrate_warehouse, print_result, result_in, run_python
from benchmarks.common.summary import print_summary_row
from devstack.airflow import settings
from devstack.postgres import Server, running_postgres

STORE = "amazon_us"
DURABLE = {"shared_buffers": "256MB", "max_wal_size": "4GB"}
EMPTY_WAREHOUSE, WAREHOUSE, LOWER_BOUND = "empty_warehouse", "warehouse", "lower_bound"
UNREACHABLE = "http://127.0.0.1:9"  # no Amazon: a load that called it would fail


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
        """Run the benchmark's worker in a separate process; returns what :func:`measure` printed there."""
        with psycopg.connect(self.postgres.url(WAREHOUSE), autocommit=True) as db:
            db.execute("VACUUM ANALYZE")
            db.execute("CHECKPOINT")
        command = ("-m", self.module, "--work", str(self.folder), *arguments)
        return result_in(run_python(*command, environment=self.environment))

    def lower_bound(self, documents: tuple[str, ...], tables: tuple[str, ...]) -> float:
        """Seconds to gunzip the documents, plus those of bare COPYs of the filled tables into empty ones with their keys."""
        seconds = self._gunzip_seconds(documents)
        target = self.postgres.create_database(LOWER_BOUND, template=EMPTY_WAREHOUSE)
        for table in tables:
            with tempfile.TemporaryFile() as file:
                filled = self.postgres.url(WAREHOUSE)
                with psycopg.connect(filled) as db, db.cursor().copy(f"COPY fba.{table} TO STDOUT".encode()) as copy:
                    for data in copy:
                        file.write(data)
                file.seek(0)
                with psycopg.connect(target) as db:
                    db.execute("CHECKPOINT")
                    began = time.perf_counter()
                    with db.cursor().copy(f"COPY fba.{table} FROM STDIN".encode()) as copy:
                        while data := file.read(1 << 20):
                            copy.write(data)
                    db.commit()
                    seconds += time.perf_counter() - began
        with psycopg.connect(self.postgres.url("postgres"), autocommit=True) as db:
            db.execute(f"DROP DATABASE {LOWER_BOUND}".encode())
        return seconds

    def _gunzip_seconds(self, documents: tuple[str, ...]) -> float:
        began = time.perf_counter()
        for name in documents:
            decompressor = zlib.decompressobj(wbits=31)
            with (self.folder / name).open("rb") as file:
                while chunk := file.read(4 << 20):
                    decompressor.decompress(chunk)
        return time.perf_counter() - began


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
    """In a worker: do the work and print its seconds, the process's peak memory, and the counts the work returns."""
    began = time.perf_counter()
    counts = work()
    print_result({"seconds": time.perf_counter() - began, "counts": counts})


def print_head(rows: str) -> None:
    """Print the head of the table of loads."""
    print(f"| {rows} | lower bound s | first load s | ratio | unchanged rerun s | ratio | peak MB |")
    print("|---:|---:|---:|---:|---:|---:|---:|")


def print_row(n: int, bound: float, first: dict[str, Any], rerun: dict[str, Any]) -> None:
    """Print one row of it."""
    cells = " | ".join(f"{load['seconds']:.1f} | {load['seconds'] / bound:.2f}" for load in (first, rerun))
    print(f"| {n:,} | {bound:.1f} | {cells} | {max(first['peak_mb'], rerun['peak_mb']):.0f} |", flush=True)


def print_summary(what: str, bound: float, first: dict[str, Any], rerun: dict[str, Any]) -> None:
    """Print the rows of the summary for one size."""
    for name, load in (("first load", first), ("unchanged rerun", rerun)):
        seconds = load["seconds"]
        print_summary_row(f"{what}, {name}", f"{seconds:.1f} s", f"{bound:.1f} s: gunzip and COPY", seconds / bound)
