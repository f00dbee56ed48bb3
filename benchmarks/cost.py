"""How many calls to Amazon a run of each DAG makes compared with the minimum, for 1 and 10 stores.

The real DAGs run (`dag.test()`). Calls are counted at the sandbox, and `fba.run.calls` must have the same numbers. Each
seller has two stores. Reports are done at the first poll, so that only the necessary calls are counted; what waiting
costs is measured separately, with a simulated clock.

    python -m benchmarks.cost [stores ...]
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from statistics import mean
from types import SimpleNamespace
from typing import Any

import psycopg

from benchmarks.common.minimum_calls import compare_with_minimum, differences
from benchmarks.common.processes import migrate_warehouse, run_python
from benchmarks.common.stacks import DAGS, INVENTORY, Stack, stack_of_this_process
from benchmarks.common.summary import MARK, print_summary_row, tables
from sandbox.merchant.merchant import AFN

SIZES = (1, 10)
SANDBOX_NAMES = {"download": "downloadDocument", "upload": "uploadDocument"}  # of what fba.run calls otherwise
CONTEXT: Any = {"run_id": "benchmark"}  # all that the tasks run here read of Airflow's context
SENSOR_INTERVAL = 60  # seconds


def run_dag(dag_id: str) -> str:
    """Run a DAG in this process; returns its final state."""
    from fba_operators.amazon import trigger

    trigger.MIN_POLL_INTERVAL = 0.05
    dag = getattr(importlib.import_module(f"dags.{dag_id}"), dag_id)()
    return str(dag.test(run_conf={}).state)


def count_calls(stack: Stack, dag_id: str) -> Counter[str]:
    """Run a DAG and count its calls at the sandbox; raise unless it succeeds and fba.run has the same numbers."""
    stack.amazon.world.clear_calls()
    state = run_dag(dag_id)
    made = Counter(stack.amazon.world.calls()["calls"])
    with psycopg.connect(stack.warehouse_url) as db:
        query = (
            "SELECT operation, sum(n::int) FROM fba.run CROSS JOIN jsonb_each_text(calls) AS c (operation, n)"
            " WHERE run_id = (SELECT run_id FROM fba.run WHERE dag_id = %s ORDER BY started_at DESC LIMIT 1)"
            " AND dag_id = %s GROUP BY 1"
        )
        recorded = Counter({SANDBOX_NAMES.get(name, name): int(n) for name, n in db.execute(query, (dag_id, dag_id))})
    if state != "success" or made != recorded:
        raise RuntimeError(f"{dag_id} ended as {state}; calls at the sandbox {dict(made)}, in fba.run {dict(recorded)}")
    return made


def measure_runs(stores: int) -> None:
    """Print the rows of one number of stores: each DAG once, then the first again within the cool-down."""
    with stack_of_this_process(stores) as stack:
        logging.disable(logging.WARNING)
        tokens = 0
        for dag_id in DAGS:
            stack.prepare_run(dag_id)
            calls = count_calls(stack, dag_id)
            tokens += calls["token"]
            made, minimum, extra = compare_with_minimum(dag_id, calls, stores)
            print(f"| {dag_id} | {stores} | {made} | {minimum} | {extra} | {calls['token']} |", flush=True)
            what = f"{dag_id}, a run for {stores} stores"
            print_summary_row(what, f"{made} calls", f"{minimum}: the minimum", made / minimum)
        again = count_calls(stack, INVENTORY)
        cells = f"{stores} | {again.total()} | 0 | {differences(again, Counter())} | {again['token']}"
        print(f"| {INVENTORY}, again within 30 minutes | {cells} |")
        sellers = len(set(stack.sellers.values()))
        print(f"| tokens of one hour, sellers: {sellers} | {stores} | {tokens} | {sellers} | | |", flush=True)


def measure_one_report() -> None:
    """Print what requesting one report and waiting for it costs."""
    with stack_of_this_process(1) as stack:
        logging.disable(logging.WARNING)
        migrate_warehouse(stack.environment)
        print_requests(stack)
        print_confirmations(stack)
        print_waits(stack)
        print_breakdowns(stack)


def print_requests(stack: Stack) -> None:
    """Print how many reports Amazon creates where one is enough."""
    from fba_operators.errors import LostAnswerError
    from fba_operators.operators import RequestReportOperator

    world = stack.amazon.world

    def request() -> str:
        operator = RequestReportOperator(task_id="request", conn_id=stack.stores[0], report_type=AFN)
        return operator.work(CONTEXT)

    def end_cool_down() -> None:
        world.advance(1900)
        with psycopg.connect(stack.warehouse_url) as db:
            db.execute("UPDATE fba.report SET status = 'DONE', requested_at = requested_at - interval '32 minutes'")

    def lose_answer() -> None:
        world.add_fault("createReport", "reset_after")
        try:
            request()
        except LostAnswerError:
            request()
        else:
            raise RuntimeError("the sandbox answered although a lost answer was scripted")

    def request_twice() -> None:
        if request() != request():
            raise RuntimeError("the second request did not reuse the report of the first")

    cases: tuple[tuple[str, Callable[[], None]], ...] = (
        ("requested twice in a row", request_twice),
        ("answer lost, then retried", lose_answer),
    )
    print("\n| what happens | reports created | createReport | getReports |")
    print("|---|---:|---:|---:|")
    for what, happens in cases:
        end_cool_down()
        world.clear_calls()
        happens()
        counts = world.calls()
        created, calls = counts["reports_created"].get(AFN, 0), Counter(counts["calls"])
        print(f"| {what} | {created} | {calls['createReport']} | {calls['getReports']} |")


def print_confirmations(stack: Stack) -> None:
    """Print how many calls it takes to ask the FBA Inventory API about SKUs that are in no report any more."""
    from fba_operators.amazon.hook import SellingPartnerHook
    from fba_operators.inventory.inventory_api import SKUS_PER_CALL, ask_inventory_api

    world = stack.amazon.world
    hook = SellingPartnerHook(stack.stores[0])
    cases = (
        ("known to Amazon", [f"K-{n}" for n in range(500)], True),
        ("not known to Amazon", [f"U-{n}" for n in range(500)], False),
        ("not known, with a blank: asked alone as well", [f"U {n}" for n in range(10)], False),
    )
    print("\n| vanished SKUs | number | getInventorySummaries | minimum |")
    print("|---|---:|---:|---:|")
    for what, skus, known in cases:
        for sku in skus if known else ():
            world.put_item(
                hook.credentials.seller_id, hook.marketplace.id, sku, offers=[("AMAZON_NA", None)], api_stock=3
            )
        world.clear_calls()
        answers = ask_inventory_api(hook, skus)
        if len(answers.quantities if known else answers.absent) != len(skus):
            raise RuntimeError(f"the API did not answer for every SKU: {what}")
        made = world.calls()["calls"]["getInventorySummaries"]
        print(f"| {what} | {len(skus)} | {made} | {math.ceil(len(skus) / SKUS_PER_CALL)} |")


def print_breakdowns(stack: Stack) -> None:
    """Print how many calls it takes to read where the units are: all SKUs, and later those that have changed."""
    from fba_operators.amazon.hook import SellingPartnerHook
    from fba_operators.inventory.breakdown import read_breakdown
    from fba_operators.runs.log import RunLog
    from fba_operators.warehouse.database import Warehouse

    world = stack.amazon.world
    hook = SellingPartnerHook(stack.stores[0])
    seller, marketplace = hook.credentials.seller_id, hook.marketplace.id
    world.remove_items(seller, marketplace)
    world.set_clock(speed=100)  # so that only our own quota is waited for

    def change(skus: int) -> None:
        for n in range(skus):
            world.put_item(seller, marketplace, f"B-{n}", offers=[("AMAZON_NA", None)], api_stock=n)

    print("\n| breakdown read | SKUs | getInventorySummaries | minimum |")
    print("|---|---:|---:|---:|")
    for what, skus in (("of a store, once a day", 500), ("later, of those that have changed", 60)):
        change(skus)
        if what.startswith("of a store"):  # what has changed in the last minutes is read again the next time
            for item in world.merchants[seller].catalogue(marketplace).items.values():
                item.changed -= 3600
        with psycopg.connect(stack.warehouse_url) as db:
            db.execute("DELETE FROM fba.rate_limit")
        world.clear_calls()
        counts = read_breakdown(hook, Warehouse(), RunLog("benchmark", "benchmark", stack.stores[0]), "breakdown")
        made = world.calls()["calls"]["getInventorySummaries"]
        if counts != {"skus": skus, "unread": 0}:
            raise RuntimeError(f"{counts} were read, and not {skus} SKUs")
        print(f"| {what} | {skus} | {made} | {math.ceil(skus / world.inventory_page_size)} |")


def print_waits(stack: Stack) -> None:
    """Print what one wait costs, with a simulated clock: the number of polls, and seconds from DONE until it is noticed."""
    from fba_operators.amazon import trigger as trigger_module
    from fba_operators.amazon.hook import SellingPartnerHook
    from fba_operators.amazon.trigger import ProcessingTrigger

    world = stack.amazon.world
    now = time.time()

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        world.advance(seconds)

    trigger_module.MIN_POLL_INTERVAL = 2.0
    setattr(trigger_module, "time", SimpleNamespace(time=lambda: now))  # noqa: B010
    setattr(trigger_module, "asyncio", SimpleNamespace(sleep=sleep))  # noqa: B010
    hook = SellingPartnerHook(stack.stores[0])

    def await_report(seconds: float) -> tuple[int, float]:
        """Polls until a report that takes so long is noticed, and the delay."""
        world.advance(7200)
        world.set_clock(processing_seconds=seconds)
        with psycopg.connect(stack.warehouse_url) as db:
            db.execute("DELETE FROM fba.rate_limit")  # the warehouse's buckets use the real clock
        report_id, began = hook.create_report(AFN), now
        trigger = ProcessingTrigger(
            conn_id=stack.stores[0],
            warehouse_conn_id="fba_warehouse",
            kind="report",
            amazon_id=report_id,
            patience=7200,
            since=now,
        )
        before = world.calls()["calls"].get("getReport", 0)

        async def first_event() -> dict[str, Any]:
            return dict((await anext(trigger.run())).payload)

        event = asyncio.run(first_event())
        if (event["state"] or {}).get("processingStatus") != "DONE":
            raise RuntimeError(f"the trigger must fire when the report is DONE, not with the state {event['state']}")
        return world.calls()["calls"]["getReport"] - before, now - began - seconds

    print(
        "\n| Amazon takes | polls | noticed after DONE | polls of a sensor every minute (calculated) | noticed after DONE |"
    )
    print("|---:|---:|---:|---:|---:|")
    for minutes in (0.5, 2, 5, 15, 30, 60):
        # The mean over several durations, so that it does not matter when in an interval a report is done.
        durations = [minutes * 60 + offset for offset in (0, 7, 14, 21, 28)]
        waits = [await_report(duration) for duration in durations]
        pokes = [math.ceil(duration / SENSOR_INTERVAL) for duration in durations]
        cells = (
            f"{mean([polls for polls, _ in waits]):.0f}",
            f"{mean([delay for _, delay in waits]):.0f} s",
            f"{mean(pokes) + 1:.0f}",
            f"{mean([n * SENSOR_INTERVAL - each for n, each in zip(pokes, durations, strict=True)]):.0f} s",
        )
        print(f"| {minutes:g} min | {' | '.join(cells)} |")


def main(sizes: tuple[int, ...]) -> None:
    """Print the tables, each part in a separate process, because Airflow reads its settings once."""
    print("| run | stores | calls | minimum | difference | tokens |\n|---|---:|---:|---:|---|---:|", flush=True)
    summary: list[str] = []
    for part in (*map(str, sizes), "one-report"):
        output = run_python("-m", __spec__.name, "--part", part)
        print(tables(output), end="", flush=True)
        rows = [line for line in output.splitlines() if line.startswith(MARK)]
        summary = rows or summary  # that of the largest size is shown
    print("\n".join(summary))


if __name__ == "__main__":
    if sys.argv[1:] == ["--part", "one-report"]:
        measure_one_report()
    elif sys.argv[1:2] == ["--part"]:
        measure_runs(int(sys.argv[2]))
    else:
        main(tuple(map(int, sys.argv[1:])) or SIZES)
