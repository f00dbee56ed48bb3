"""Writes report documents: a merchant's items and shipments as Amazon's tab-separated text."""

import gzip
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from sandbox.merchant.headers import (
    AFN_COLUMNS,
    LISTING_HEADERS,
    POINTS_COLUMN,
    SHIPMENT_COLUMNS,
    UNUSED_LISTING_COLUMNS,
    language_of,
)
from sandbox.merchant.merchant import AFN, LISTINGS, SHIPMENTS, Catalogue, Item
from sandbox.merchant.rendering import Rendering

REQUIRED_COLUMNS = frozenset(
    {"seller-sku", "quantity", "fulfillment-channel", "Warehouse-Condition-code", "Quantity Available", "sku"}
)
Row = dict[str, str]


def listing_rows(items: Iterable[Item], rendering: Rendering) -> Iterator[Row]:
    """Yield the rows of a listing report, one per offer."""
    for item in items:
        for offer_number, (channel, quantity) in enumerate(item.offers):
            yield {
                "item-name": f"{item.title}\0" if rendering.nul_in_text else item.title,
                "item-description": f"About {item.title}",
                "listing-id": f"0815{item.number:07d}{offer_number}",
                "seller-sku": item.sku,
                "price": item.price,
                "quantity": "" if quantity is None else str(quantity),
                "open-date": "2021-08-15 20:35:17 PDT",
                "item-is-marketplace": "y",
                "product-id-type": "1",
                "item-condition": "11",
                "asin1": item.asin,
                "product-id": item.asin,
                "pending-quantity": "" if quantity is None else "0",
                "fulfillment-channel": channel,
                "merchant-shipping-group": "Migrated Template" if channel == "DEFAULT" else "",
                "status": item.status,
            }


def afn_rows(items: Iterable[Item]) -> Iterator[Row]:
    """Yield the rows of an AFN inventory report, one per condition; some have no FNSKU, as observed at Amazon."""
    for item in items:
        for condition, quantity in item.afn:
            yield {
                "seller-sku": item.sku,
                "fulfillment-channel-sku": "" if item.number % 10 == 0 else item.fnsku,
                "asin": item.asin,
                "condition-type": "New",
                "Warehouse-Condition-code": condition,
                "Quantity Available": str(quantity),
            }


def columns_of(report_type: str, language: str, *, points: bool = False) -> list[tuple[str, str]]:
    """Return (column, header name) of a report type in the documented order; `points` adds Japan's points column."""
    if report_type == LISTINGS:
        return list(LISTING_HEADERS[language])
    columns = AFN_COLUMNS if report_type == AFN else SHIPMENT_COLUMNS
    if report_type == SHIPMENTS and points:
        columns = (*columns, POINTS_COLUMN)
    return [(column, column) for column in columns]


def render(
    report_type: str, rows: Iterable[Row], rendering: Rendering, language: str, *, points: bool = False
) -> bytes:
    """Return the uncompressed bytes of a report; `language` is that of a listing report's header."""
    columns = [
        pair for pair in columns_of(report_type, language, points=points) if pair[0] not in rendering.missing_columns
    ]
    columns += [(name, name) for name in rendering.extra_columns]
    if rendering.column_order == "reversed":
        columns.reverse()
    elif rendering.column_order == "shuffled":
        random.Random(report_type).shuffle(columns)
    names = [
        rendering.unused_header if rendering.unused_header and column in UNUSED_LISTING_COLUMNS else name
        for column, name in columns
    ]
    keys = [column for column, _ in columns]
    extra = dict.fromkeys(rendering.extra_columns, "extra")
    droppable = 0
    while droppable < 2 and keys[-1 - droppable] not in REQUIRED_COLUMNS:
        droppable += 1
    line_end = "\r\n" if rendering.crlf else "\n"
    row_end = "\t" if rendering.trailing_tab else ""
    lines = ["\t".join((*names, *rendering.headers_only))]
    for row_number, row in enumerate(rows, start=1):
        values = [row[key] if key in row else extra.get(key, "") for key in keys]
        if droppable and rendering.ragged_every and row_number % rendering.ragged_every == 0:
            del values[-droppable:]
        lines.append("\t".join(values) + row_end)
    lines.append("")
    return rendering.encode(line_end.join(lines))


@dataclass(frozen=True, slots=True)
class PreparedDocument:
    """A document to be written: whether it has no rows, and the slow function that returns its bytes."""

    empty: bool
    write: Callable[[], bytes]


def prepare(
    report_type: str, catalogues: list[Catalogue], *, locale: str | None, window: tuple[float, float]
) -> PreparedDocument:
    """Copy the current items or shipments, so that a background thread can write the document later.

    `locale` is the preferredReportDocumentLocale of the request, or None. `window` are the wall times between which
    shipments were reported. The first catalogue's rendering applies.
    """
    rendering = catalogues[0].rendering(report_type)
    language = rendering.language if locale is None or rendering.locale_cached else language_of(locale)
    items: list[Item] = []
    shipments: list[Row] = []
    for catalogue in catalogues:
        if report_type == SHIPMENTS:
            shipments += catalogue.shipment_rows_between(*window)
        else:
            items += catalogue.items_in_report(report_type)

    def write() -> bytes:
        if report_type == LISTINGS:
            rows: Iterable[Row] = listing_rows(items, rendering)
        else:
            rows = afn_rows(items) if report_type == AFN else shipments
        content = render(report_type, rows, rendering, language, points=catalogues[0].has_points_column)
        return gzip.compress(content, 6, mtime=0) if rendering.gzip else content

    return PreparedDocument(not items and not shipments, write)
