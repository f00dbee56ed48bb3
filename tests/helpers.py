"""Running operators as workers and the triggerer do, but without Airflow's database."""

from __future__ import annotations

import asyncio
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import psycopg
import requests
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.exceptions import TaskDeferred

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.trigger import ProcessingTrigger
from tests.stores import US


def context(run_id: str = "test", **params: Any) -> Any:
    """The parts of Airflow's task context that our operators use."""
    pushed: dict[str, Any] = {}
    return {
        "run_id": run_id,
        "params": params,
        "dag_run": SimpleNamespace(run_type="manual", run_id=run_id, conf=None),
        "ti": SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}), pushed=pushed),
        "outlet_events": None,
    }


def run(operator: Any, ctx: Any = None, *, on_wait: Any = None) -> Any:
    """Execute an operator to its end; wait for reports inline, and call on_wait(moment) where it waits for a time."""
    ctx = ctx or context()
    step = lambda: operator.execute(ctx)  # noqa: E731
    for _ in range(20):
        try:
            return step()
        except TaskDeferred as deferred:
            event = wait_inline(deferred.trigger, on_wait)
            step = lambda event=event: operator.execute_complete(ctx, event=event)  # noqa: E731
    raise AssertionError("the task defers for ever")


def wait_inline(trigger: Any, on_wait: Any = None) -> Any:
    """Run a trigger as a triggerer would: from its serialized form."""
    if isinstance(trigger, DateTimeTrigger):
        if on_wait is None:
            raise AssertionError(f"the task waits until {trigger.moment}, which this test did not expect")
        on_wait(trigger.moment)
        return trigger.moment
    path, arguments = trigger.serialize()
    assert path == f"{ProcessingTrigger.__module__}.{ProcessingTrigger.__name__}"
    copy = ProcessingTrigger(**arguments)

    async def first() -> Any:
        async for event in copy.run():
            return event.payload
        raise AssertionError("the trigger ended without an event")

    return asyncio.run(first())


def build_dag(dag_id: str) -> Any:
    """Build a new instance of this DAG from its file."""
    return getattr(import_module(f"dags.{dag_id}"), dag_id)()


def calls_of(amazon: Any, operation: str) -> int:
    """How often the sandbox was called."""
    return int(amazon.world.calls()["calls"].get(operation, 0))


def place_order(amazon: Any, number: str, items: Any, *, marketplace: str = US) -> None:
    """Make a Multi-Channel Fulfillment order by the REST API, as any other program of the seller could."""
    token = SellingPartnerHook().access_token()
    response = requests.post(
        f"{amazon.url}/fba/outbound/2020-07-01/fulfillmentOrders",
        headers={"x-amz-access-token": token, "User-Agent": "other/1.0 (Language=Python)"},
        json={
            "marketplaceId": marketplace,
            "sellerFulfillmentOrderId": number,
            "displayableOrderId": number,
            "displayableOrderDate": "2026-11-01T00:00:00Z",
            "displayableOrderComment": "Thank you",
            "shippingSpeedCategory": "Standard",
            "destinationAddress": {
                "name": "A Buyer",
                "addressLine1": "1 Main St",
                "city": "Seattle",
                "stateOrRegion": "WA",
                "postalCode": "98101",
                "countryCode": "US",
            },
            "items": [
                {"sellerSku": sku, "sellerFulfillmentOrderItemId": str(line), "quantity": quantity}
                for line, (sku, quantity) in enumerate(items, start=1)
            ],
        },
        timeout=10,
    )
    assert response.status_code == 200, response.text


def register(dag: Any) -> None:
    """Write the DAG into Airflow's database, as its DAG processor does."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.settings import AIRFLOW_HOME  # noqa: F401 - settings must be read before the bundles are

    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(dag_folder="/dev/null")
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)


def as_product(db: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """Make every transaction of a connection one of the product's, for which the database's rules allow more."""
    autocommit, db.autocommit = db.autocommit, True
    db.execute("SET fba.writer = 'product'")
    db.autocommit = autocommit
    return db
