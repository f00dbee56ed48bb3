"""
### fba_track_orders: every request to the doorstep

Asks Amazon which orders changed since the last run, and keeps each parcel of a request with its carrier, number and state:
in transit, delayed, out for delivery, delivered, undeliverable. Runs every 20 minutes. Orders that Amazon will not ship any more
become `rejected` or `cancelled` here.

| task | does | when it fails |
|---|---|---|
| `prepare` | brings the warehouse's schema up to date, checks the params | a param, setting or connection is wrong; see the message |
| `store.token` | makes sure the credentials work | renew the secret or the refresh token in the connection that the message names |
| `store.track` | reads the list of changed orders to its end; asks for orders under way of which it told nothing for a day | retried; the cursor moves only when the list was read to its end, so the next run misses nothing |
| `summarise` | summarises what changed and notifies the recipients in `notifications`; red if a store failed | see the store and reason in its log |

**Where to look**: `fba.package` has every parcel, `fba.request_event` all that happened to a request, in order;
`fba.fulfillment_progress` how many units were ordered, shipped and delivered; `fba.needs_attention` what is late, undeliverable, has
not moved, or is due for a claim.

**An account without Fulfillment Outbound 2026-07-04** has no list of changed orders. The first run says so, once. Then each order under
way is asked for by itself, the oldest question first, up to 500 in a run. Nothing else changes.

**Read again**: trigger with `since`. Nothing is written twice, and nothing newer is taken back.

**"Amazon's list of orders cannot be read to its end"**: a page came again, or pages without end. The run is red and the cursor stays;
the next run reads from the same place. If it stays so for a day, ask Amazon's support with the request id in the message.

**Orders of others** are orders of this seller that are no request of this store: another store's, another program's, or placed by hand.
They are counted and not kept.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, AssetAlias, CronTriggerTimetable, Param, task_group

from fba_operators.operators import (
    PrepareRunOperator,
    RefreshTokenOperator,
    SummariseTrackingOperator,
    TrackOrdersOperator,
)
from fba_operators.settings import load_stores

STORES = list(load_stores().stores)


def fba_track_orders() -> DAG:
    """Make the DAG."""
    with DAG(
        dag_id="fba_track_orders",
        dag_display_name="FBA: track orders",
        description="Follows every request's parcels to the doorstep, every 20 minutes",
        schedule=CronTriggerTimetable("10-59/20 * * * *", timezone="UTC", interval=timedelta(minutes=20)),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(minutes=55),  # a run that hangs ends before the third run that it holds up
        default_args={
            "owner": "fba",
            "retries": 3,
            "retry_delay": timedelta(minutes=1),
            "retry_exponential_backoff": True,
            "execution_timeout": timedelta(
                minutes=50
            ),  # the first reading of a large seller takes as long as its pages
        },
        doc_md=__doc__,
        tags=["amazon", "fba", "fulfillment", "tracking"],
        params={
            "stores": Param(
                STORES,
                type=["null", "array"],
                items={"type": "string"},
                examples=STORES,
                title="Stores",
                description="Which stores' orders to follow. Empty: all of stores.yaml.",
            ),
            "since": Param(
                None,
                type=["null", "string"],
                title="Since",
                description="Read all orders that changed after this time. Empty: where the last run ended. "
                "ISO 8601, e.g. 2026-11-23 or 2026-11-23T10:00:00+00:00; without an offset it is UTC.",
            ),
        },
    ) as dag:
        prepare = PrepareRunOperator(task_id="prepare", stores=dag.param("stores"))

        @task_group
        def store(conn_id: str):
            token = RefreshTokenOperator(task_id="token", conn_id=conn_id)
            track = TrackOrdersOperator(
                task_id="track",
                conn_id=conn_id,
                since=dag.param("since"),
                # An alias makes an event of the asset only in runs that changed something.
                outlets=[AssetAlias("fba_packages_tracked")],
            )
            token >> track

        store.expand(conn_id=prepare.output) >> SummariseTrackingOperator(task_id="summarise", stores=prepare.output)
    return dag


dag = fba_track_orders()
