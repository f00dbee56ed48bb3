"""
### fba_get_shipments: what Amazon shipped, attached to orders and SKUs

Asks Amazon for the shipments reported in a window of time and keeps each row once, however often a window repeats it.
Runs every four hours over the last days (`lookback_days` of `stores.yaml`), because Amazon reports some shipments days late.

| task | does | when it fails |
|---|---|---|
| `prepare` | brings the warehouse's schema up to date, tries the params | the message says which param, setting or connection is wrong |
| `windows` | lists the windows to ask for, at most 30 days each | only if the stores file changed just now |
| `window.token` | makes sure the credentials work | renew the secret or the refresh token in the connection it names |
| `window.request` | asks for the report of what Amazon shipped | retried by itself; a retry first looks whether Amazon already made the report |
| `window.wait` | waits, deferred, without holding a worker | FATAL or CANCELLED: the log says what Amazon said; the next run asks again |
| `window.load` | writes the rows; unreadable lines go to `fba.rejected_row` | all readable rows are written; look at the lines it counts |
| `follow_up` | asks after accepted requests that are not shipped a day later | retried by itself; the next run goes on where it stopped |
| `retention` | removes addresses and raw copies whose time is over | the warehouse is out of reach |
| `summarise` | says what came in and what is overdue, tells who is named under `notifications`; red if a store failed | look at the store it names |

**Where to look**: `fba.fulfillment_progress` has each line of a request with units ordered, shipped and open, tracking numbers
and carriers; `fba.shipment_item` every shipped item, of orders from Amazon too; `fba.run` the counts of each run.

**Other days**: trigger with `start` and `end`, or `lookback_days`; or backfill, a run for each time
of the schedule between two midnights:
`airflow backfill create --dag-id fba_get_shipments --from-date 2026-09-01 --to-date 2026-10-02 --dag-run-conf '{"lookback_days": 1}'`.
Windows may overlap and come in any order. Amazon goes 18 months back.

**An order stays open?** `summarise` names requests that are overdue; `amazon_order_status` in `fba.fulfillment_request` is what
Amazon says about the order. Shipped there and not here: ask for the days of the shipment again.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, Param, TriggerRule, dag, task_group

from fba_operators.operators.follow_up import FollowUpOrdersOperator, SummariseShipmentsOperator
from fba_operators.operators.reports import RequestReportOperator
from fba_operators.operators.retention import RetentionOperator
from fba_operators.operators.shipments import (
    SHIPMENTS,
    LoadShipmentsOperator,
    PlanWindowsOperator,
    PrepareShipmentsOperator,
    WaitForShipmentsOperator,
)
from fba_operators.operators.token import RefreshTokenOperator
from fba_operators.reports.report_types import FULFILLED_SHIPMENTS
from fba_operators.settings.stores_file import load_stores
from fba_operators.shipments.windows import MAX_LOOKBACK_DAYS

STORES = list(load_stores().stores)
LOADS_AT_ONCE = 8  # in one run: half a gigabyte each for a million rows
ISO = "ISO 8601, e.g. 2026-11-23 or 2026-11-23T10:00:00+00:00; without an offset it is UTC."


@dag(
    schedule=CronTriggerTimetable("15 */4 * * *", timezone="UTC", interval=timedelta(hours=4)),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1), "retry_exponential_backoff": True},
    doc_md=__doc__,
    tags=["amazon", "fba", "shipments"],
    params={
        "stores": Param(
            STORES,
            type="array",
            items={"type": "string"},
            examples=STORES,
            title="Stores",
            description="Which stores to update.",
        ),
        "lookback_days": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=MAX_LOOKBACK_DAYS,
            title="Days to look back",
            description="How many days before its end the window begins. Untouched = as configured in stores.yaml.",
        ),
        "start": Param(
            None,
            type=["null", "string"],
            title="Start",
            description=f"Begin of the window, instead of days to look back. {ISO}",
        ),
        "end": Param(
            None,
            type=["null", "string"],
            title="End",
            description=f"End of the window. Untouched = the end of the run's interval, or now. {ISO}",
        ),
    },
)
def fba_get_shipments():
    prepare = PrepareShipmentsOperator(task_id="prepare")
    windows = PlanWindowsOperator(task_id="windows", stores=prepare.output)

    @task_group
    def window(conn_id: str, start: str, end: str):
        token = RefreshTokenOperator(task_id="token", conn_id=conn_id)
        request = RequestReportOperator(
            task_id="request",
            conn_id=conn_id,
            report_type=FULFILLED_SHIPMENTS.name,
            data_start=start,
            data_end=end,
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


fba_get_shipments()
