"""Two reports in, one true quantity per SKU out: the task that updates the Global Inventory Pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from airflow.sdk import Context

from fba_operators.amazon.processing_status import UNFINISHED
from fba_operators.assets import POOL
from fba_operators.errors import RequestRefusedError
from fba_operators.operators.base import SellingPartnerOperator
from fba_operators.operators.lineage import lineage_of
from fba_operators.operators.links import DeskLink
from fba_operators.operators.reports import WaitForReportOperator
from fba_operators.operators.run import SummariseRunOperator
from fba_operators.operators.switch import is_given, is_on, switch
from fba_operators.settings.models import Inventory
from fba_operators.settings.stores_file import load_stores
from fba_operators.warehouse.statements import execute

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

REPORT_IDS = ("listings_report_id", "afn_report_id")
SHIPPED_AT_ONCE = 20_000  # requests that one run looks at, to keep which are wholly shipped


class SummariseInventoryOperator(SummariseRunOperator):
    """Summarise as every DAG does, and report stock that is too old or runs out, also if the run failed.

    The limits are ``max_stock_age_hours`` and ``low_stock_days`` of stores.yaml.
    """

    def check(self, db: psycopg.Connection[Any], context: Context) -> None:
        """Add ``stale_stock``, ``low_stock`` and ``out_of_stock`` to what needs a person, and keep what takes long to work out."""
        key = {"dag_id": self.dag_id, "run_id": str(context["run_id"])}
        execute(db, "runs.add_stale_stock", **key)
        execute(db, "runs.add_low_stock", **key)
        execute(db, "runs.keep_cover")
        execute(db, "runs.keep_shipped", most=SHIPPED_AT_ONCE)


class WaitForStockReportsOperator(WaitForReportOperator):
    """Wait, deferred, until both reports of a store's stock are finished; see :class:`WaitForReportOperator`.

    Amazon makes both at the same time, so one wait costs half of what two do.

    :param listings_report_id: of a ``GET_MERCHANT_LISTINGS_ALL_DATA`` (templated)
    :param afn_report_id: of a ``GET_AFN_INVENTORY_DATA`` (templated)
    :return: ``listings_report_id`` and ``afn_report_id`` of the finished reports
    """

    template_fields: Sequence[str] = ("conn_id", "listings_report_id", "afn_report_id", "offline")

    def __init__(self, *, listings_report_id: str, afn_report_id: str, **kwargs: Any) -> None:
        super().__init__(report_id="", **kwargs)
        self.listings_report_id = listings_report_id
        self.afn_report_id = afn_report_id

    def work(self, context: Context) -> Any:
        """Wait for one report after the other."""
        return {name: self._finished(context, getattr(self, name)) for name in REPORT_IDS}

    def work_after_wait(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on with the state that the trigger saw; the other report is looked at before it is waited for."""
        if report_id := event.get("id"):
            self._record_state(context, report_id, event.get("state"))
            for name in REPORT_IDS:
                other = getattr(self, name)
                if other != report_id and self._ledger.get(other)["status"] in UNFINISHED:
                    self._ledger.record_state(self._poll(other))
        return self.work(context)

    def _finished(self, context: Context, report_id: str) -> str:
        self.report_id = report_id
        return str(super().work(context))


class MergeInventoryOperator(SellingPartnerOperator):
    """Merge a listings report and an AFN report into the Global Inventory Pool of a store, or refuse.

    What a refusal leaves behind, and in which transactions it is written: :mod:`fba_operators.inventory.update_pool`.

    :param listings_report_id: a finished ``GET_MERCHANT_LISTINGS_ALL_DATA`` (templated)
    :param afn_report_id: a finished ``GET_AFN_INVENTORY_DATA`` (templated)
    :param report_ids: instead of these two, what :class:`WaitForStockReportsOperator` returned (templated)
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

    operator_extra_links = (DeskLink("stock"),)

    template_fields = (
        "conn_id",
        "listings_report_id",
        "afn_report_id",
        "report_ids",
        "include_fbm_quantity",
        "fetch_missing_inventory",
        "accept_zeroed_stock",
        "replay",
    )

    def __init__(
        self,
        *,
        listings_report_id: str | None = None,
        afn_report_id: str | None = None,
        report_ids: Any = None,
        include_fbm_quantity: bool | None = None,
        fetch_missing_inventory: bool | None = None,
        accept_zeroed_stock: bool = False,
        replay: Any = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.listings_report_id = listings_report_id
        self.afn_report_id = afn_report_id
        self.report_ids = report_ids
        self.include_fbm_quantity = include_fbm_quantity
        self.fetch_missing_inventory = fetch_missing_inventory
        self.accept_zeroed_stock = accept_zeroed_stock
        self.replay = replay
        self._written: dict[str, int] = {}

    def work(self, context: Context) -> dict[str, int]:
        """Merge, and put the counts on the event of the pool's asset."""
        ids = self._ids()
        for name in REPORT_IDS:
            if not ids.get(name):
                raise ValueError(f"{self.conn_id}: {name} is empty; the task that waits for the report returned none")
        from fba_operators.inventory.update_pool import PoolUpdate  # noqa: PLC0415 - loads pandas, which takes half a second

        update = PoolUpdate(
            self.hook,
            self.warehouse,
            self.run_log(context),
            ids["listings_report_id"],
            ids["afn_report_id"],
            self._settings(),
            accept_zeroed_stock=is_on("accept_zeroed_stock", self.accept_zeroed_stock),
            replay=is_given("replay", self.replay),
        )
        try:
            counts = update.execute()
        except RequestRefusedError:  # of some SKUs, if anything is written: the rest is committed
            self._written = update.written
            raise
        self._written = update.written
        if (events := context.get("outlet_events")) is not None and POOL in self.outlets:
            events[POOL].extra = {"store": self.conn_id, **counts}
        return counts

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Both reports, and what became of them in the parsed copies and the pool."""
        return lineage_of(self.hook, self.warehouse, [self._ids().get(name) for name in REPORT_IDS], self._written)

    def _ids(self) -> dict[str, str]:
        return self.report_ids or {name: getattr(self, name) for name in REPORT_IDS}

    def _settings(self) -> Inventory:
        settings = load_stores().store(self.conn_id).inventory
        names = ("include_fbm_quantity", "fetch_missing_inventory")
        switches = {name: switch(name, getattr(self, name)) for name in names}
        return settings.model_copy(update={name: value for name, value in switches.items() if value is not None})
