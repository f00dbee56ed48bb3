"""
### fba_get_inventory: what can be sold, SKU by SKU

Asks Amazon for two reports of each store, merges them into one true quantity per SKU and updates
`fba.global_inventory_pool`. Runs every hour; two runs inside 30 minutes share the same reports.

| task | does | when it fails |
|---|---|---|
| `prepare` | brings the warehouse's schema up to date | the connection `fba_warehouse` or `stores.yaml` is wrong; see the message |
| `store.token` | makes sure the credentials work | renew the secret or the refresh token in the connection that the message names |
| `store.request_…` | asks for the report of all listings, or of Amazon's stock | retried; a retry first checks whether Amazon already made the report |
| `store.wait` | waits for both, deferred, without holding a worker; skipped after 50 minutes | FATAL: Amazon's reason is in the log; the next run asks again |
| `store.merge` | writes the pool, or refuses | a refusal has the counts and the param that overrides it; the last good pool stays |
| `store.breakdown` | with `breakdown: true`: reads where else the units of each SKU are, also after a refusal | retried; the next run goes on from the last complete reading |
| `summarise` | summarises what changed, notifies the recipients in `notifications`; red if a store failed | see the store and reason in its log |

**Where a quantity comes from** is in `quantity_source`: `afn_report`, `listings_report`, `fba_api` or `default_zero`.

**After a refusal** look at `fba.report` and `fba.rejected_row`. If the stock really is gone, trigger the DAG with
`accept_zeroed_stock`. To derive the pool again from stored reports, give their ids as `replay_report_ids`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param, TriggerRule, task_group

from fba_operators.assets import POOL
from fba_operators.operators import (
    AS_CONFIGURED,
    MergeInventoryOperator,
    PrepareRunOperator,
    ReadBreakdownOperator,
    RefreshTokenOperator,
    RequestReportOperator,
    SummariseInventoryOperator,
    WaitForStockReportsOperator,
)
from fba_operators.settings import load_stores

STORES = list(load_stores().stores)
BREAKDOWN = any(store.inventory.breakdown for store in load_stores().stores.values())
WAIT_IN_THIS_RUN = timedelta(
    minutes=50
)  # shorter than the schedule: one slow store does not hold up the others' next run
LOADS_AT_ONCE = 8  # merges in one run: a store with two million listings needs over a gigabyte


def fba_get_inventory() -> DAG:
    """Make the DAG."""
    with DAG(
        dag_id="fba_get_inventory",
        dag_display_name="FBA: get inventory",
        description="Merges two of Amazon's reports into one true quantity per SKU, every hour",
        schedule=CronTriggerTimetable("0 * * * *", timezone="UTC", interval=timedelta(hours=1)),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=2, minutes=30),  # a run that hangs ends before the third run that it holds up
        default_args={
            "owner": "fba",
            "retries": 3,
            "retry_delay": timedelta(minutes=1),
            "retry_exponential_backoff": True,
            "execution_timeout": timedelta(minutes=90),
        },
        doc_md=__doc__,
        tags=["amazon", "fba", "inventory"],
        params={
            "stores": Param(
                STORES,
                type=["null", "array"],
                items={"type": "string"},
                examples=STORES,
                title="Stores",
                description="Which stores to update. Empty: all of stores.yaml.",
            ),
            "include_fbm_quantity": Param(
                None,
                **AS_CONFIGURED,
                title="Include merchant-fulfilled stock",
                description="On: quantity = FBA + FBM. Off: quantity = FBA alone.",
            ),
            "fetch_missing_inventory": Param(
                None,
                **AS_CONFIGURED,
                title="Ask the FBA Inventory API",
                description="On: a SKU missing from both reports is looked up before it becomes 0.",
            ),
            "accept_zeroed_stock": Param(
                False,
                type=["null", "boolean"],
                title="Accept that stock is gone",
                description="Write even if most SKUs in stock would drop to 0, or a report is empty. Only after you checked "
                "Seller Central.",
            ),
            "replay_report_ids": Param(
                [],
                type=["null", "array"],
                items={"type": "string"},
                oneOf=[{"maxItems": 0}, {"minItems": 2, "maxItems": 2}],
                title="Replay",
                description="Ids of a listings report and an AFN report of one store (choose it above): derive the pool again "
                "from their raw copies, without a call to Amazon.",
            ),
        },
    ) as dag:
        prepare = PrepareRunOperator(task_id="prepare", stores=dag.param("stores"))
        replay = dag.param("replay_report_ids")

        @task_group
        def store(conn_id: str):
            token = RefreshTokenOperator(task_id="token", conn_id=conn_id, offline=replay)
            requested = {}
            for name, report_type, options in (
                ("listings", "GET_MERCHANT_LISTINGS_ALL_DATA", {"preferredReportDocumentLocale": "en_US"}),
                ("afn", "GET_AFN_INVENTORY_DATA", None),
            ):
                requested[name] = RequestReportOperator(
                    task_id=f"request_{name}",
                    conn_id=conn_id,
                    report_type=report_type,
                    report_options=options,
                    replay_report_ids=replay,
                    even_refused=dag.param("accept_zeroed_stock"),
                )
                token >> requested[name]
            wait = WaitForStockReportsOperator(
                task_id="wait",
                conn_id=conn_id,
                listings_report_id=requested["listings"].output,
                afn_report_id=requested["afn"].output,
                patience=WAIT_IN_THIS_RUN,
                offline=replay,
            )
            merge = MergeInventoryOperator(
                task_id="merge",
                conn_id=conn_id,
                report_ids=wait.output,
                include_fbm_quantity=dag.param("include_fbm_quantity"),
                fetch_missing_inventory=dag.param("fetch_missing_inventory"),
                accept_zeroed_stock=dag.param("accept_zeroed_stock"),
                replay=replay,
                outlets=[POOL],
                max_active_tis_per_dagrun=LOADS_AT_ONCE,
            )
            if BREAKDOWN:
                merge >> ReadBreakdownOperator(
                    task_id="breakdown", conn_id=conn_id, offline=replay, trigger_rule=TriggerRule.ALL_DONE
                )

        store.expand(conn_id=prepare.output) >> SummariseInventoryOperator(task_id="summarise", stores=prepare.output)
    return dag


dag = fba_get_inventory()
