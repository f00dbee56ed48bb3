"""One merge of a store's two reports into its pool: load, judge, write, or refuse. Imports pandas, so only a task that merges does."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import pandas as pd
import psycopg
from airflow.sdk.exceptions import AirflowSkipException

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import DecisionNeededError, EmptyDocumentError, RequestRefusedError
from fba_operators.inventory.merge import (
    UNSAID,
    InventoryAnswers,
    MergeResult,
    merge_inventory,
    missing_skus,
    stock_frame,
    too_many_zeroed,
)
from fba_operators.inventory.pool import CHANNEL, pool_sources, read_pool, write_pool
from fba_operators.reports.ledger import ReportLedger
from fba_operators.reports.load_report import LoadedReport, copy_rows, load_report
from fba_operators.reports.report_types import AFN_INVENTORY, LISTINGS, ReportType
from fba_operators.runs import summary as summaries
from fba_operators.settings.stores_file import Inventory
from fba_operators.warehouse.database import Warehouse, statements

COPIES = {LISTINGS.name: "amazon_all_listings_report", AFN_INVENTORY.name: "amazon_afn_inventory_report"}
BATCH = 50  # SKUs in one getInventorySummaries, Amazon's limit
NAMED = 20  # SKUs named in a summary
log = logging.getLogger(__name__)


def ask_inventory_api(hook: SellingPartnerHook, skus: list[str]) -> InventoryAnswers:
    """Ask for the stock of SKUs, in as few calls as Amazon allows, isolating those of which it gives none.

    :raises UnavailableError: Amazon did not answer; no SKU becomes 0 because of that
    """
    quantities: dict[str, int] = {}
    unsaid: set[str] = set()
    plain = [sku for sku in skus if "," not in sku]
    # Amazon splits the list at commas, so a SKU with one can only be asked alone.
    batches = [plain[at : at + BATCH] for at in range(0, len(plain), BATCH)] + [[sku] for sku in skus if "," in sku]
    while batches:
        batch = batches.pop(0)
        try:
            for sku, quantity in hook.get_inventory_summaries(batch).items():
                if quantity is None:
                    unsaid.add(sku)
                else:
                    quantities[sku] = quantity
        except RequestRefusedError:
            if len(batch) == 1:
                unsaid.add(batch[0])
            else:
                half = len(batch) // 2
                batches[:0] = [batch[:half], batch[half:]]
    absent = frozenset(skus).difference(quantities, unsaid)
    return InventoryAnswers(quantities, absent, frozenset(unsaid))


@dataclass(frozen=True)
class InventoryMerge:
    """A merge of two reports of a store into the Global Inventory Pool.

    First transaction: the raw copies, the ledger's counts and the rejected lines. Second: the parsed copies and the
    pool. A refusal leaves the evidence of the first and the pool as it was.

    :param run: the run's key in ``fba.run``: dag_id, run_id, store
    :param listings_report_id: a finished ``GET_MERCHANT_LISTINGS_ALL_DATA``
    :param afn_report_id: a finished ``GET_AFN_INVENTORY_DATA``
    :param settings: the store's section of stores.yaml, with what the run's params change
    :param accept_zeroed_stock: write although stock would vanish
    :param replay: the reports may be older than those applied, and Amazon is not called
    """

    hook: SellingPartnerHook
    warehouse: Warehouse
    run: dict[str, str]
    listings_report_id: str
    afn_report_id: str
    settings: Inventory
    accept_zeroed_stock: bool = False
    replay: bool = False

    @property
    def store(self) -> str:
        """The store's connection id."""
        return self.run["store"]

    def __call__(self) -> dict[str, int]:
        """Load, merge, judge, write; returns the counts.

        :raises DecisionNeededError: writing could make stock wrong; the message names the counts and the way around
        """
        ledger = ReportLedger(self.warehouse, self.store)
        listings = self._load(ledger, self.listings_report_id, LISTINGS)
        afn = self._load(ledger, self.afn_report_id, AFN_INVENTORY)
        with self.warehouse.connect() as db:
            db.execute(statements("inventory")["lock_store"], {"store": self.store})
            db.commit()
            if not self.replay:
                self._refuse_to_go_back(db)
            pool = read_pool(db, self.store)
            db.commit()  # Amazon may be asked for minutes now; the lock outlives the transaction
            if not self.accept_zeroed_stock:
                self._refuse_empty(listings, afn, pool)
            result = self._merge(listings, afn, pool)
            if not self.accept_zeroed_stock:
                self._refuse_zeroed(result)
            changed = self._write(db, listings, afn, result)
            return self._finish(db, listings, afn, result, changed)

    def _load(self, ledger: ReportLedger, report_id: str, report_type: ReportType) -> LoadedReport | None:
        """Return the report, or None if Amazon says there is nothing in it."""
        if ledger.get(report_id)["status"] == "CANCELLED":
            return None
        try:
            return load_report(
                self.hook, ledger, report_id, report_type, max_rejected_share=self.settings.max_rejected_share
            )
        except EmptyDocumentError:
            return None

    def _refuse_to_go_back(self, db: psycopg.Connection[Any]) -> None:
        ids = [self.listings_report_id, self.afn_report_id]
        query = statements("inventory")["newer_applied"]
        (newer,) = db.execute(query, {"store": self.store, "report_ids": ids}).fetchone() or (0,)
        if newer:
            told = "Skipped: reports asked for later are already applied; stock never goes back in time."
            db.execute(statements("ledger")["finish_run"], self._run_row("skipped", told))
            db.commit()
            raise AirflowSkipException(f"{self.store}: {told} To go back on purpose, use replay_report_ids.")

    def _refuse_empty(self, listings: LoadedReport | None, afn: LoadedReport | None, pool: pd.DataFrame) -> None:
        """Believe an empty report only where it cannot be a mistake."""
        listed = 0 if listings is None else len(listings.stock)
        stored = 0 if afn is None else len(afn.stock)
        by_amazon = 0 if listings is None else int(listings.stock["kind"].astype(str).str.startswith("AMAZON_").sum())
        in_stock = int((pool["fba_quantity"] > 0).sum())
        doubts = []
        if not stored and (by_amazon or in_stock):
            doubts.append(
                f"the AFN report {self.afn_report_id} is empty, but {by_amazon} listings are fulfilled by Amazon and "
                f"{in_stock} SKUs of the pool have FBA stock"
            )
        if not listed and (stored or len(pool)):
            doubts.append(
                f"the listings report {self.listings_report_id} is empty, but the AFN report has {stored} rows and the "
                f"pool {len(pool)} SKUs"
            )
        if doubts:
            raise DecisionNeededError(
                f"{self.store}: nothing was written, because {'; '.join(doubts)}. Amazon also gives an empty answer to "
                "a report asked for too soon. Check Seller Central; if it is true, run again with accept_zeroed_stock"
            )

    def _merge(self, listings: LoadedReport | None, afn: LoadedReport | None, pool: pd.DataFrame) -> MergeResult:
        nothing = stock_frame([])
        loaded = [report for report in (listings, afn) if report]
        frames = (listings.stock if listings else nothing, afn.stock if afn else nothing, pool)
        rejected = {sku for report in loaded for sku in report.rejected.skus}
        fetch = self.settings.fetch_missing_inventory and not self.replay
        missing = missing_skus(*frames, rejected_skus=rejected, fetch_missing_inventory=fetch)
        if missing:
            log.info("%s: asking the FBA Inventory API for %d SKUs.", self.store, len(missing))
        return merge_inventory(
            *frames,
            rejected_skus=rejected,
            unreadable_rejected=any(report.rejected.unreadable for report in loaded),
            answers=ask_inventory_api(self.hook, missing) if missing else None,
            replay=self.replay,
            include_fbm_quantity=self.settings.include_fbm_quantity,
            fetch_missing_inventory=fetch,
            import_deleted_skus=self.settings.import_deleted_skus,
        )

    def _refuse_zeroed(self, result: MergeResult) -> None:
        zeroed = len(result.zeroed)
        if too_many_zeroed(in_stock=result.in_stock, zeroed=zeroed, max_share=self.settings.max_zeroed_share):
            raise DecisionNeededError(
                f"{self.store}: {zeroed} of {result.in_stock} SKUs in stock would drop to 0, more than "
                f"max_zeroed_share {self.settings.max_zeroed_share:.0%}. Nothing was written. If the stock really is gone, run "
                "again with accept_zeroed_stock. Among these SKUs",
                detail=", ".join(result.zeroed[:NAMED]),
            )

    def _write(
        self,
        db: psycopg.Connection[Any],
        listings: LoadedReport | None,
        afn: LoadedReport | None,
        result: MergeResult,
    ) -> int:
        """Write parsed copies, pool and ledger; the caller commits."""
        for report_type, report in ((LISTINGS, listings), (AFN_INVENTORY, afn)):
            copy_rows(db, self.store, report, COPIES[report_type.name])
        sources = pool_sources(listings.document.header, self.settings.fields) if listings else CHANNEL
        ids = {"afn_report_id": self.afn_report_id, "listings_report_id": self.listings_report_id}
        changed = write_pool(db, self.store, result.frame, sources, **ids)
        applied = {"store": self.store, "report_ids": list(ids.values())}
        db.execute(statements("ledger")["note_applied"], applied)
        return changed

    def _finish(
        self,
        db: psycopg.Connection[Any],
        listings: LoadedReport | None,
        afn: LoadedReport | None,
        result: MergeResult,
        changed: int,
    ) -> dict[str, int]:
        loaded = [report for report in (listings, afn) if report]
        counts = {
            "skus": len(result.frame),
            "changed": changed,
            "rows": sum(len(report.stock) for report in loaded),
            "rejected": sum(report.rejected.count for report in loaded),
            **{f"from_{source}": number for source, number in result.sources.items()},
        }
        unsaid = result.kept[UNSAID] + result.not_added[UNSAID]
        told = _summary(counts, result)
        row = self._run_row("failed" if unsaid else "success", told)
        row |= {
            "rows_in": counts["rows"] + counts["rejected"],
            "rows_rejected": counts["rejected"],
            "rows_changed": changed,
            "attention": summaries.counts(
                {
                    "rejected_lines": counts["rejected"],
                    "kept_skus": sum(map(len, result.kept.values())),
                    "not_added_skus": sum(map(len, result.not_added.values())),
                    "conflicting_skus": sum(result.conflicts.values()),
                }
            ),
        }
        db.execute(statements("ledger")["finish_run"], row)
        db.commit()
        log.info("%s: %s", self.store, told)
        if unsaid:
            raise RequestRefusedError(
                f"{self.store}: everything else is written, but the FBA Inventory API refuses to say the quantity of "
                f"{len(unsaid)} SKUs, which keep their last quantity. Look at them in Seller Central",
                detail=", ".join(unsaid[:NAMED]),
            )
        return counts

    def _run_row(self, outcome: str, summary: str) -> dict[str, Any]:
        told = {"outcome": outcome, "summary": summary, "failure": None, "attention": summaries.counts({})}
        return {**self.run, **told, "rows_in": 0, "rows_rejected": 0, "rows_changed": 0}


def _summary(counts: dict[str, int], result: MergeResult) -> str:
    sources = ", ".join(f"{number} from {source}" for source, number in result.sources.items() if number)
    parts = [f"{counts['skus']} SKUs ({sources or 'none'}), {counts['changed']} changed"]
    parts += [f"{counts['rejected']} lines rejected"] if counts["rejected"] else []
    for what, skus_by_reason in (("kept as they were", result.kept), ("not added", result.not_added)):
        for reason, skus in skus_by_reason.items():
            if skus:
                more = f" and {len(skus) - NAMED} more" if len(skus) > NAMED else ""
                parts.append(f"{len(skus)} {what} because {reason}: {', '.join(skus[:NAMED])}{more}")
    for kind, number in result.conflicts.items():
        if number:
            parts.append(f"{number} SKUs with differing {kind.upper()} rows, the smallest taken")
    if result.left_out_skus:
        parts.append(f"{len(result.left_out_skus)} deleted SKUs with {result.left_out_units} units left out")
    if result.zeroed:
        parts.append(f"{len(result.zeroed)} SKUs ran out of stock")
    return "; ".join(parts) + "."
