"""What a run of each DAG costs in calls to Amazon, beside the least possible, for 1 and 10 stores.

The real DAGs run (`dag.test()`), calls are counted at the sandbox, and `fba.run.calls` must say the same. Stores are two to a
seller. Reports are done when first asked about, so that what is counted is the work and not Amazon's slowness; what
waiting costs is counted apart, with a clock that is moved instead of waited for.

    python -m benchmarks.cost [stores ...]
"""

from __future__ import annotations

import logging
import math
import subprocess
import sys
from collections import Counter
from statistics import mean
from types import SimpleNamespace
from typing import Any

import psycopg

from benchmarks.common import SHORT, print_short
from benchmarks.stage import Stage, insert_request, stage

SIZES = (1, 10)
DAGS = ("fba_get_inventory", "fba_send_fulfillment_requests", "fba_get_shipments")
OURS = {"download": "downloadDocument", "upload": "uploadDocument"}
# The least for one store: nothing can be known without asking for it, asking once whether it is done, and fetching it.
REPORT = {"createReport": 1, "getReport": 1, "getReportDocument": 1, "downloadDocument": 1}
FEED = ("createFeedDocument", "uploadDocument", "createFeed", "getFeed", "getFeedDocument", "downloadDocument")
LEAST: dict[str, dict[str, int]] = {
    "fba_get_inventory": {operation: 2 * n for operation, n in REPORT.items()},
    "fba_send_fulfillment_requests": dict.fromkeys(FEED, 1),
    "fba_get_shipments": REPORT,
}


def quiet() -> None:
    """Only the tables shall be printed."""
    logging.disable(logging.WARNING)


def run_dag(dag_id: str, conf: dict[str, Any] | None = None) -> str:
    """Run a DAG in this process; returns the state it ended in."""
    import importlib

    from fba_operators.amazon import trigger as triggers

    triggers.MIN_POLL_INTERVAL = 0.05
    made = getattr(importlib.import_module(f"dags.{dag_id}"), dag_id)()
    return str(made.test(run_conf=conf or {}).state)


def count(on: Stage, dag_id: str, conf: dict[str, Any] | None = None) -> Counter[str]:
    """Calls one run made, counted at the sandbox; raises unless the run succeeded and our own ledger says the same."""
    on.amazon.world.clear_calls()
    state = run_dag(dag_id, conf)
    told = Counter(on.amazon.world.calls()["calls"])
    with psycopg.connect(on.warehouse_url) as db:
        query = (
            "SELECT operation, sum(n::int) FROM fba.run CROSS JOIN jsonb_each_text(calls) AS c (operation, n)"
            " WHERE run_id = (SELECT run_id FROM fba.run WHERE dag_id = %s ORDER BY started_at DESC LIMIT 1)"
            " AND dag_id = %s GROUP BY 1"
        )
        ours = Counter({OURS.get(name, name): int(n) for name, n in db.execute(query, (dag_id, dag_id))})
    if state != "success" or told != ours:
        raise RuntimeError(f"{dag_id} ended {state}; at Amazon {dict(told)}, in fba.run {dict(ours)}")
    return told


def add_requests(on: Stage) -> None:
    """Give every store one request that is ready to be sent."""
    with psycopg.connect(on.warehouse_url) as db:
        for store in on.stores:
            query = "SELECT min(sku) FROM fba.global_inventory_pool WHERE store = %s AND fba_quantity > 5 AND sku LIKE 'SKU-%%'"
            ((sku,),) = db.execute(query, (store,))
            insert_request(db, store, f"FR-{store}", sku)


def beside_least(dag_id: str, calls: Counter[str], stores: int) -> tuple[int, int, str]:
    """Calls but for tokens, the least possible, and what was beyond it."""
    told = Counter({name: n for name, n in calls.items() if name != "token"})
    least = Counter({name: n * stores for name, n in LEAST[dag_id].items()})
    extra = ", ".join(f"{told[name] - least[name]:+d} {name}" for name in told | least if told[name] != least[name])
    return told.total(), least.total(), extra or "none"


def measure(stores: int) -> None:
    """Print rows for one number of stores: each DAG once, then again inside the cool-down, then after a lost answer."""
    with stage(stores) as on:
        quiet()
        tokens = 0
        for dag_id in DAGS:
            if dag_id == "fba_send_fulfillment_requests":
                add_requests(on)
            elif dag_id == "fba_get_shipments":
                for seller_id in on.amazon.world.merchants:
                    on.amazon.world.ship_now(seller_id, parts=1)
            calls = count(on, dag_id)
            tokens += calls["token"]
            made, least, extra = beside_least(dag_id, calls, stores)
            print(f"| {dag_id} | {stores} | {made} | {least} | {extra} | {calls['token']} |", flush=True)
            print_short(f"{dag_id}, a run for {stores} stores", f"{made} calls", f"{least}: the least", made / least)
        again = count(on, "fba_get_inventory")
        print(
            f"| fba_get_inventory, again inside 30 minutes | {stores} | {again.total()} | 0 |"
            f" {', '.join(f'{n:+d} {name}' for name, n in again.items()) or 'none'} | {again['token']} |",
            flush=True,
        )
        print(f"| the hour's tokens, of {(stores + 1) // 2} sellers | {stores} | {tokens} | {(stores + 1) // 2} | | |")


def measure_asking_and_waiting() -> None:
    """Print what asking for one report and waiting for it costs."""
    with stage(1) as on:
        quiet()
        from fba_operators.warehouse.database import Warehouse

        Warehouse().migrate()
        reuse(on)
        waiting(on)


def reuse(on: Stage) -> None:
    """Print how many reports Amazon made where one is enough."""
    from fba_operators.errors import LostAnswerError
    from fba_operators.operators import RequestReportOperator

    world, report_type = on.amazon.world, "GET_AFN_INVENTORY_DATA"

    def ask() -> str:
        task = RequestReportOperator(task_id="ask", conn_id=on.stores[0], report_type=report_type)
        return task.work(no_context())

    def cool_down() -> None:
        world.advance(1900)
        with psycopg.connect(on.warehouse_url) as db:
            db.execute("UPDATE fba.report SET status = 'DONE', requested_at = requested_at - interval '32 minutes'")

    def lost() -> None:
        world.add_fault("createReport", "reset_after")
        try:
            ask()
        except LostAnswerError:
            ask()
        else:
            raise RuntimeError("no answer was lost")

    def twice() -> None:
        if ask() != ask():
            raise RuntimeError("a second report was used")

    print("\n| what happens | reports made | createReport | getReports |")
    print("|---|---:|---:|---:|")
    for what, happen in (("asked for twice at once", twice), ("answer lost, then a retry", lost)):
        cool_down()
        world.clear_calls()
        happen()
        told = world.calls()
        made, calls = told["reports_created"].get(report_type, 0), Counter(told["calls"])
        print(f"| {what} | {made} | {calls['createReport']} | {calls['getReports']} |")


def waiting(on: Stage) -> None:
    """Print what one wait costs, with a clock that is moved: questions asked, and seconds from done to seen."""
    import asyncio
    import time

    from fba_operators.amazon import trigger as triggers
    from fba_operators.amazon.hook import SellingPartnerHook
    from fba_operators.amazon.trigger import ProcessingTrigger

    world = on.amazon.world
    now = time.time()

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        world.advance(seconds)

    triggers.MIN_POLL_INTERVAL = 2.0
    setattr(triggers, "time", SimpleNamespace(time=lambda: now))  # noqa: B010
    setattr(triggers, "asyncio", SimpleNamespace(sleep=sleep, get_running_loop=asyncio.get_running_loop))  # noqa: B010
    hook = SellingPartnerHook(on.stores[0])

    def await_report(seconds: float) -> tuple[int, float]:
        world.advance(7200)
        world.set_clock(processing_seconds=seconds)
        with psycopg.connect(on.warehouse_url) as db:
            db.execute("DELETE FROM fba.rate_limit")  # our buckets go by the real clock
        report_id, began = hook.create_report("GET_AFN_INVENTORY_DATA"), now
        trigger = ProcessingTrigger(
            conn_id=on.stores[0],
            warehouse_conn_id="fba_warehouse",
            kind="report",
            amazon_id=report_id,
            patience=7200,
            since=now,
        )
        before = world.calls()["calls"].get("getReport", 0)

        async def first() -> dict[str, Any]:
            return dict((await anext(trigger.run())).payload)

        event = asyncio.run(first())
        if (event["state"] or {}).get("processingStatus") != "DONE":
            raise RuntimeError(f"not what was to be measured: {event['state']}")
        return world.calls()["calls"]["getReport"] - before, now - began - seconds

    print("\n| Amazon takes | questions | seen after done | a sensor each minute (reckoned) | seen after done |")
    print("|---:|---:|---:|---:|---:|")
    for minutes in (0.5, 2, 5, 15, 30, 60):
        # Several lengths, so that no phase of the questions decides what is shown.
        lengths = [minutes * 60 + offset for offset in (0, 7, 14, 21, 28)]
        seen = [await_report(length) for length in lengths]
        pokes = [math.ceil(length / 60) for length in lengths]
        cells = (
            mean([questions for questions, _ in seen]),
            mean([late for _, late in seen]),
            mean([poke + 1 for poke in pokes]),
            mean([poke * 60 - length for poke, length in zip(pokes, lengths, strict=True)]),
        )
        print(f"| {minutes:g} min | {cells[0]:.0f} | {cells[1]:.0f} s | {cells[2]:.0f} | {cells[3]:.0f} s |")


def no_context() -> Any:
    """What a task that looks at nothing of Airflow's gets."""
    return {"run_id": "benchmark"}


def main(sizes: tuple[int, ...]) -> None:
    """Print the tables, each part in a process of its own, because Airflow reads its settings once."""
    print("| run | stores | calls | least | beyond the least | tokens |\n|---|---:|---:|---:|---|---:|", flush=True)
    short: list[str] = []
    for part in (*map(str, sizes), "waits"):
        child = subprocess.run(
            [sys.executable, "-m", __spec__.name, "--part", part], capture_output=True, text=True, check=False
        )
        if child.returncode:
            raise RuntimeError(child.stderr[-3000:])
        lines = child.stdout.splitlines()
        print("".join(f"{line}\n" for line in lines if line.startswith("|") or not line), end="", flush=True)
        short = [line for line in lines if line.startswith(SHORT)] or short  # of the most stores
    print("\n".join(short))


if __name__ == "__main__":
    if sys.argv[1:] == ["--part", "waits"]:
        measure_asking_and_waiting()
    elif sys.argv[1:2] == ["--part"]:
        measure(int(sys.argv[2]))
    else:
        main(tuple(map(int, sys.argv[1:])) or SIZES)
