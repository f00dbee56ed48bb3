"""
### fba_send_fulfillment_requests: orders for Amazon to fulfil

Sends the requests in `fba.fulfillment_request` of each store to Amazon, as one feed or order by order (`transport` in
`stores.yaml`), and records accept or reject for each.
Runs every 20 minutes; by schedule it sends only where `send_automatically` is true, else only when you trigger it. Every
run settles what earlier runs left open and asks Amazon to cancel orders whose `cancel_requested_at` is set.

| task | does | when it fails |
|---|---|---|
| `prepare` | brings the warehouse's schema up to date, finds the stores that have something to do | the connection `fba_warehouse` or `stores.yaml` is wrong; see the message |
| `store.token` | makes sure the credentials work | renew the secret or the refresh token in the connection that the message names |
| `store.settle` | finds out what became of open feeds and orders, whichever run made them; cancels orders | retried; if it lists requests, look them up in Seller Central (below) |
| `store.claim` | validates every pending request, asks for quotes, and freezes those that are ready, for one feed or as orders | the message says what is wrong in `stores.yaml` or the params |
| `store.send` | transport outbound: asks Amazon for each number, then sends each order, once | Amazon denies access or refuses the call itself; what was not sent is pending again |
| `store.upload` | transport feed, with the next three: writes the XML and uploads it | retried with a new document; nothing is sent yet |
| `store.submit` | compares Amazon's feeds with the warehouse, then hands the feed to Amazon, once | Amazon refused the feed; its requests are pending again |
| `store.wait` | waits, deferred, without holding a worker | never for lack of time: after 15 minutes the next run settles the feed |
| `store.record` | reads Amazon's processing report | retried, or settled by the next run |
| `summarise` | summarises what changed, counts requests of stores that are not in `stores.yaml`, notifies the recipients in `notifications`; red if a store failed | see the store and reason in its log |

Tasks that have nothing to do are skipped. Every task may be cleared: nothing is sent twice.

**What a status means.** `pending` waits (`waiting_reason` says why and until when), `invalid` must be put right first
(`status_reason` names everything that is wrong; then set `status` to `pending`), `sending` and `submitted` are on their
way, `accepted` and `rejected` are Amazon's answer, `cancelled` is over. Every other change of `status` is the runs'.

**`unknown`** means that Amazon did not say what became of a request. It is looked up in Amazon's list of orders half an
hour after the feed ended, and sent again only if two complete lists, 10 minutes apart, do not have it; for up to four
hours the store sends nothing else. If no run can find it out (three attempts failed, a feed that hangs may hold it, or
Amazon's order is in no known state) it is counted as `stuck`, and `status_reason` says why: look in Seller Central under
its number, then set `status` to `pending` (to send it again), `accepted` or `rejected` yourself. One that was sent order by
order is looked up in the next run, and holds up nothing else.

**`needs approval`** in `waiting_reason`: set `approved_at` of the request to send it.

**A feed that the warehouse does not know** is another program's, or ours from before a backup was restored. Before anything
is sent its numbers are looked up at Amazon. While Amazon processes it requests wait; `waiting_reason` names it. If it hangs
and is another program's, set its `cleared_at` in `fba.foreign_feed`.

**What waits for more than six hours**, `unknown` included, and feeds that Amazon has not finished for four hours are
counted by `summarise`, with the age of the oldest request that is due. `fba.needs_attention` has each.

**To stop a request**, set `cancel_requested_at`. If it was not sent it becomes `invalid`; else Amazon is asked, and says no
in `status_reason` once the order is being packed.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, AssetAlias, CronTriggerTimetable, Param, task_group

from fba_operators.assets import REQUESTS
from fba_operators.operators import (
    ClaimRequestsOperator,
    PrepareRequestsOperator,
    RecordFeedOperator,
    RefreshTokenOperator,
    SendOrdersOperator,
    SettleFeedsOperator,
    SubmitFeedOperator,
    SummariseRequestsOperator,
    UploadFeedOperator,
    WaitForFeedOperator,
)
from fba_operators.settings import load_stores, warn_of_speeds

SETTINGS = load_stores()
warn_of_speeds(SETTINGS)
STORES = list(SETTINGS.stores)
WAIT_IN_THIS_RUN = timedelta(
    minutes=15
)  # shorter than the schedule: one slow store does not hold up the others' next run


def fba_send_fulfillment_requests() -> DAG:
    """Make the DAG."""
    with DAG(
        dag_id="fba_send_fulfillment_requests",
        dag_display_name="FBA: send fulfillment requests",
        description="Sends pending fulfillment requests to Amazon and records the answer to each, every 20 minutes",
        schedule=CronTriggerTimetable("*/20 * * * *", timezone="UTC", interval=timedelta(minutes=20)),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(minutes=55),  # a run that hangs ends before the third run that it holds up
        default_args={
            "owner": "fba",
            "retries": 3,
            "retry_delay": timedelta(minutes=1),
            "retry_exponential_backoff": True,
            "execution_timeout": timedelta(minutes=30),
        },
        doc_md=__doc__,
        tags=["amazon", "fba", "fulfillment"],
        params={
            "stores": Param(
                STORES,
                type=["null", "array"],
                items={"type": "string"},
                examples=STORES,
                title="Stores",
                description="Which stores' requests to send. Empty: all of stores.yaml.",
            ),
            "fulfillment_request_numbers": Param(
                [],
                type=["null", "array"],
                items={"type": "string"},
                title="Only these FR numbers",
                description="Empty: every request that is due.",
            ),
            "ignore_hold": Param(
                False,
                type=["null", "boolean"],
                title="Ignore the hold",
                description="Send although hold_hours are not over.",
            ),
            "ignore_business_hours": Param(
                False,
                type=["null", "boolean"],
                title="Ignore business hours",
                description="Send although the store is closed.",
            ),
            "dry_run": Param(
                False,
                type=["null", "boolean"],
                enum=[True, False],  # not null: it must be clear whether orders are sent
                title="Dry run",
                description="Only validate the requests and report what would be sent. Amazon is not called; requests that "
                "cannot be sent become invalid.",
            ),
        },
    ) as dag:
        prepare = PrepareRequestsOperator(
            task_id="prepare",
            stores=dag.param("stores"),
            fulfillment_request_numbers=dag.param("fulfillment_request_numbers"),
        )
        dry_run = dag.param("dry_run")

        @task_group
        def store(conn_id: str):
            token = RefreshTokenOperator(task_id="token", conn_id=conn_id, offline=dry_run)
            settle = SettleFeedsOperator(
                task_id="settle",
                conn_id=conn_id,
                offline=dry_run,
                # An alias makes an event of the asset only in runs that settled something.
                outlets=[AssetAlias("fba_fulfillment_requests_settled")],
            )
            claim = ClaimRequestsOperator(
                task_id="claim",
                conn_id=conn_id,
                fulfillment_request_numbers=dag.param("fulfillment_request_numbers"),
                ignore_hold=dag.param("ignore_hold"),
                ignore_business_hours=dag.param("ignore_business_hours"),
                validate_only=dry_run,
            )
            # One of these two carries the claim; the other one is skipped.
            SendOrdersOperator(task_id="send", conn_id=conn_id, claim_id=claim.output, outlets=[REQUESTS])
            upload = UploadFeedOperator(task_id="upload", conn_id=conn_id, claim_id=claim.output)
            submit = SubmitFeedOperator(task_id="submit", conn_id=conn_id, claim_id=upload.output)
            wait = WaitForFeedOperator(
                task_id="wait", conn_id=conn_id, claim_id=submit.output, patience=WAIT_IN_THIS_RUN
            )
            RecordFeedOperator(task_id="record", conn_id=conn_id, claim_id=wait.output, outlets=[REQUESTS])
            token >> settle >> claim

        store.expand(conn_id=prepare.output) >> SummariseRequestsOperator(
            task_id="summarise", stores=prepare.output["stores"]
        )
    return dag


dag = fba_send_fulfillment_requests()
