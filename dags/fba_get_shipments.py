"""
### fba_get_shipments: what Amazon shipped, attached to orders and SKUs

Asks Amazon for the shipments reported in a window of time and keeps each row once, however often a window repeats it.
Runs every four hours over the last days (`lookback_days` of `stores.yaml`), because Amazon reports some shipments days late.

| task | does | when it fails |
|---|---|---|
| `prepare` | brings the warehouse's schema up to date, checks the params | a param, setting or connection is wrong; see the message |
| `windows` | lists the windows to ask for, at most 30 days each | only if the stores file changed just now |
| `window.token` | makes sure the credentials work | renew the secret or the refresh token in the connection that the message names |
| `window.request` | asks for the report of what Amazon shipped | retried; a retry first checks whether Amazon already made the report |
| `window.wait` | waits, deferred, without holding a worker | FATAL or CANCELLED: Amazon's reason is in the log; the next run asks again |
| `window.load` | writes the rows; unreadable lines go to `fba.rejected_row` | all readable rows are written; look at the rejected lines |
| `follow_up` | looks up accepted requests that are not shipped a day later | retried; the next run goes on where it stopped |
| `retention` | removes addresses and raw copies whose retention period is over | the warehouse is out of reach |
| `summarise` | summarises what was loaded and what is overdue, notifies the recipients in `notifications`; red if a store failed | see the store and reason in its log |

**Where to look**: `fba.fulfillment_progress` has each line of a request with units ordered, shipped and open, tracking numbers
and carriers; `fba.shipment_item` every shipped item, of orders from Amazon too; `fba.run` the counts of each run.

**Other days**: trigger with `start` and `end`, or `lookback_days`; or backfill, a run for each time
of the schedule between two midnights:
`airflow backfill create --dag-id fba_get_shipments --from-date 2026-09-01 --to-date 2026-10-02 --dag-run-conf '{"lookback_days": 1}'`.
Windows may overlap and come in any order. Amazon goes 18 months back.

**An order stays open?** `summarise` lists requests that are overdue; `amazon_order_status` in `fba.fulfillment_request` is Amazon's
status of the order. Shipped there and not here: ask for the days of the shipment again.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param, TriggerRule, task_group

from fba_operators.assets import SHIPMENTS
from fba_operators.operators import (
    FollowUpOrdersOperator,
    LoadShipmentsOperator,
    PlanWindowsOperator,
    PrepareShipmentsOperator,
    RefreshTokenOperator,
    RequestReportOperator,
    RetentionOperator,
    SummariseShipmentsOperator,
    WaitForShipmentsOperator,
)
from fba_operators.reports import FULFILLED_SHIPMENTS
from fba_operators.settings import load_stores
from fba_operators.shipments.windows import MAX_LOOKBACK_DAYS

STORES = list(load_stores().stores)
LOADS_AT_ONCE = 8  # in one run: half a gigabyte each for a million rows
ISO = "ISO 8601, e.g. 2026-11-23 or 2026-11-23T10:00:00+00:00; without an offset it is UTC."


def fba_get_shipments() -> DAG:
    """Make the DAG."""
    with DAG(
        dag_id="fba_get_shipments",
        dag_display_name="FBA: get shipments",
        description="Attaches what Amazon shipped, with carrier and tracking, to orders and SKUs, every four hours",
        schedule=CronTriggerTimetable("15 */4 * * *", timezone="UTC", interval=timedelta(hours=4)),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=11),  # a run that hangs ends before the third run that it holds up
        default_args={
            "owner": "fba",
            "retries": 3,
            "retry_delay": timedelta(minutes=1),
            "retry_exponential_backoff": True,
            "execution_timeout": timedelta(hours=2),
        },
        doc_md=__doc__,
        tags=["amazon", "fba", "shipments"],
        params={
            "stores": Param(
                STORES,
                type=["null", "array"],
                items={"type": "string"},
                examples=STORES,
                title="Stores",
                description="Which stores to update. Empty: all of stores.yaml.",
            ),
            "lookback_days": Param(
                None,
                type=["null", "integer"],
                minimum=1,
                maximum=MAX_LOOKBACK_DAYS,
                title="Days to look back",
                description="How many days before its end the window begins. Empty: as configured in stores.yaml.",
            ),
            "start": Param(
                None,
                type=["null", "string"],
                title="Start",
                description=f"Beginning of the window, instead of days to look back. {ISO}",
            ),
            "end": Param(
                None,
                type=["null", "string"],
                title="End",
                description=f"End of the window. Empty: the end of the run's interval, or now. {ISO}",
            ),
        },
    ) as dag:
        window_params = {name: dag.param(name) for name in ("start", "end", "lookback_days")}
        prepare = PrepareShipmentsOperator(task_id="prepare", stores=dag.param("stores"), **window_params)
        windows = PlanWindowsOperator(task_id="windows", stores=prepare.output, **window_params)

        @task_group
        def window(conn_id: str, start: str, end: str):
            token = RefreshTokenOperator(task_id="token", conn_id=conn_id)
            request = RequestReportOperator(
                task_id="request",
                conn_id=conn_id,
                report_type=FULFILLED_SHIPMENTS.name,
                data_start=start,
                data_end=end,
                map_index_template="{{ task.conn_id }} {{ task.data_start[:10] }}",
            )
            token >> request
            wait = WaitForShipmentsOperator(task_id="wait", conn_id=conn_id, report_id=request.output)
            load = LoadShipmentsOperator(
                task_id="load",
                conn_id=conn_id,
                report_id=wait.output,
                outlets=[SHIPMENTS],
                max_active_tis_per_dagrun=LOADS_AT_ONCE,
            )
            return load.output

        loaded = window.expand_kwargs(windows.output)
        follow_up = FollowUpOrdersOperator.partial(task_id="follow_up", trigger_rule=TriggerRule.ALL_DONE).expand(
            conn_id=prepare.output
        )
        retention = RetentionOperator(task_id="retention")
        prepare >> retention
        summarise = SummariseShipmentsOperator(
            task_id="summarise",
            stores=prepare.output,
            windows=windows.output,
            loaded=loaded,
            followed=follow_up.output,
            removed=retention.output,
        )
        loaded >> follow_up >> summarise
    return dag


dag = fba_get_shipments()
