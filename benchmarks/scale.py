"""Many large stores for some hours on a real scheduler: 50 stores × 100,000 listings, three hourly rounds.

The first round loads everything. In the second one listing in a hundred has changed, in the third every other store has
the documents of the second. An hour passes between rounds. All stores get the same documents, each of them its own copy:
what Amazon's side would need in memory for five million different listings is not what is measured. LocalExecutor runs
four tasks at a time, as in `make run`. PostgreSQL keeps what it commits.

    python -m benchmarks.scale [stores] [listings]
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import psutil
import psycopg

from benchmarks.common.loads import DURABLE
from benchmarks.common.stacks import INVENTORY, Stack, airflow_stack
from benchmarks.inventory import afn, changed, listings
from devstack.waiting import StackError
from sandbox.merchant.merchant import AFN, LISTINGS

ROUNDS = ("first load", "1 % changed", "equal for every other store, 2 % changed for the others")
COLUMNS = ("run s", "s per store", "CPU s of all processes", "WAL MB", "warehouse MB", "peak MB of a task", "changed")


def serve(stack: Stack, n: int, number: int) -> None:
    """Serve the documents of a round to every store."""
    for place, seller in enumerate(stack.sellers.values()):
        part = 0 if number < 2 or place % 2 == 0 else 1
        versions = changed(part) if number else (lambda i: 0)
        for report_type, lines in ((LISTINGS, listings), (AFN, afn)):
            key = (report_type, number, part)
            if key not in DOCUMENTS:
                DOCUMENTS[key] = "".join(f"{line}\n" for line in lines(range(n), versions)).encode()
            stack.amazon.world.override_document(report_type, DOCUMENTS[key], seller_id=seller)


DOCUMENTS: dict[tuple[str, int, int], bytes] = {}


def let_an_hour_pass(stack: Stack) -> None:
    """For Amazon and for the warehouse, so that new reports are asked for."""
    stack.amazon.world.advance(3700)
    with psycopg.connect(stack.warehouse_url) as db:
        db.execute("UPDATE fba.report SET requested_at = requested_at - interval '1 hour'")
        db.execute("UPDATE fba.rate_limit SET tokens = burst")


def cpu_seconds() -> float:
    """Of this machine since it was started, without what was idle."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))


def figures(stack: Stack) -> tuple[int, float, int]:
    """WAL position in bytes, size of the warehouse in MB, rows of the pool changed by the last run."""
    with psycopg.connect(stack.warehouse_url) as db:
        row = db.execute(
            "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint, pg_database_size(current_database()) / 1e6,"
            " (SELECT coalesce(sum(rows_changed), 0)::bigint FROM fba.run"
            "  WHERE run_id = (SELECT run_id FROM fba.run ORDER BY started_at DESC LIMIT 1))"
        ).fetchone()
    if row is None:
        raise StackError("PostgreSQL gives no figures")
    return int(row[0]), float(row[1]), int(row[2])


def peak_mb(folder: Path) -> float:
    """The largest memory of a process of this stack's Airflow right now."""
    found = 0.0
    for process in psutil.process_iter(["memory_info", "cmdline"]):
        if any(str(folder) in word or "airflow" in word for word in process.info["cmdline"] or ()):
            found = max(found, process.info["memory_info"].rss / 1e6)
    return found


def main(stores: int, n: int) -> None:
    """Run three rounds and print one Markdown table."""
    with airflow_stack(stores, processing_seconds=0, postgres_settings=DURABLE) as (stack, airflow):
        print(f"| {stores} stores × {n:,} listings | {' | '.join(COLUMNS)} |")
        print(f"|---|{'---:|' * len(COLUMNS)}", flush=True)
        wal = 0
        for number, name in enumerate(ROUNDS):
            serve(stack, n, number)
            began, cpu = time.monotonic(), cpu_seconds()
            with Watch(stack.folder) as watch:
                airflow.run(INVENTORY)
            seconds, used = time.monotonic() - began, cpu_seconds() - cpu
            position, size, changed_rows = figures(stack)
            cells = [f"{seconds:.0f}", f"{seconds / stores:.2f}", f"{used:.0f}", f"{(position - wal) / 1e6:.0f}"]
            cells += [f"{size:.0f}", f"{watch.peak:.0f}", f"{changed_rows:,}"]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
            DOCUMENTS.clear()
            let_an_hour_pass(stack)
            wal = figures(stack)[0]


class Watch:
    """Watches the memory of Airflow's processes, once a second, in a thread.

    :ivar peak: the largest of one process, in MB
    """

    def __init__(self, folder: Path) -> None:
        self.peak, self._folder, self._over = 0.0, folder, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._over.wait(1):
            self.peak = max(self.peak, peak_mb(self._folder))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 50, int(sys.argv[2]) if sys.argv[2:] else 100_000)
