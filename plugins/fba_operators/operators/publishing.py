"""Telling others what can be sold: one task records what changed, one for each destination delivers it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from typing import Any

import psycopg
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from fba_operators.errors import ThrottledError
from fba_operators.operators.base import AmazonRetryPolicy
from fba_operators.operators.switch import is_on
from fba_operators.publishing.changes import deliver_changes, record_changes
from fba_operators.publishing.destinations import receiver_of
from fba_operators.runs.log import RunLog
from fba_operators.runs.summary import counted
from fba_operators.settings.stores_file import load_stores
from fba_operators.warehouse.database import DEFAULT_WAREHOUSE, Warehouse

PATIENCE = timedelta(minutes=5)  # of a task with one destination; the next run goes on


class _PublishingOperator(BaseOperator):
    """What the two tasks of publishing share.

    :param stores: connection ids; None means all of stores.yaml (templated)
    :param warehouse_conn_id: Postgres connection of the warehouse
    """

    template_fields: Sequence[str] = ("stores",)
    ui_color = "#e3f1e3"

    def __init__(self, *, stores: Any = None, warehouse_conn_id: str = DEFAULT_WAREHOUSE, **kwargs: Any) -> None:
        kwargs.setdefault("retry_policy", AmazonRetryPolicy())
        super().__init__(**kwargs)
        self.stores = stores
        self.warehouse_conn_id = warehouse_conn_id

    @cached_property
    def warehouse(self) -> Warehouse:
        """The warehouse."""
        return Warehouse(self.warehouse_conn_id)

    def run_log(self, context: Context, store: str) -> RunLog:
        """The store's row of this run in ``fba.run``."""
        return RunLog(self.dag_id, str(context["run_id"]), store)

    def _wanted(self) -> list[str]:
        settings = load_stores()
        wanted = list(settings.stores) if self.stores is None else list(self.stores)
        for store in wanted:
            settings.store(store)
        return wanted

    def _fail(self, context: Context, label: str, stores: Sequence[str], error: Exception) -> None:
        with suppress(psycopg.Error), self.warehouse.connect() as db:
            for store in stores:
                self.run_log(context, store).fail(db, label, error)


class RecordAvailableOperator(_PublishingOperator):
    """Record what changed of ``fba.available_to_sell`` since it was recorded last, for :class:`DeliverStockOperator`.

    Skipped where stores.yaml names nobody to tell (``publish``).

    :param everything: record every SKU, so that all are delivered again (templated)
    :return: store → number of SKUs that changed
    """

    template_fields = (*_PublishingOperator.template_fields, "everything")

    def __init__(self, *, everything: Any = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.everything = everything

    def execute(self, context: Context) -> dict[str, int]:
        """Record, store by store, each in a transaction of its own."""
        everything = is_on("everything", self.everything)
        destinations = [each.name for each in load_stores().publish]
        changed: dict[str, int] = {}
        for store in self._wanted():
            log = self.run_log(context, store)
            if not destinations:
                with self.warehouse.connect() as db:
                    log.postpone(db, "stores.yaml names nobody to tell (publish).")
                continue
            try:
                changed[store] = record_changes(self.warehouse, store, destinations, everything=everything)
            except Exception as error:
                self._fail(context, self.task_id, [store], error)
                raise
            with self.warehouse.connect() as db:
                text = f"What can be sold changed for {counted(changed[store], 'SKU')}."
                log.add(db, self.task_id, text, rows_changed=changed[store])
        if not destinations:
            raise AirflowSkipException("stores.yaml names nobody to tell (publish).")
        return changed


class DeliverStockOperator(_PublishingOperator):
    """Deliver to one destination of stores.yaml (``publish``) every recorded change that it has not taken yet, in order.

    :param destination: its name (templated)
    :return: store → number of changes delivered
    :raises UnavailableError: the destination took no more; the next run goes on from there
    """

    template_fields = (*_PublishingOperator.template_fields, "destination")

    def __init__(self, *, destination: str, **kwargs: Any) -> None:
        kwargs.setdefault("map_index_template", "{{ task.destination }}")
        super().__init__(**kwargs)
        self.destination = destination

    def execute(self, context: Context) -> dict[str, int]:
        """Deliver store by store; what the destination does not take now stays for the next run."""
        destination = load_stores().destination(self.destination)
        stores = self._wanted()
        deliver, at_once = receiver_of(destination)
        label = f"{self.task_id} to {destination.name}"
        until = time.monotonic() + PATIENCE.total_seconds()
        delivered: dict[str, int] = {}
        for position, store in enumerate(stores):
            text, left = "", 0
            if destination.stores is None or store in destination.stores:
                try:
                    number, left = deliver_changes(
                        self.warehouse, destination.name, store, deliver, at_once, until=until
                    )
                except ThrottledError as busy:  # another run is at it, and takes the changes along
                    self.log.info("%s.", busy)
                    number, left = 0, 0
                except Exception as error:
                    self._fail(context, label, stores[position:], error)
                    raise
                delivered[store] = number
                text = f"{counted(number, 'change')} delivered to {destination.name}."
                if left:
                    text += f" {left} are left to the next run."
                self.log.info("%s: %s", store, text)
            with self.warehouse.connect() as db:
                attention = {"undelivered_changes": left}
                self.run_log(context, store).add(db, label, text, outcome="success", attention=attention)
        return delivered
