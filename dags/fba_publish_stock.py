"""
### fba_publish_stock: who is told what can be sold

Delivers every change of `fba.available_to_sell` to the destinations below `publish` in `stores.yaml`: folders of files, and
webhooks. Runs whenever `fba_get_inventory` has updated the pool of a store; without a destination only when you trigger it.

| task | does | when it fails |
|---|---|---|
| `prepare` | brings the warehouse's schema up to date | the connection `fba_warehouse` or `stores.yaml` is wrong; see the message |
| `record` | records which SKUs changed since it was recorded last, once for all destinations | retried; nothing was delivered |
| `deliver` | one for each destination: delivers what it has not taken yet, oldest first, for at most 5 minutes | the other destinations are not held up; the next run goes on from the last batch that was taken |
| `delivered` | red if a destination failed | see its task |
| `summarise` | summarises, notifies the recipients in `notifications`; red if a store failed | see the store and reason in its log |

**Each change arrives at least once**, in order for a SKU; after a fault a batch may arrive again. A receiver keeps `n` of the
last change of each SKU and leaves out what is not higher.

**After a receiver has lost its data**, or the warehouse was restored from a backup, trigger the DAG with `everything`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param

from fba_operators.assets import POOL
from fba_operators.operators import (
    DeliverStockOperator,
    PrepareRunOperator,
    RecordAvailableOperator,
    SummariseRunOperator,
)
from fba_operators.settings import load_stores

STORES = list(load_stores().stores)
DESTINATIONS = [destination.name for destination in load_stores().publish]


def fba_publish_stock() -> DAG:
    """Make the DAG."""
    with DAG(
        dag_id="fba_publish_stock",
        dag_display_name="FBA: publish stock",
        description="Delivers every change of what can be sold to files and webhooks, after each update of the pool",
        schedule=[POOL] if DESTINATIONS else None,
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(minutes=45),  # the pool is updated every hour
        default_args={
            "owner": "fba",
            "retries": 1,  # the next update of the pool tries again
            "retry_delay": timedelta(seconds=30),
            "execution_timeout": timedelta(minutes=15),
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
                description="Whose stock to deliver. Empty: all of stores.yaml.",
            ),
            "everything": Param(
                False,
                type=["null", "boolean"],
                title="Deliver everything",
                description="Deliver every SKU to every destination, changed or not: after a receiver has lost its data, or the "
                "warehouse was restored from a backup.",
            ),
        },
    ) as dag:
        prepare = PrepareRunOperator(task_id="prepare", stores=dag.param("stores"))
        record = RecordAvailableOperator(task_id="record", stores=prepare.output, everything=dag.param("everything"))
        summarise = SummariseRunOperator(task_id="summarise", stores=prepare.output)
        deliver = DeliverStockOperator.partial(task_id="deliver", stores=prepare.output).expand(
            destination=DESTINATIONS
        )
        record >> deliver >> [EmptyOperator(task_id="delivered"), summarise]
    return dag


dag = fba_publish_stock()
