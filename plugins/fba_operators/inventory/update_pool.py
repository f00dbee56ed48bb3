"""One update of a store's pool: load both reports, judge them, write, or refuse.

Imports pandas, so only a task that updates the pool imports it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import psycopg
from airflow.sdk.exceptions import AirflowSkipException

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.processing_status import ProcessingStatus
from fba_operators.errors import (
    DecisionNeededError,
    DocumentError,
    EmptyDocumentError,
    RequestRefusedError,
    SellingPartnerError,
    ThrottledError,
)
from fba_operators.inventory.applied import Applied
from fba_operators.inventory.inventory_api import ask_inventory_api
from fba_operators.inventory.merge import (
    NOT_GIVEN,
    Facts,
    InventoryAnswers,
    MergeResult,
    Vanishing,
    merge_inventory,
    missing_skus,
    repair_skus,
    stock_frame,
    too_many_zeroed,
)
from fba_operators.inventory.pool import (
    CHANNEL,
    Unconfirmed,
    pool_sources,
    read_pool,
    read_unconfirmed,
    write_conflicts,
    write_pool,
    write_unconfirmed,
)
from fba_operators.inventory.stock_report import StockReport, rows_to_write
from fba_operators.inventory.summary import (
    SHOWN,
    drift_lines,
    oddity_lines,
    outcome_line,
    passing_lines,
    standing_lines,
)
from fba_operators.reports.document import NO_REPEATS, Block
from fba_operators.reports.ledger import ReportLedger
from fba_operators.reports.load import (
    OpenedReport,
    clear_copy,
    open_report,
    read_report,
    record_applied,
    repeat_evidence,
)
from fba_operators.reports.memory import give_back_memory
from fba_operators.reports.parsed_copy import KnownLines, ParsedCopy
from fba_operators.reports.report_types import AFN_INVENTORY, LISTINGS, ReportType
from fba_operators.runs.log import Outcome, RunLog
from fba_operators.runs.summary import counted, listed
from fba_operators.settings.models import Inventory
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.lock import Lock, locked
from fba_operators.warehouse.statements import execute

PARSED_COPIES = {LISTINGS.name: "amazon_all_listings_report", AFN_INVENTORY.name: "amazon_afn_inventory_report"}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """What the merge says, and sentences about what is odd in the reports.

    :param asked: whether the FBA Inventory API was asked, so that its answers count too
    :param repaired: SKUs that are written otherwise in the listings report
    :param doubtful: new SKUs with ``?`` that may be misspelt
    :param standing: sentences that would be the same for equal reports
    :param passing: sentences that would not
    """

    result: MergeResult
    asked: bool
    repaired: frozenset[str]
    doubtful: list[str]
    standing: list[str]
    passing: list[str]

    @property
    def held(self) -> set[str]:
        """SKUs that keep their last values, whatever the parsed copies say, or are not added."""
        return {sku for kind in (self.result.kept, self.result.not_added) for skus in kind.values() for sku in skus}


@dataclass(frozen=True)
class PoolUpdate:
    """An update of a store's Global Inventory Pool from two reports.

    Two transactions. One is the evidence: the raw copies, the ledger's counts and the rejected lines; it ends first. The
    other holds the store's lock, the parsed copies and the pool. A refusal leaves the evidence and the pool as it was.
    Reports equal to those applied last are recorded, and nothing else is written.

    :param listings_report_id: a finished ``GET_MERCHANT_LISTINGS_ALL_DATA``
    :param afn_report_id: a finished ``GET_AFN_INVENTORY_DATA``
    :param settings: the store's section of stores.yaml, with what the run's params override
    :param accept_zeroed_stock: write although stock would vanish
    :param replay: the reports may be older than those applied, and Amazon is not called
    :ivar written: rows that were written, by table of the schema fba
    """

    hook: SellingPartnerHook
    warehouse: Warehouse
    run: RunLog
    listings_report_id: str
    afn_report_id: str
    settings: Inventory
    accept_zeroed_stock: bool = False
    replay: bool = False
    written: dict[str, int] = field(default_factory=dict, init=False)

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
        ids = ((LISTINGS, self.listings_report_id), (AFN_INVENTORY, self.afn_report_id))
        # Before the lock: a download may take longer than a session may hold it and do nothing.
        opened = {each.name: self._open(ledger, report_id, each) for each, report_id in ids}
        with locked(self.warehouse, "fba.global_inventory_pool", self.store) as lock:
            db = lock.session
            if not self.replay:
                self._refuse_to_go_back(db)
            execute(db, "reports.tune_for_bulk")
            before = Applied.read(db, self.store, self.settings)
            if self._are_equal(before, opened):
                return self._repeat(db, before, opened, "Both reports are equal to those applied before.")
            # Filled when they are asked for: the lines of a large store take a lot of memory.
            known: dict[str, KnownLines | None] = {}
            if self._have_the_same_lines(db, before, opened, known):
                why = "Both reports hold the same lines as those applied before."
                return self._repeat(db, before, opened, why)
            texts: dict[str, str] = {}
            listings, afn = (self._read(ledger, db, before, opened, known, each, texts) for each, _ in ids)
            pool, unconfirmed = read_pool(db, self.store, texts), read_unconfirmed(db, self.store)
            del texts
            give_back_memory()
            judged = self._judge(listings, afn, pool, self._vanishing(db, unconfirmed), lock)
            lock.check()
            changed = self._write(db, before, listings, afn, judged, unconfirmed, pool_is_empty=pool.empty)
            return self._finish(db, before, listings, afn, judged, changed)

    def _open(self, ledger: ReportLedger, report_id: str, report_type: ReportType) -> OpenedReport | None:
        if ledger.get(report_id)["status"] == ProcessingStatus.CANCELLED:
            return None
        return open_report(self.hook, ledger, report_id, report_type)

    def _known_lines(
        self,
        db: psycopg.Connection[Any],
        before: Applied,
        known: dict[str, KnownLines | None],
        report_type: ReportType,
    ) -> KnownLines | None:
        """The lines of a parsed copy, None if they cannot be compared.

        :param known: those read already, by report type
        """
        name, table = report_type.name, PARSED_COPIES[report_type.name]
        if name not in known:
            report_id = self.listings_report_id if report_type is LISTINGS else self.afn_report_id
            known[name] = KnownLines.read(db, self.store, table, report_id) if before.stands(table) else None
        return known[name]

    def _result_before(self, before: Applied) -> Mapping[str, Any] | None:
        """What the last run reported, if a merge of the same reports would change nothing; else None."""
        return None if self.accept_zeroed_stock or self.replay else before.result(PARSED_COPIES.values())

    def _are_equal(self, before: Applied, opened: Mapping[str, OpenedReport | None]) -> bool:
        """Whether both documents are those applied before, and a merge would change nothing."""
        listings, afn = (opened[each.name] for each in (LISTINGS, AFN_INVENTORY))
        if listings is None or afn is None or self._result_before(before) is None:
            return False
        return before.is_of(listings.raw.digest, afn.raw.digest)

    def _have_the_same_lines(
        self,
        db: psycopg.Connection[Any],
        before: Applied,
        opened: Mapping[str, OpenedReport | None],
        known: dict[str, KnownLines | None],
    ) -> bool:
        """Whether both reports hold the lines of those applied before, in whatever order, and a merge would change nothing."""
        result = self._result_before(before)
        # A rejected line is no row, and of two rows of a SKU their order decides.
        if result is None or result["counts"]["rejected"] or not result["one_row_each"]:
            return False
        for report_type, earlier in zip((LISTINGS, AFN_INVENTORY), before.report_ids, strict=True):
            report, lines = opened[report_type.name], self._known_lines(db, before, known, report_type)
            rows = execute(db, "reports.by_id", store=self.store, report_id=earlier).fetchall()
            if report is None or lines is None or not rows:
                return False
            try:
                document = report.document(scan=False)
                if list(document.header.names) != rows[0]["columns"] or not lines.are_all_of(document):
                    return False
            except DocumentError:
                return False  # which is told by whoever reads it
        return True

    def _repeat(
        self,
        db: psycopg.Connection[Any],
        before: Applied,
        opened: Mapping[str, OpenedReport | None],
        why: str,
    ) -> dict[str, int]:
        """Record reports that are as those applied before.

        :param why: the sentence for the run's summary
        """
        result, earlier = before.row["result"], before.report_ids
        reports = [each for each in opened.values() if each]
        with self.warehouse.connect() as evidence:
            for report, report_id in zip(reports, earlier, strict=True):
                repeat_evidence(evidence, self.store, report, report_id)
        record_applied(db, self.store, self.listings_report_id, self.afn_report_id)
        listings, afn = ((report.report_id, report.raw.digest) for report in reports)
        before.record(db, self.store, listings=listings, afn=afn, held=before.held, result=result)
        counts: dict[str, int] = {**result["counts"], "changed": 0}
        lines = [outcome_line(counts), why, *result["lines"]]
        self._record_run(db, "success", lines, counts, result["attention"])
        return counts

    def _vanishing(self, db: psycopg.Connection[Any], unconfirmed: Unconfirmed) -> Vanishing | None:
        """How stock is treated that no report states any more; None: it becomes 0."""
        if self.accept_zeroed_stock or not self.settings.confirm_vanished:
            return None
        ids = [self.listings_report_id, self.afn_report_id]
        (pair,) = execute(db, "inventory.asked_at", store=self.store, report_ids=ids).fetchall()
        return Vanishing(pair["asked_at"], pair["newest_at"], *unconfirmed)

    def _judge(
        self,
        listings: StockReport | None,
        afn: StockReport | None,
        pool: pd.DataFrame,
        vanishing: Vanishing | None,
        lock: Lock,
    ) -> Judged:
        """Merge, or refuse and record that the reports were refused."""
        try:
            if not self.accept_zeroed_stock:
                self._refuse_empty(listings, afn, pool)
            judged = self._merge(listings, afn, pool, vanishing, lock)
            if not self.accept_zeroed_stock:
                self._refuse_vanished(judged.result)
                self._refuse_zeroed(judged.result)
        except DecisionNeededError:
            ids = [self.listings_report_id, self.afn_report_id]
            with self.warehouse.connect() as evidence:
                execute(evidence, "reports.record_refused", store=self.store, report_ids=ids)
            raise
        return judged

    def _read(
        self,
        ledger: ReportLedger,
        db: psycopg.Connection[Any],
        before: Applied,
        opened: dict[str, OpenedReport | None],
        known: dict[str, KnownLines | None],
        report_type: ReportType,
        texts: dict[str, str],
    ) -> StockReport | None:
        """Read a report and write its parsed copy; returns None if it is empty."""
        table, report = PARSED_COPIES[report_type.name], opened.pop(report_type.name)
        lines = self._known_lines(db, before, known, report_type)
        del known[report_type.name]
        if report is None:
            clear_copy(db, self.store, table)
            return None
        report_id = report.report_id

        def read(blocks: Iterable[Block]) -> tuple[pd.DataFrame, ParsedCopy]:
            with db.transaction():  # undone alone if the document has to be read again
                copy = ParsedCopy(db, self.store, table, report_id, lines)
                return stock_frame(copy.apply(blocks), texts), copy

        try:
            loaded = read_report(ledger, report, max_rejected_share=self.settings.max_rejected_share, read=read)
        except EmptyDocumentError:
            clear_copy(db, self.store, table)
            return None
        document, (frame, copy) = loaded.document, loaded.content
        give_back_memory()
        return StockReport(
            *(report_id, report.raw.digest, report_type.name),
            *(document.header, document.line_count, document.replaced_lines),
            *(loaded.rejected, frame),
            repeated=document.repeated_rows if report_type is AFN_INVENTORY else NO_REPEATS,
            copy=copy,
        )

    def _refuse_to_go_back(self, db: psycopg.Connection[Any]) -> None:
        ids = [self.listings_report_id, self.afn_report_id]
        (newer,) = execute(db, "inventory.newer_applied", store=self.store, report_ids=ids).fetchall()
        if newer["count"]:
            reason = "Skipped: reports asked for later are already applied; stock never goes back in time."
            with self.warehouse.connect() as evidence:
                self.run.finish(evidence, "skipped", reason)
            raise AirflowSkipException(f"{self.store}: {reason} To go back on purpose, use replay_report_ids.")

    def _refuse_empty(self, listings: StockReport | None, afn: StockReport | None, pool: pd.DataFrame) -> None:
        """Accept an empty report only where it cannot be a mistake."""
        listed_rows = 0 if listings is None else len(listings.frame)
        stored_rows = 0 if afn is None else len(afn.counted)
        no_stock = "has no row in a documented condition" if afn and len(afn.frame) else "is empty"
        by_amazon = (
            0
            if listings is None
            else sum(
                number
                for kind, number in listings.frame["kind"].value_counts().items()
                if str(kind).upper().startswith("AMAZON_")
            )
        )
        in_stock = int((pool["fba_quantity"] > 0).sum())
        doubts = []
        if not stored_rows and (by_amazon or in_stock):
            doubts.append(
                f"the AFN report {self.afn_report_id} {no_stock}, but {counted(by_amazon, 'listing is', 'listings are')} "
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
    ) -> Judged:
        empty = stock_frame([])
        loaded = [report for report in (listings, afn) if report]
        of_afn = afn.counted if afn else empty
        of_listings, repaired, doubtful = repair_skus(listings.frame if listings else empty, of_afn, pool)
        frames = (of_listings, of_afn, pool)
        facts = Facts(*frames)
        rejected = {sku for report in loaded for sku in report.rejected.skus}
        fetch = self.settings.fetch_missing_inventory and not self.replay
        confirm = vanishing is not None and not self.replay
        wanted = missing_skus(
            *frames, rejected_skus=rejected, fetch_missing_inventory=fetch, confirm_vanished=confirm, facts=facts
        )
        result = merge_inventory(
            *frames,
            rejected_skus=rejected,
            unreadable_listings=bool(listings and listings.rejected.unreadable),
            unreadable_afn=bool(afn and afn.rejected.unreadable),
            answers=self._ask(wanted, lock, optional=not fetch) if wanted else None,
            replay=self.replay,
            vanishing=vanishing,
            include_fbm_quantity=self.settings.include_fbm_quantity,
            fetch_missing_inventory=fetch,
            import_deleted_skus=self.settings.import_deleted_skus,
            facts=facts,
        )
        standing = [sentence for report in loaded for sentence in oddity_lines(report)]
        if repaired:
            standing.append(
                f"{counted(len(repaired), 'SKU')} with ? recognised: {listed(sorted(repaired.values()), SHOWN)}."
            )
        passing = []
        if doubtful:
            passing.append(f"{counted(len(doubtful), 'new SKU')} with ?, perhaps misspelt: {listed(doubtful, SHOWN)}.")
        return Judged(result, bool(wanted), frozenset(repaired.values()), doubtful, standing, passing)

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
        share = self.settings.max_zeroed_share
        for kind, change in result.changes.items():
            zeroed = change.zeroed
            if too_many_zeroed(in_stock=change.in_stock, zeroed=len(zeroed), max_share=share):
                of_kind = f"with {kind} stock would lose all of it" if kind else "in stock would drop to 0"
                raise DecisionNeededError(
                    f"{self.store}: {len(zeroed)} of {change.in_stock} SKUs {of_kind}, more than max_zeroed_share "
                    f"{share:.0%}. Nothing was written. If the stock really is gone, run again with accept_zeroed_stock",
                    detail=f"among these SKUs are {listed(zeroed, SHOWN)}",
                )

    def _write(
        self,
        db: psycopg.Connection[Any],
        before: Applied,
        listings: StockReport | None,
        afn: StockReport | None,
        judged: Judged,
        unconfirmed: Unconfirmed,
        *,
        pool_is_empty: bool,
    ) -> int:
        """Write pool and ledger; the parsed copies are written already. The lock's transaction commits all of it."""
        result = judged.result
        sources = pool_sources(listings.header, self.settings.fields) if listings else CHANNEL
        uncertain = {sku for since in unconfirmed for sku in since} | {*before.held, *judged.repaired}
        rows = rows_to_write(result.frame, listings, uncertain=uncertain, everything=not before.pool_stands)
        ids = {"afn_report_id": self.afn_report_id, "listings_report_id": self.listings_report_id}
        changed = write_pool(db, self.store, rows, sources, **ids, is_empty=pool_is_empty)
        kept = {*result.fba.since, *result.fbm.since, *judged.held}
        stated = {sku for since in unconfirmed for sku in since} - kept
        write_unconfirmed(db, self.store, result.fba.since, result.fbm.since, stated)
        write_conflicts(db, self.store, result.conflicting)
        record_applied(db, self.store, *ids.values())
        copies = {PARSED_COPIES[report.report_type]: report.copy.new for report in (listings, afn) if report}
        self.written.update(copies, global_inventory_pool=changed)
        return changed

    def _finish(
        self,
        db: psycopg.Connection[Any],
        before: Applied,
        listings: StockReport | None,
        afn: StockReport | None,
        judged: Judged,
        changed: int,
    ) -> dict[str, int]:
        """Record what was applied and what the run did."""
        result, loaded = judged.result, [report for report in (listings, afn) if report]
        counts = {
            "skus": len(result.frame),
            "changed": changed,
            "rows": sum(len(report.frame) for report in loaded),
            "rejected": sum(report.rejected.count for report in loaded),
            **{f"from_{source}": number for source, number in result.sources.items()},
        }
        not_given = result.kept[NOT_GIVEN] + result.not_added[NOT_GIVEN]
        drift = [sentence for report in loaded for sentence in drift_lines(report, self._applied_before(db, report))]
        shared = execute(db, "inventory.shared_fnskus", store=self.store).fetchall()
        standing = [*standing_lines(counts, result), *judged.standing]
        if shared:
            which = listed([f"{row['fnsku']} ({row['first_sku']}, {row['last_sku']})" for row in shared], SHOWN)
            several = counted(len(shared), "FNSKU is", "FNSKUs are")
            standing.append(f"{several} shared by SKUs that each report its whole stock: {which}.")
        attention = {
            "rejected_lines": counts["rejected"],
            "kept_skus": sum(map(len, result.kept.values())),
            "not_added_skus": sum(map(len, result.not_added.values())),
            "conflicting_skus": sum(result.conflicts.values()),
            "shared_fnsku": len(shared),
            "report_drift": sum(len(report.undocumented) + len(report.again) for report in loaded),
        }
        unconfirmed = {*result.fba.since, *result.fbm.since}
        # Equal reports would change nothing where the reports alone decided; what else is in the pool stays as it is.
        decided = bool(listings and afn) and not (
            judged.asked or unconfirmed or self.accept_zeroed_stock or self.replay
        )
        one_row_each = bool((result.frame["listings"] <= 1).all()) and not any(
            len(report.repeated) for report in loaded
        )
        would_report = {"counts": counts, "attention": attention, "lines": standing}
        before.record(
            db,
            self.store,
            listings=(self.listings_report_id, listings.digest if listings else None),
            afn=(self.afn_report_id, afn.digest if afn else None),
            held=judged.held,
            result={**would_report, "one_row_each": one_row_each} if decided else None,
        )
        self._record_run(
            db,
            "failed" if not_given else "success",
            [outcome_line(counts), *passing_lines(result), *standing, *judged.passing, *drift],
            counts,
            {
                **attention,
                "report_drift": attention["report_drift"] + len(drift) + len(judged.doubtful),
                "zeroed_skus": len(result.zeroed_unstated),
                "vanished_skus": len(result.vanished),
                "unconfirmed_skus": len(unconfirmed),
                "units_jumped": int(result.jumped),
            },
        )
        if not_given:
            db.commit()
            raise RequestRefusedError(
                f"{self.store}: everything else is written, but the FBA Inventory API does not give the quantity of "
                f"{counted(len(not_given), 'SKU, which keeps its', 'SKUs, which keep their')} last quantity. Look them up "
                "in Seller Central",
                detail=listed(not_given, SHOWN),
            )
        return counts

    def _record_run(
        self,
        db: psycopg.Connection[Any],
        outcome: Outcome,
        lines: list[str],
        counts: Mapping[str, int],
        attention: Mapping[str, int],
    ) -> None:
        self.run.finish(
            db,
            outcome,
            "\n".join(lines),
            rows_in=counts["rows"] + counts["rejected"],
            rows_rejected=counts["rejected"],
            rows_changed=counts["changed"],
            attention=attention,
        )

    def _applied_before(self, db: psycopg.Connection[Any], report: StockReport) -> Mapping[str, Any] | None:
        key = {"store": self.store, "report_id": report.report_id}
        return execute(db, "reports.applied_before", **key).fetchone()
