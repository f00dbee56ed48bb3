"""A report of stock that was read, and which of its rows the pool may not have yet."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
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
    :param repeated: of the AFN report: the place of each row that repeats an earlier one as a whole, and of that
    """

    report_id: str
    digest: bytes
    report_type: str
    header: Header
    line_count: int
    replaced_lines: int
    rejected: Rejections
    frame: pd.DataFrame
    repeated: npt.NDArray[np.int64]
    copy: ParsedCopy

    @property
    def undocumented(self) -> dict[str, int]:
        """Channels or conditions that Amazon does not document, and the number of their rows."""
        return undocumented_kinds(self.frame, DOCUMENTED[self.report_type])

    @cached_property
    def again(self) -> npt.NDArray[np.int64]:
        """The places of rows that repeat one elsewhere in the document: a part of it came twice.

        Equal rows of a SKU beside each other are several stocks of it, and all of them count.
        """
        if not len(self.repeated):
            return np.empty(0, np.int64)
        skus = self.frame["sku"].to_numpy(object)
        runs = np.append(0, np.cumsum(skus[1:] != skus[:-1]))
        places, firsts = self.repeated.T
        elsewhere: npt.NDArray[np.int64] = places[runs[places] != runs[firsts]]
        return elsewhere

    @property
    def counted(self) -> pd.DataFrame:
        """The rows of the AFN report that state a quantity: none that comes again elsewhere or is in an undocumented condition.

        Such a condition says neither that units can be sold nor that they cannot.
        """
        rows = np.ones(len(self.frame), bool)
        rows[self.again] = False
        if odd := self.undocumented:
            rows &= ~self.frame["kind"].isin(list(odd)).to_numpy(bool)
        return self.frame if rows.all() else self.frame[rows]


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
