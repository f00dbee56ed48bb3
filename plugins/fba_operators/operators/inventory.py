"""Two reports in, one true quantity per SKU out: the task that updates the Global Inventory Pool."""

from __future__ import annotations

from typing import Any

import psycopg
from airflow.sdk import Context

from fba_operators.assets import POOL
from fba_operators.operators.base import SellingPartnerOperator
from fba_operators.operators.run import SummariseRunOperator
from fba_operators.operators.switch import is_given, is_on, switch
from fba_operators.settings.models import Inventory
from fba_operators.settings.stores_file import load_stores
from fba_operators.warehouse.statements import execute


class SummariseInventoryOperator(SummariseRunOperator):
    """Summarise as every DAG does, and report stock that is too old or runs out, also if the run failed.

    The limits are ``max_stock_age_hours`` and ``low_stock_days`` of stores.yaml.
    """

    def check(self, db: psycopg.Connection[Any], context: Context) -> None:
        """Add ``stale_stock``, ``low_stock`` and ``out_of_stock`` to what needs a person."""
        key = {"dag_id": self.dag_id, "run_id": str(context["run_id"])}
        execute(db, "runs.add_stale_stock", **key)
        execute(db, "runs.add_low_stock", **key)


class MergeInventoryOperator(SellingPartnerOperator):
    """Merge a listings report and an AFN report into the Global Inventory Pool of a store, or refuse.

    What a refusal leaves behind, and in which transactions it is written: :mod:`fba_operators.inventory.update_pool`.

    :param listings_report_id: a finished ``GET_MERCHANT_LISTINGS_ALL_DATA`` (templated)
    :param afn_report_id: a finished ``GET_AFN_INVENTORY_DATA`` (templated)
    :param include_fbm_quantity: quantity = FBA + FBM; None = as stores.yaml says (templated)
    :param fetch_missing_inventory: ask the FBA Inventory API for SKUs missing from both reports; None = as stores.yaml
        says (templated)
    :param accept_zeroed_stock: write although stock would vanish (templated)
    :param replay: if true (or a list that is not empty), the reports may be older than those applied, and Amazon is not
        called (templated)
    :return: the counts of this merge
    :raises DecisionNeededError: writing could make stock wrong; the message has the counts and the param that overrides
        the refusal
    """

    template_fields = (
        "conn_id",
        "listings_report_id",
        "afn_report_id",
        "include_fbm_quantity",
        "fetch_missing_inventory",
        "accept_zeroed_stock",
        "replay",
    )

    def __init__(
        self,
        *,
        listings_report_id: str,
        afn_report_id: str,
        include_fbm_quantity: bool | None = None,
        fetch_missing_inventory: bool | None = None,
        accept_zeroed_stock: bool = False,
        replay: Any = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.listings_report_id = listings_report_id
        self.afn_report_id = afn_report_id
        self.include_fbm_quantity = include_fbm_quantity
        self.fetch_missing_inventory = fetch_missing_inventory
        self.accept_zeroed_stock = accept_zeroed_stock
        self.replay = replay

    def work(self, context: Context) -> dict[str, int]:
        """Merge, and put the counts on the event of the pool's asset."""
        for name in ("listings_report_id", "afn_report_id"):
            if not getattr(self, name):
                raise ValueError(f"{self.conn_id}: {name} is empty; the task that waits for the report returned none")
        from fba_operators.inventory.update_pool import PoolUpdate  # noqa: PLC0415 - loads pandas, which takes half a second

        counts = PoolUpdate(
            self.hook,
            self.warehouse,
            self.run_log(context),
            self.listings_report_id,
            self.afn_report_id,
            self._settings(),
            accept_zeroed_stock=is_on("accept_zeroed_stock", self.accept_zeroed_stock),
            replay=is_given("replay", self.replay),
        ).execute()
        if (events := context.get("outlet_events")) is not None and POOL in self.outlets:
            events[POOL].extra = {"store": self.conn_id, **counts}
        return counts

    def _settings(self) -> Inventory:
        settings = load_stores().store(self.conn_id).inventory
        names = ("include_fbm_quantity", "fetch_missing_inventory")
        switches = {name: switch(name, getattr(self, name)) for name in names}
        return settings.model_copy(update={name: value for name, value in switches.items() if value is not None})
