"""Running operators without Airflow's database, the way its workers and triggerer would."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.exceptions import TaskDeferred

from fba_operators.amazon.trigger import ProcessingTrigger


def context(run_id: str = "test", **params: Any) -> Any:
    """What a task gets from Airflow, as far as our operators look."""
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


def register(dag: Any) -> None:
    """Write the DAG into Airflow's database, as its DAG processor does."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.settings import AIRFLOW_HOME  # noqa: F401 - settings must be read before the bundles are

    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(dag_folder="/dev/null")
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
