"""
### fba_send_fulfillment_requests: orders for Amazon to fulfil

Sends the requests in `fba.fulfillment_request` of each store to Amazon as one feed and records accept or reject for each.
Runs every 20 minutes; by schedule it sends only where `send_automatically` is true, else only when you trigger it. Every
run settles what earlier runs left open and asks Amazon to cancel orders whose `cancel_requested_at` is set.

| task | does | when it fails |
|---|---|---|
| `prepare` | brings the warehouse's schema up to date | the connection `fba_warehouse` or `stores.yaml` is wrong; the message says what |
| `store.token` | makes sure the credentials work | renew the secret or the refresh token in the connection it names |
| `store.settle` | finds out what became of an open feed, whichever run made it; cancels orders | retried by itself; if it names requests, look them up in Seller Central (below) |
| `store.claim` | judges every pending request, and freezes those that are ready for one feed | the message says what is wrong in `stores.yaml` or the params |
| `store.upload` | writes the XML and uploads it | retried with a new document; nothing is sent yet |
| `store.submit` | hands the feed to Amazon, once | Amazon refused the feed; its requests are pending again |
| `store.wait` | waits, deferred, without holding a worker | never for lack of time: after 15 minutes the next run settles the feed |
| `store.record` | reads Amazon's processing report | retried by itself, or settled by the next run |
| `summarise` | says what changed and whether requests name a store that `stores.yaml` lacks, tells who is named under `notifications`; red if a store failed | look at the store it names |

Tasks that have nothing to do are skipped. Every task may be cleared: nothing is sent twice.

**What a status means.** `pending` waits (`waiting_reason` says why and until when), `invalid` must be put right first
(`status_reason` names everything that is wrong; then set `status` to `pending`), `sending` and `submitted` are on their
way, `accepted` and `rejected` are Amazon's answer, `cancelled` is over.

**`unknown`** means that Amazon did not say what became of a request. It is looked up in Amazon's list of orders half an
hour after the last feed ended, and sent again only if two complete lists, 10 minutes apart, do not have it; the store sends
nothing else until then. After three such attempts the run turns red and names it: look in Seller Central under its
number, then set `status` to `pending` (to send it again), `accepted` or `rejected` yourself.

**To stop a request**, set `cancel_requested_at`. If it was not sent it becomes `invalid`; else Amazon is asked, and says no
in `status_reason` once the order is being packed.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Asset, AssetAlias, CronTriggerTimetable, Param, dag, task_group

from fba_operators.operators.fulfillment import (
    ClaimRequestsOperator,
    RecordFeedOperator,
    SettleFeedsOperator,
    SubmitFeedOperator,
    SummariseRequestsOperator,
    UploadFeedOperator,
    WaitForFeedOperator,
)
from fba_operators.operators.run import PrepareRunOperator
from fba_operators.operators.token import RefreshTokenOperator
from fba_operators.settings.stores_file import load_stores, stores_path

STORES = list(load_stores(stores_path()).stores)
SHORTER_THAN_THE_SCHEDULE = timedelta(minutes=15)  # one slow store does not hold up the next run of the others
CALLS_AMAZON = "{{ not params.dry_run }}"


@dag(
    schedule=CronTriggerTimetable("*/20 * * * *", timezone="UTC", interval=timedelta(minutes=20)),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1), "retry_exponential_backoff": True},
    doc_md=__doc__,
    tags=["amazon", "fba", "fulfillment"],
    params={
        "stores": Param(
            STORES,
            type="array",
            items={"type": "string"},
            examples=STORES,
            title="Stores",
            description="Which stores' requests to send.",
        ),
        "fulfillment_request_numbers": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Only these FR numbers",
            description="Empty: every request that is due.",
        ),
        "ignore_hold": Param(
            False, type="boolean", title="Ignore the hold", description="Send although hold_hours are not over."
        ),
        "ignore_business_hours": Param(
            False, type="boolean", title="Ignore business hours", description="Send although the store is closed."
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Only judge the requests and say what would be sent. Amazon is not called; requests that cannot be "
            "sent become invalid.",
        ),
    },
)
def fba_send_fulfillment_requests():
    prepare = PrepareRunOperator(task_id="prepare")

    @task_group
    def store(conn_id: str):
        token = RefreshTokenOperator(task_id="token", conn_id=conn_id, needed=CALLS_AMAZON)
        settle = SettleFeedsOperator(
            task_id="settle",
            conn_id=conn_id,
            needed=CALLS_AMAZON,
            # An alias makes an event of the asset only in runs that settled something.
            outlets=[AssetAlias("fba_fulfillment_requests_settled")],
        )
        claim = ClaimRequestsOperator(
            task_id="claim",
            conn_id=conn_id,
            fulfillment_request_numbers="{{ params.fulfillment_request_numbers | tojson }}",
            ignore_hold="{{ params.ignore_hold }}",
            ignore_business_hours="{{ params.ignore_business_hours }}",
            send=CALLS_AMAZON,
        )
        upload = UploadFeedOperator(task_id="upload", conn_id=conn_id, claim_id=claim.output)
        submit = SubmitFeedOperator(task_id="submit", conn_id=conn_id, claim_id=upload.output)
        wait = WaitForFeedOperator(
            task_id="wait", conn_id=conn_id, claim_id=submit.output, patience=SHORTER_THAN_THE_SCHEDULE
        )
        RecordFeedOperator(
            task_id="record", conn_id=conn_id, claim_id=wait.output, outlets=[Asset("fba_fulfillment_requests")]
        )
        token >> settle >> claim

    store.expand(conn_id=prepare.output) >> SummariseRequestsOperator(task_id="summarise", stores=prepare.output)


fba_send_fulfillment_requests()
