"""One update of a store's pool: load both reports, judge them, write, or refuse.

Imports pandas, so only a task that updates the pool imports it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import psycopg
from airflow.sdk.exceptions import AirflowSkipException
from more_itertools import chunked

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.processing_status import ProcessingStatus
from fba_operators.errors import (
    DecisionNeededError,
    EmptyDocumentError,
    RequestRefusedError,
    SellingPartnerError,
    ThrottledError,
)
from fba_operators.inventory.merge import (
    NOT_GIVEN,
    InventoryAnswers,
    MergeResult,
    Vanishing,
    merge_inventory,
    missing_skus,
    repair_skus,
    stock_frame,
    too_many_zeroed,
    undocumented_kinds,
)
from fba_operators.inventory.pool import (
    CHANNEL,
    pool_sources,
    read_pool,
    read_unconfirmed,
    write_pool,
    write_unconfirmed,
)
from fba_operators.reports.ledger import ReportLedger
from fba_operators.reports.load import LoadedReport, copy_rows, load_report, record_applied
from fba_operators.reports.report_types import AFN_INVENTORY, LISTINGS, ReportType
from fba_operators.runs.log import RunLog
from fba_operators.runs.summary import counted, listed
from fba_operators.settings.models import Inventory
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.lock import Lock, locked
from fba_operators.warehouse.statements import execute
from fba_operators.words import MOST_OF_A_NAME, words

StockReport = LoadedReport[pd.DataFrame]

PARSED_COPIES = {LISTINGS.name: "amazon_all_listings_report", AFN_INVENTORY.name: "amazon_afn_inventory_report"}
SKUS_PER_CALL = 50  # of getInventorySummaries, Amazon's limit
SHOWN = 20  # SKUs in a summary or an error
MIN_ROWS_DRIFT, MAX_ROW_DRIFT = 5, 0.1  # rows and share of the rows by which a report may differ from the one before it
PLAIN_SKU = re.compile(r"[A-Za-z0-9._:/#-]+")  # others have been left out of lists of several SKUs
DOCUMENTED = {LISTINGS.name: r"DEFAULT|AMAZON_\w+", AFN_INVENTORY.name: r"SELLABLE|UNSELLABLE"}
log = logging.getLogger(__name__)


def ask_inventory_api(
    hook: SellingPartnerHook, skus: list[str], *, between_calls: Callable[[], None] = lambda: None
) -> InventoryAnswers:
    """Ask for the stock of SKUs in as few calls as Amazon allows, isolating those it refuses.

    Amazon has listed nothing for SKUs with blanks, apostrophes and the like that had stock, so such a SKU counts as
    absent only when Amazon does not know it alone either.

    :param between_calls: called before each call
    :raises UnavailableError: Amazon did not answer; no SKU becomes 0 because of that
    """
    quantities: dict[str, int] = {}
    not_given: set[str] = set()
    # Amazon splits the list at commas, so a SKU with one can only be asked for alone.
    batches = list(chunked((sku for sku in skus if "," not in sku), SKUS_PER_CALL))
    batches += [[sku] for sku in skus if "," in sku]
    while batches:
        batch = batches.pop(0)
        between_calls()
        try:
            found = hook.get_inventory_summaries(batch)
        except RequestRefusedError:
            if len(batch) == 1:
                not_given.add(batch[0])
            else:
                half = len(batch) // 2
                batches[:0] = [batch[:half], batch[half:]]
            continue
        for sku, quantity in found.items():
            if quantity is None:
                not_given.add(sku)
            else:
                quantities[sku] = quantity
        if len(batch) > 1:
            batches += [[sku] for sku in batch if sku not in found and not PLAIN_SKU.fullmatch(sku)]
    absent = frozenset(skus).difference(quantities, not_given)
    return InventoryAnswers(quantities, absent, frozenset(not_given))


@dataclass(frozen=True)
class PoolUpdate:
    """An update of a store's Global Inventory Pool from two reports.

    First transaction: the raw copies, the ledger's counts and the rejected lines. Second: the parsed copies and the
    pool. A refusal leaves the evidence of the first and the pool as it was.

    :param listings_report_id: a finished ``GET_MERCHANT_LISTINGS_ALL_DATA``
    :param afn_report_id: a finished ``GET_AFN_INVENTORY_DATA``
    :param settings: the store's section of stores.yaml, with what the run's params override
    :param accept_zeroed_stock: write although stock would vanish
    :param replay: the reports may be older than those applied, and Amazon is not called
    """

    hook: SellingPartnerHook
    warehouse: Warehouse
    run: RunLog
    listings_report_id: str
    afn_report_id: str
    settings: Inventory
    accept_zeroed_stock: bool = False
    replay: bool = False

    @property
    def store(self) -> str:
        """The store's connection id."""
        return self.run.store

    def execute(self) -> dict[str, int]:
        """Load, merge, judge, write; returns the counts.

        :raises DecisionNeededError: writing could make stock wrong; the message has the counts and the param that
            overrides the refusal
        """
        ledger = ReportLedger(self.warehouse, self.store)
        listings = self._load(ledger, self.listings_report_id, LISTINGS)
        afn = self._load(ledger, self.afn_report_id, AFN_INVENTORY)
        with locked(self.warehouse, "fba.global_inventory_pool", self.store) as lock:
            with self.warehouse.connect() as db:
                if not self.replay:
                    self._refuse_to_go_back(db)
                pool, vanishing = read_pool(db, self.store), self._vanishing(db)
            # Amazon may be asked now, for longer than a transaction may do nothing.
            result, notes = self._judge(listings, afn, pool, vanishing, lock)
            lock.check()
            with self.warehouse.connect() as db:
                changed = self._write(db, listings, afn, result)
                return self._finish(db, listings, afn, result, changed, notes)

    def _vanishing(self, db: psycopg.Connection[Any]) -> Vanishing | None:
        """How stock is treated that no report states any more; None: it becomes 0."""
        if self.accept_zeroed_stock or not self.settings.confirm_vanished:
            return None
        ids = [self.listings_report_id, self.afn_report_id]
        (pair,) = execute(db, "inventory.asked_at", store=self.store, report_ids=ids).fetchall()
        return Vanishing(pair["asked_at"], pair["newest_at"], *read_unconfirmed(db, self.store))

    def _judge(
        self,
        listings: StockReport | None,
        afn: StockReport | None,
        pool: pd.DataFrame,
        vanishing: Vanishing | None,
        lock: Lock,
    ) -> tuple[MergeResult, list[str]]:
        """Merge, or refuse and record that the reports were refused."""
        try:
            if not self.accept_zeroed_stock:
                self._refuse_empty(listings, afn, pool)
            result, notes = self._merge(listings, afn, pool, vanishing, lock)
            if not self.accept_zeroed_stock:
                self._refuse_vanished(result)
                self._refuse_zeroed(result)
        except DecisionNeededError:
            ids = [self.listings_report_id, self.afn_report_id]
            with self.warehouse.connect() as db:
                execute(db, "reports.record_refused", store=self.store, report_ids=ids)
            raise
        return result, notes

    def _load(self, ledger: ReportLedger, report_id: str, report_type: ReportType) -> StockReport | None:
        """Return the report, or None if it is empty."""
        if ledger.get(report_id)["status"] == ProcessingStatus.CANCELLED:
            return None
        share = self.settings.max_rejected_share
        try:
            return load_report(self.hook, ledger, report_id, report_type, max_rejected_share=share, read=stock_frame)
        except EmptyDocumentError:
            return None

    def _refuse_to_go_back(self, db: psycopg.Connection[Any]) -> None:
        ids = [self.listings_report_id, self.afn_report_id]
        (newer,) = execute(db, "inventory.newer_applied", store=self.store, report_ids=ids).fetchall()
        if newer["count"]:
            reason = "Skipped: reports asked for later are already applied; stock never goes back in time."
            self.run.finish(db, "skipped", reason)
            db.commit()
            raise AirflowSkipException(f"{self.store}: {reason} To go back on purpose, use replay_report_ids.")

    def _refuse_empty(self, listings: StockReport | None, afn: StockReport | None, pool: pd.DataFrame) -> None:
        """Accept an empty report only where it cannot be a mistake."""
        listed_rows = 0 if listings is None else len(listings.content)
        stored_rows = 0 if afn is None else len(afn.content)
        by_amazon = 0 if listings is None else int(listings.content["kind"].astype(str).str.startswith("AMAZON_").sum())
        in_stock = int((pool["fba_quantity"] > 0).sum())
        doubts = []
        if not stored_rows and (by_amazon or in_stock):
            doubts.append(
                f"the AFN report {self.afn_report_id} is empty, but {counted(by_amazon, 'listing is', 'listings are')} "
                f"fulfilled by Amazon and {counted(in_stock, 'SKU of the pool has', 'SKUs of the pool have')} FBA stock"
            )
        if not listed_rows and (stored_rows or len(pool)):
            doubts.append(
                f"the listings report {self.listings_report_id} is empty, but the AFN report has "
                f"{counted(stored_rows, 'row')} and the pool {counted(len(pool), 'SKU')}"
            )
        if doubts:
            raise DecisionNeededError(
                f"{self.store}: nothing was written, because {'; '.join(doubts)}. Amazon also gives an empty answer to "
                "a report asked for too soon. Check Seller Central; if it is true, run again with accept_zeroed_stock"
            )

    def _merge(
        self,
        listings: StockReport | None,
        afn: StockReport | None,
        pool: pd.DataFrame,
        vanishing: Vanishing | None,
        lock: Lock,
    ) -> tuple[MergeResult, list[str]]:
        """Merge; returns also sentences about what is odd in the reports."""
        empty = stock_frame([])
        loaded = [report for report in (listings, afn) if report]
        notes = [
            f"{counted(report.document.replaced_lines, 'line')} of {report.row['report_type']} with bytes that do not decode, "
            "which were replaced."
            for report in loaded
            if report.document.replaced_lines
        ]
        of_afn = afn.content if afn else empty
        # A condition that Amazon does not document says neither that units can be sold nor that they cannot.
        if odd := undocumented_kinds(of_afn, DOCUMENTED[AFN_INVENTORY.name]):
            of_afn = of_afn[~of_afn["kind"].isin(list(odd))]
        of_listings, repaired, doubtful = repair_skus(listings.content if listings else empty, of_afn, pool)
        if repaired:
            notes.append(
                f"{counted(len(repaired), 'SKU')} with ? recognised: {listed(sorted(repaired.values()), SHOWN)}."
            )
        if doubtful:
            notes.append(f"{counted(len(doubtful), 'new SKU')} with ?, perhaps misspelt: {listed(doubtful, SHOWN)}.")
        frames = (of_listings, of_afn, pool)
        rejected = {sku for report in loaded for sku in report.rejected.skus}
        fetch = self.settings.fetch_missing_inventory and not self.replay
        confirm = vanishing is not None and not self.replay
        wanted = missing_skus(*frames, rejected_skus=rejected, fetch_missing_inventory=fetch, confirm_vanished=confirm)
        result = merge_inventory(
            *frames,
            rejected_skus=rejected,
            unreadable_rejected=any(report.rejected.unreadable for report in loaded),
            answers=self._ask(wanted, lock, optional=not fetch) if wanted else None,
            replay=self.replay,
            vanishing=vanishing,
            include_fbm_quantity=self.settings.include_fbm_quantity,
            fetch_missing_inventory=fetch,
            import_deleted_skus=self.settings.import_deleted_skus,
        )
        return result, notes

    def _ask(self, skus: list[str], lock: Lock, *, optional: bool) -> InventoryAnswers | None:
        """Ask the FBA Inventory API.

        :param optional: the SKUs have stock, which is kept where Amazon cannot be asked
        """
        log.info("%s: asking the FBA Inventory API for %s.", self.store, counted(len(skus), "SKU"))
        try:
            return ask_inventory_api(self.hook, skus, between_calls=lock.check)
        except ThrottledError:
            raise  # the task is deferred, and asks again
        except SellingPartnerError as error:
            if not optional:
                raise
            log.warning("%s: vanished SKUs were not confirmed, and keep their quantity: %s", self.store, error)
            return None

    def _refuse_vanished(self, result: MergeResult) -> None:
        share = self.settings.max_vanished_share
        for kind, gone in (("FBA", result.fba), ("merchant-fulfilled", result.fbm)):
            if gone.is_too_much(share):
                raise DecisionNeededError(
                    f"{self.store}: {len(gone.since)} of {gone.in_stock} SKUs with {kind} stock ({gone.units} of "
                    f"{gone.units_in_stock} units) are in no report any more and could not be confirmed, more than "
                    f"max_vanished_share {share:.0%}. Nothing was written; the next run asks for new reports. If the stock "
                    "really is gone, run again with accept_zeroed_stock",
                    detail=f"among these SKUs are {listed(sorted(gone.since), SHOWN)}",
                )

    def _refuse_zeroed(self, result: MergeResult) -> None:
        zeroed = len(result.zeroed)
        if too_many_zeroed(in_stock=result.in_stock, zeroed=zeroed, max_share=self.settings.max_zeroed_share):
            raise DecisionNeededError(
                f"{self.store}: {zeroed} of {result.in_stock} SKUs in stock would drop to 0, more than "
                f"max_zeroed_share {self.settings.max_zeroed_share:.0%}. Nothing was written. If the stock really is gone, run "
                "again with accept_zeroed_stock",
                detail=f"among these SKUs are {listed(result.zeroed, SHOWN)}",
            )

    def _write(
        self,
        db: psycopg.Connection[Any],
        listings: StockReport | None,
        afn: StockReport | None,
        result: MergeResult,
    ) -> int:
        """Write parsed copies, pool and ledger; the caller commits."""
        for report_type, report in ((LISTINGS, listings), (AFN_INVENTORY, afn)):
            copy_rows(db, self.store, report, PARSED_COPIES[report_type.name])
        sources = pool_sources(listings.document.header, self.settings.fields) if listings else CHANNEL
        ids = {"afn_report_id": self.afn_report_id, "listings_report_id": self.listings_report_id}
        changed = write_pool(db, self.store, result.frame, sources, **ids)
        write_unconfirmed(db, self.store, result.fba.since, result.fbm.since)
        record_applied(db, self.store, *ids.values())
        return changed

    def _finish(
        self,
        db: psycopg.Connection[Any],
        listings: StockReport | None,
        afn: StockReport | None,
        result: MergeResult,
        changed: int,
        notes: list[str],
    ) -> dict[str, int]:
        loaded = [report for report in (listings, afn) if report]
        counts = {
            "skus": len(result.frame),
            "changed": changed,
            "rows": sum(len(report.content) for report in loaded),
            "rejected": sum(report.rejected.count for report in loaded),
            **{f"from_{source}": number for source, number in result.sources.items()},
        }
        not_given = result.kept[NOT_GIVEN] + result.not_added[NOT_GIVEN]
        drift = [sentence for report in loaded for sentence in self._drift(db, report)]
        shared = execute(db, "inventory.shared_fnskus", store=self.store).fetchall()
        if shared:
            which = listed([f"{row['fnsku']} ({row['first_sku']}, {row['last_sku']})" for row in shared], SHOWN)
            several = counted(len(shared), "FNSKU is", "FNSKUs are")
            notes = [*notes, f"{several} shared by SKUs that each report its whole stock: {which}."]
        self.run.finish(
            db,
            "failed" if not_given else "success",
            "\n".join([_summary(counts, result), *notes, *drift]),
            rows_in=counts["rows"] + counts["rejected"],
            rows_rejected=counts["rejected"],
            rows_changed=changed,
            attention={
                "rejected_lines": counts["rejected"],
                "kept_skus": sum(map(len, result.kept.values())),
                "not_added_skus": sum(map(len, result.not_added.values())),
                "conflicting_skus": sum(result.conflicts.values()),
                "zeroed_skus": len(result.zeroed_unstated),
                "vanished_skus": len(result.vanished),
                "unconfirmed_skus": len({*result.fba.since, *result.fbm.since}),
                "units_jumped": int(result.jumped),
                "report_drift": len(drift),
                "shared_fnsku": len(shared),
            },
        )
        db.commit()
        if not_given:
            raise RequestRefusedError(
                f"{self.store}: everything else is written, but the FBA Inventory API does not give the quantity of "
                f"{counted(len(not_given), 'SKU, which keeps its', 'SKUs, which keep their')} last quantity. Look them up "
                "in Seller Central",
                detail=listed(not_given, SHOWN),
            )
        return counts

    def _drift(self, db: psycopg.Connection[Any], report: StockReport) -> list[str]:
        """Sentences about undocumented values, and columns and row counts other than in the report applied before."""
        name = report.row["report_type"]
        sentences = [
            f"{counted(number, 'row')} of {name} with the undocumented value {words(kind, SHOWN)!a}."
            for kind, number in undocumented_kinds(report.content, DOCUMENTED[name]).items()
        ]
        key = {"store": self.store, "report_id": report.row["report_id"]}
        before = execute(db, "reports.applied_before", **key).fetchone()
        if before is None or before["columns"] is None:
            return sentences
        columns, earlier = list(report.document.header.names), before["columns"]
        if columns != earlier:
            new, gone = (
                [each for each in columns if each not in earlier],
                [each for each in earlier if each not in columns],
            )
            what = "; ".join(
                f"{word} {listed([words(each, MOST_OF_A_NAME) for each in names], SHOWN)}"
                for word, names in (("new:", new), ("gone:", gone))
                if names
            )
            sentences.append(f"{name} has other columns than before ({what or 'in another order'}).")
        rows, rows_before = report.document.line_count, before["row_count"] + before["rejected_row_count"]
        if abs(rows - rows_before) >= MIN_ROWS_DRIFT and abs(rows - rows_before) > MAX_ROW_DRIFT * rows_before:
            sentences.append(f"{name} has {counted(rows, 'row')}, before it had {rows_before}.")
        return sentences


def _summary(counts: dict[str, int], result: MergeResult) -> str:
    """What the update did, in lines: the outcome first, SKUs last."""
    sources = ", ".join(f"{source} {number}" for source, number in result.sources.items() if number)
    lines = [f"{counted(counts['skus'], 'SKU')}, {counts['changed']} changed. Quantities from: {sources or 'nowhere'}."]
    if result.zeroed:
        lines.append(f"{counted(len(result.zeroed), 'SKU')} ran out of stock.")
    for kind, gone in (("FBA", result.fba), ("merchant-fulfilled", result.fbm)):
        if gone.since:
            kept = counted(len(gone.since), f"SKU with {kind} stock is", f"SKUs with {kind} stock are")
            lines.append(f"{kept} in no report any more and kept unconfirmed: {listed(sorted(gone.since), SHOWN)}.")
    if result.zeroed_unstated:
        zeroed = counted(len(result.zeroed_unstated), "SKU")
        lines.append(f"{zeroed} became 0 although no report states it: {listed(result.zeroed_unstated, SHOWN)}.")
    if result.jumped:
        lines.append("The units in stock changed implausibly; compare some SKUs with Seller Central.")
    if counts["rejected"]:
        lines.append(f"{counted(counts['rejected'], 'line')} rejected.")
    for kind, number in result.conflicts.items():
        if number:
            lines.append(f"{counted(number, 'SKU')} with differing {kind.upper()} rows, the smallest taken.")
    if result.left_out_skus:
        units = counted(result.left_out_units, "unit")
        lines.append(f"{counted(len(result.left_out_skus), 'deleted SKU')} with {units} left out.")
    for what, skus_by_reason in (("kept as they were", result.kept), ("not added", result.not_added)):
        for reason, skus in skus_by_reason.items():
            if skus:
                lines.append(f"{counted(len(skus), 'SKU')} {what}, because {reason}: {listed(skus, SHOWN)}.")
    return "\n".join(lines)
