"""What an update of the pool says in a run's summary, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fba_operators.inventory.merge import SOURCES, MergeResult
from fba_operators.inventory.stock_report import StockReport
from fba_operators.runs.summary import counted, listed
from fba_operators.words import MOST_OF_A_NAME, words

SHOWN = 20  # SKUs in a summary or an error
MIN_ROWS_DRIFT, MAX_ROW_DRIFT = 5, 0.1  # rows and share of the rows by which a report may differ from the one before it


def outcome_line(counts: Mapping[str, int]) -> str:
    """The first line of a summary."""
    by_source = {source: counts[f"from_{source}"] for source in SOURCES}
    sources = ", ".join(f"{source} {number}" for source, number in by_source.items() if number)
    return f"{counted(counts['skus'], 'SKU')}, {counts['changed']} changed. Quantities from: {sources or 'nowhere'}."


def passing_lines(result: MergeResult) -> list[str]:
    """What happened to the stock in this run, in lines."""
    lines = []
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
    return lines


def standing_lines(counts: Mapping[str, int], result: MergeResult) -> list[str]:
    """What equal reports would say again, in lines: SKUs last."""
    lines = []
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
    return lines


def oddity_lines(report: StockReport) -> list[str]:
    """Sentences about values that Amazon does not document, rows that repeat others and bytes that do not decode."""
    sentences = [
        f"{counted(number, 'row')} of {report.report_type} with the undocumented value {words(kind, SHOWN)!a}."
        for kind, number in report.undocumented.items()
    ]
    again = len(report.again)
    if again:
        rows = counted(again, "row", "rows")
        sentences.append(f"{rows} of {report.report_type} came again elsewhere in it, and counted once.")
    if beside := len(report.repeated) - again:
        rows = counted(beside, "row is", "rows are")
        sentences.append(f"{rows} equal to the one before of the same SKU in {report.report_type}; all of them count.")
    if report.replaced_lines:
        lines = counted(report.replaced_lines, "line")
        sentences.append(f"{lines} of {report.report_type} with bytes that do not decode, which were replaced.")
    return sentences


def drift_lines(report: StockReport, before: Mapping[str, Any] | None) -> list[str]:
    """Sentences about columns and row counts other than in the report applied before.

    :param before: ``columns``, ``row_count`` and ``rejected_row_count`` of that report
    """
    name = report.report_type
    if before is None or before["columns"] is None:
        return []
    sentences = []
    columns, earlier = list(report.header.names), before["columns"]
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
    rows, rows_before = report.line_count, before["row_count"] + before["rejected_row_count"]
    if abs(rows - rows_before) >= MIN_ROWS_DRIFT and abs(rows - rows_before) > MAX_ROW_DRIFT * rows_before:
        sentences.append(f"{name} has {counted(rows, 'row')}, before it had {rows_before}.")
    return sentences
