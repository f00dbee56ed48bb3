"""Two reports in, one true quantity per SKU out: the task that merges into the Global Inventory Pool."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, Context

from fba_operators.operators.base import SellingPartnerOperator, flag
from fba_operators.settings.stores_file import Inventory, load_stores

POOL = Asset("fba_global_inventory_pool")


class MergeInventoryOperator(SellingPartnerOperator):
    """Merge a listings report and an AFN report into the Global Inventory Pool of a store, or refuse.

    What a refusal leaves behind, and in which transactions it is written: :mod:`fba_operators.inventory.update_pool`.

    :param listings_report_id: a finished ``GET_MERCHANT_LISTINGS_ALL_DATA`` (templated)
    :param afn_report_id: a finished ``GET_AFN_INVENTORY_DATA`` (templated)
    :param include_fbm_quantity: quantity = FBA + FBM; None = as stores.yaml says (templated)
    :param fetch_missing_inventory: ask the FBA Inventory API for SKUs missing from both reports; None = as stores.yaml
        says (templated)
    :param accept_zeroed_stock: write although stock would vanish (templated)
    :param replay: the reports may be older than those applied, and Amazon is not called (templated)
    :return: the counts of this merge
    :raises DecisionNeededError: writing could make stock wrong; the message names the counts and the way around
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
        include_fbm_quantity: bool | str | None = None,
        fetch_missing_inventory: bool | str | None = None,
        accept_zeroed_stock: bool | str = False,
        replay: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.listings_report_id = listings_report_id
        self.afn_report_id = afn_report_id
        self.include_fbm_quantity = include_fbm_quantity
        self.fetch_missing_inventory = fetch_missing_inventory
        self.accept_zeroed_stock = accept_zeroed_stock
        self.replay = replay

    def act(self, context: Context) -> dict[str, int]:
        """Merge, and say so on the pool's asset."""
        for name in ("listings_report_id", "afn_report_id"):
            if not getattr(self, name):
                raise ValueError(f"{self.conn_id}: {name} is empty; the task that waits for the report returned none")
        from fba_operators.inventory.update_pool import InventoryMerge  # noqa: PLC0415 - pandas costs every task that reads this file half a second

        merge = InventoryMerge(
            self.hook,
            self.warehouse,
            {"dag_id": self.dag_id, "run_id": context["run_id"], "store": self.conn_id},
            self.listings_report_id,
            self.afn_report_id,
            self._settings(),
            accept_zeroed_stock=bool(flag("accept_zeroed_stock", self.accept_zeroed_stock)),
            replay=bool(flag("replay", self.replay)),
        )
        counts = merge()
        if (events := context.get("outlet_events")) is not None and POOL in self.outlets:
            events[POOL].extra = {"store": self.conn_id, **counts}
        return counts

    def _settings(self) -> Inventory:
        settings = load_stores().store(self.conn_id).inventory
        given = {name: flag(name, getattr(self, name)) for name in ("include_fbm_quantity", "fetch_missing_inventory")}
        return settings.model_copy(update={name: value for name, value in given.items() if value is not None})
