"""
### fba_get_inventory: what can be sold, SKU by SKU

Asks Amazon for two reports of each store, merges them into one true quantity per SKU and updates
`fba.global_inventory_pool`. Runs every hour; two runs inside 30 minutes share the same reports.

| task | does | when it fails |
|---|---|---|
| `prepare` | brings the warehouse's schema up to date | the connection `fba_warehouse` or `stores.yaml` is wrong; the message says what |
| `store.token` | makes sure the credentials work | renew the secret or the refresh token in the connection it names |
| `store.request_…` | asks for the report of all listings, or of Amazon's stock | retried by itself; a retry first looks whether Amazon already made the report |
| `store.wait_…` | waits, deferred, without holding a worker; skipped after 50 minutes | FATAL: Amazon's reason is in the log; the next run asks again |
| `store.merge` | writes the pool, or refuses | a refusal names the counts and the param that overrides it; the last good pool stays |
| `summarise` | says what changed, tells who is named under `notifications`; red if a store failed | look at the store it names |

**Where a quantity comes from** is in `quantity_source`: `afn_report`, `listings_report`, `fba_api` or `default_zero`.

**After a refusal** look at `fba.report` and `fba.rejected_row`. If the stock really is gone, trigger the DAG with
`accept_zeroed_stock`. To derive the pool again from reports that are kept, give their ids as `replay_report_ids`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, Param, dag, task_group

from fba_operators.operators.inventory import POOL, MergeInventoryOperator
from fba_operators.operators.reports import RequestReportOperator, WaitForReportOperator
from fba_operators.operators.run import PrepareRunOperator, SummariseRunOperator
from fba_operators.operators.token import RefreshTokenOperator
from fba_operators.settings.stores_file import load_stores

STORES = list(load_stores().stores)
SHORTER_THAN_THE_SCHEDULE = timedelta(minutes=50)  # one slow store does not hold up the next run of the others
LOADS_AT_ONCE = 8  # merges in one run: a store with two million listings needs over a gigabyte
AS_CONFIGURED = "Untouched = as configured in stores.yaml."
REPLAY = "{{ params.replay_report_ids[%d] if params.replay_report_ids else '' }}"
IS_REPLAY = "{{ params.replay_report_ids | length > 0 }}"


@dag(
    schedule=CronTriggerTimetable("0 * * * *", timezone="UTC", interval=timedelta(hours=1)),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1), "retry_exponential_backoff": True},
    doc_md=__doc__,
    tags=["amazon", "fba", "inventory"],
    params={
        "stores": Param(
            STORES,
            type="array",
            items={"type": "string"},
            examples=STORES,
            title="Stores",
            description="Which stores to update.",
        ),
        "include_fbm_quantity": Param(
            None,
            type=["null", "boolean"],
            title="Include merchant-fulfilled stock",
            description=f"{AS_CONFIGURED} On: quantity = FBA + FBM. Off: quantity = FBA alone.",
        ),
        "fetch_missing_inventory": Param(
            None,
            type=["null", "boolean"],
            title="Ask the FBA Inventory API",
            description=f"{AS_CONFIGURED} On: a SKU missing from both reports is looked up before it becomes 0.",
        ),
        "accept_zeroed_stock": Param(
            False,
            type="boolean",
            title="Accept that stock is gone",
            description="Write even if most SKUs in stock would drop to 0, or a report is empty. Only after you checked Seller Central.",
        ),
        "replay_report_ids": Param(
            [],
            type="array",
            items={"type": "string"},
            oneOf=[{"maxItems": 0}, {"minItems": 2, "maxItems": 2}],
            title="Replay",
            description="Ids of a listings report and an AFN report of one store (choose it above), in this order: derive the "
            "pool again from their raw copies, without a call to Amazon.",
        ),
    },
)
def fba_get_inventory():
    prepare = PrepareRunOperator(task_id="prepare")

    @task_group
    def store(conn_id: str):
        token = RefreshTokenOperator(task_id="token", conn_id=conn_id, needed="{{ not params.replay_report_ids }}")
        finished = {}
        for number, (name, report_type, options) in enumerate(
            (
                ("listings", "GET_MERCHANT_LISTINGS_ALL_DATA", {"preferredReportDocumentLocale": "en_US"}),
                ("afn", "GET_AFN_INVENTORY_DATA", None),
            )
        ):
            request = RequestReportOperator(
                task_id=f"request_{name}",
                conn_id=conn_id,
                report_type=report_type,
                report_options=options,
                known_report_id=REPLAY % number,
            )
            token >> request
            finished[name] = WaitForReportOperator(
                task_id=f"wait_{name}",
                conn_id=conn_id,
                report_id=request.output,
                patience=SHORTER_THAN_THE_SCHEDULE,
                known=IS_REPLAY,
            )
        MergeInventoryOperator(
            task_id="merge",
            conn_id=conn_id,
            listings_report_id=finished["listings"].output,
            afn_report_id=finished["afn"].output,
            include_fbm_quantity="{{ params.include_fbm_quantity }}",
            fetch_missing_inventory="{{ params.fetch_missing_inventory }}",
            accept_zeroed_stock="{{ params.accept_zeroed_stock }}",
            replay=IS_REPLAY,
            outlets=[POOL],
            max_active_tis_per_dagrun=LOADS_AT_ONCE,
        )

    store.expand(conn_id=prepare.output) >> SummariseRunOperator(task_id="summarise", stores=prepare.output)


fba_get_inventory()
