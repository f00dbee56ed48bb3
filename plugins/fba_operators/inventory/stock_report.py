"""A report of stock that was read, and which of its rows the pool may not have yet."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fba_operators.inventory.merge import undocumented_kinds
from fba_operators.reports.header import Header
from fba_operators.reports.load import Rejections
from fba_operators.reports.parsed_copy import OURS, ParsedCopy
from fba_operators.reports.report_types import AFN_INVENTORY, LISTINGS

DOCUMENTED = {LISTINGS.name: r"DEFAULT|AMAZON_\w+", AFN_INVENTORY.name: r"SELLABLE|UNSELLABLE"}


@dataclass(frozen=True)
class StockReport:
    """A report that was read: its raw copy and counts are committed, its parsed copy is written and not committed.

    :param frame: :func:`stock_frame` of its rows
    """

    report_id: str
    digest: bytes
    report_type: str
    header: Header
    line_count: int
    replaced_lines: int
    rejected: Rejections
    frame: pd.DataFrame
    copy: ParsedCopy

    @property
    def undocumented(self) -> dict[str, int]:
        """Channels or conditions that Amazon does not document, and the number of their rows."""
        return undocumented_kinds(self.frame, DOCUMENTED[self.report_type])


def rows_to_write(
    frame: pd.DataFrame, listings: StockReport | None, *, uncertain: Collection[str], everything: bool
) -> pd.DataFrame:
    """The rows of a merge that the pool may not have yet, each with the row of the parsed copy that gives title etc.

    A SKU is left out where its numbers are as in the pool and its one listings row was there before as well: then title
    etc. come from the same row as before.

    :param uncertain: SKUs of which that cannot be concluded
    :param everything: leave none out
    """
    lines = frame["listing_line"].to_numpy(np.int64, na_value=0)
    listed = lines > 0
    reports, numbers = listings.copy.keys() if listings else (lines, lines)
    # Place of each row's line among the rows of the report, whose line numbers ascend.
    places = np.searchsorted(listings.frame["line_number"].to_numpy(), lines[listed]) if listings else lines[listed]
    report, number = np.full(len(frame), OURS), lines.copy()
    report[listed], number[listed] = reports[places], numbers[places]
    wanted = np.full(len(frame), everything)
    if not everything:
        wanted |= frame["differs"].to_numpy(bool) | (listed & (report == OURS)) | (frame["listings"].to_numpy() > 1)
        doubtful = {*uncertain, *(listings.copy.gone if listings else ())}
        if doubtful:
            wanted |= frame["sku"].isin(doubtful).to_numpy(bool)
    rows = frame[wanted]
    names = [*listings.copy.report_ids, listings.report_id] if listings else []  # OURS is the last
    skus = listings.frame["sku"].to_numpy(object)[places[wanted[listed]]] if listings else []
    same = listed[wanted]
    same[listed[wanted]] = rows["sku"].to_numpy(object)[listed[wanted]] == skus
    return rows.assign(
        listing_report=pd.Categorical.from_codes(
            np.where(listed[wanted], report[wanted] % max(len(names), 1), -1), categories=pd.Index(names, dtype=object)
        ),
        listing_line=pd.arrays.IntegerArray(number[wanted], ~listed[wanted]),
        by_line=same,
    )
