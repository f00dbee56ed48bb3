"""The Global Inventory Pool in Postgres: read in full for a merge, written by one statement."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import psycopg
from psycopg import sql

from fba_operators.errors import ConfigurationError
from fba_operators.inventory.merge import SOURCES
from fba_operators.reports.header import Header
from fba_operators.reports.report_types import LISTINGS, snake_case
from fba_operators.warehouse.copy import copy_escaped
from fba_operators.warehouse.statements import compose, execute, statement

NUMBERS = ("fba_quantity", "fbm_quantity", "quantity")
ROW = "%s\t%s\t%s\t%d\t%d\t%d\t%d\n"
BINARY_HEAD, BINARY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"  # of PostgreSQL's binary COPY format
AT_ONCE = 50_000  # rows that are made ready at once
MANY = 50_000  # rows from which on PostgreSQL must not look them up one by one
# More digits than any price has, and fewer than numeric can hold. A comma before three digits may also part thousands.
NUMBER = r"^-?[0-9]{1,18}([.][0-9]{1,18}|,([0-9]{1,2}|[0-9]{4,18}))?$"
# In every listings report; also stands for a report without rows, which changes none of these columns.
CHANNEL: dict[str, sql.Composable] = {"fulfillment_channel": sql.SQL("nullif(l.fulfillment_channel, '')")}


def read_pool(db: psycopg.Connection[Any], store: str, texts: dict[str, str]) -> pd.DataFrame:
    """Return a store's pool as :func:`fba_operators.inventory.merge.merge_inventory` wants it.

    :param texts: see :func:`fba_operators.inventory.merge.stock_frame`
    """
    skus: list[str] = []
    groups: list[tuple[str, str]] = []
    quantities: list[npt.NDArray[np.int64]] = [np.empty((3, 0), np.int64)]
    for source, channel, names, *numbers in db.cursor(binary=True).execute(
        statement("inventory.read_pool"), {"store": store}
    ):
        groups.append((source, channel))
        parts = names.split("\n")
        skus += map(texts.setdefault, parts, parts)
        quantities.append(np.array([np.frombuffer(each, ">i8") for each in numbers], np.int64))
    sizes = [part.shape[1] for part in quantities[1:]]
    fba, fbm, quantity = np.concatenate(quantities, axis=1)

    def repeated(names: list[str]) -> pd.Categorical:
        categories = list(dict.fromkeys(names))
        codes = np.repeat(np.array([categories.index(name) for name in names], np.int64), sizes)
        return pd.Categorical.from_codes(codes, categories=pd.Index(categories, dtype=object))

    return pd.DataFrame(
        {
            "sku": pd.Series(skus, dtype=object),
            "fba_quantity": fba,
            "fbm_quantity": fbm,
            "quantity": quantity,
            "quantity_source": repeated([source for source, _ in groups]),
            "fulfillment_channel": repeated([channel for _, channel in groups]),
        },
        copy=False,
    )


Unconfirmed = tuple[Mapping[str, datetime], Mapping[str, datetime]]
"""SKU → since when its FBA stock is unconfirmed, and the same of its merchant-fulfilled stock."""


def read_unconfirmed(db: psycopg.Connection[Any], store: str) -> Unconfirmed:
    """Return since when the FBA stock of SKUs is unconfirmed, and the same of their merchant-fulfilled stock."""
    rows = execute(db, "inventory.read_unconfirmed", store=store).fetchall()
    return (
        {row["sku"]: row["fba_unconfirmed_since"] for row in rows if row["fba_unconfirmed_since"]},
        {row["sku"]: row["fbm_unconfirmed_since"] for row in rows if row["fbm_unconfirmed_since"]},
    )


def write_unconfirmed(
    db: psycopg.Connection[Any],
    store: str,
    fba_since: Mapping[str, datetime],
    fbm_since: Mapping[str, datetime],
    stated: Collection[str],
) -> None:
    """Write since when stock is unconfirmed, in the transaction of :func:`write_pool` and after it.

    :param stated: SKUs whose stock is not unconfirmed any more
    """
    skus = sorted({*fba_since, *fbm_since})
    if skus or stated:
        fba, fbm = ([since.get(sku) for sku in skus] for since in (fba_since, fbm_since))
        execute(db, "inventory.set_unconfirmed", store=store, skus=skus, fba=fba, fbm=fbm, stated=sorted(stated))


def write_conflicts(db: psycopg.Connection[Any], store: str, skus: Collection[str]) -> None:
    """Write which SKUs the listings report states differently in several lines, in the transaction of :func:`write_pool`."""
    execute(db, "inventory.set_conflicts", store=store, skus=list(skus))


def pool_sources(header: Header, fields: Mapping[Any, str]) -> dict[str, sql.Composable]:
    """For each pool column, the SQL that reads its value from the parsed copy of the listings report (alias l).

    Columns that this report lacks are left out, so that the last value stays.

    :param header: of the listings report
    :param fields: ``fields`` of stores.yaml: pool column to report column
    :raises ConfigurationError: ``fields`` names a column the report does not have
    """
    sources: dict[str, sql.Composable] = {
        column: sql.Identifier("l", ours) for column, ours in LISTINGS.pool_mapping.items() if ours in header.fields
    }
    extra = {name for _, name in header.extra}
    for column, wanted in fields.items():
        if snake_case(wanted) in header.fields:
            sources[column] = sql.Identifier("l", snake_case(wanted))
        elif wanted in extra:
            sources[column] = sql.SQL("(l.extra ->> {})").format(sql.Literal(wanted))
        else:
            raise ConfigurationError(
                f"stores.yaml: inventory.fields takes {column} from the report column {wanted!r}, which this listings "
                f"report does not have. It has: {', '.join(header.names)}"
            )
    return {
        **CHANNEL,
        **{column: _as_number(source) if column == "price" else _as_text(source) for column, source in sources.items()},
    }


def _as_text(source: sql.Composable) -> sql.Composable:
    return sql.SQL("nullif({}, '')").format(source)


def _as_number(source: sql.Composable) -> sql.Composable:
    return sql.SQL("CASE WHEN {0} ~ {1} THEN replace({0}, ',', '.')::numeric END").format(source, sql.Literal(NUMBER))


def write_pool(
    db: psycopg.Connection[Any],
    store: str,
    frame: pd.DataFrame,
    sources: Mapping[str, sql.Composable],
    *,
    afn_report_id: str,
    listings_report_id: str,
    is_empty: bool,
) -> int:
    """Merge a frame into a store's pool; rows in which nothing changed are not touched.

    :param db: an open transaction in which the listings report's parsed copy is already written
    :param frame: rows of ``MergeResult.frame``, with listing_report and listing_line: the row of the parsed copy that gives
        title etc., missing without one; and by_line: whether that row's SKU is the SKU
    :param sources: what :func:`pool_sources` returned
    :param is_empty: whether the pool had no row of the store
    :return: rows inserted or changed
    """
    if frame.empty:
        return 0
    execute(db, "inventory.create_staging")
    parts = [frame[start : start + AT_ONCE] for start in range(0, len(frame), AT_ONCE)]
    with db.cursor().copy(statement("inventory.fill_staging_by_line")) as copy:
        copy.write(BINARY_HEAD)
        for part in parts:
            for report_id, rows in part[part["by_line"]].groupby("listing_report", observed=True):
                copy.write(_binary_rows(str(report_id), rows))
        copy.write(BINARY_END)
    with db.cursor().copy(statement("inventory.fill_staging_by_sku")) as copy:
        for part in parts:
            copy.write(_text_rows(part[~part["by_line"]]))
    execute(db, "inventory.analyze_staging")
    if len(frame) > MANY:
        execute(db, "reports.avoid_nested_loops")
    columns = list(sources)

    def joined(template: str) -> sql.Composed:
        return sql.SQL(", ").join(sql.SQL(template).format(column=sql.Identifier(column)) for column in columns)

    merge = compose(
        "inventory.fill_pool" if is_empty else "inventory.merge_pool",
        store=sql.Literal(store),
        sources=sql.Literal(list(SOURCES)),
        afn_report_id=sql.Literal(afn_report_id),
        listings_report_id=sql.Literal(listings_report_id),
        listed_values=sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(source, sql.Identifier(column)) for column, source in sources.items()
        ),
        columns=joined("{column}"),
        pool_columns=joined("p.{column}"),
        merged_columns=joined("m.{column}"),
        assignments=joined("{column} = CASE WHEN m.listing_line IS NULL THEN p.{column} ELSE m.{column} END"),
    )
    return db.execute(merge).rowcount


def _binary_rows(report_id: str, rows: pd.DataFrame) -> bytes:
    """Rows of the staging table whose SKUs are those of lines of one report, in binary COPY form."""
    name = report_id.encode()
    # The number of fields, then each field after its length.
    tuples = np.empty(
        len(rows),
        [("fields", ">i2"), ("n0", ">i4"), ("report", f"S{len(name)}"), ("n1", ">i4"), ("line", ">i8")]
        + [each for column in NUMBERS for each in ((f"n_{column}", ">i4"), (column, ">i8"))]
        + [("n2", ">i4"), ("source", ">i2")],
    )
    tuples["fields"], tuples["n0"], tuples["report"] = 6, len(name), name
    tuples["n1"], tuples["line"] = 8, rows["listing_line"].to_numpy(np.int64)
    for column in NUMBERS:
        tuples[f"n_{column}"], tuples[column] = 8, rows[column].to_numpy(np.int64)
    tuples["n2"], tuples["source"] = 2, rows["quantity_source"].cat.codes.to_numpy()
    return tuples.tobytes()


def _text_rows(rows: pd.DataFrame) -> bytes:
    """Rows of the staging table that name their SKU, in text COPY form."""
    listed = rows["listing_line"].notna().to_numpy(bool)
    reports = [report if has else "\\N" for report, has in zip(rows["listing_report"], listed, strict=True)]
    lines = [str(line) if has else "\\N" for line, has in zip(rows["listing_line"], listed, strict=True)]
    skus = [copy_escaped(sku).decode() for sku in rows["sku"]]
    numbers = [rows[column].tolist() for column in NUMBERS]
    sources = rows["quantity_source"].cat.codes.tolist()
    return "".join(map(ROW.__mod__, zip(skus, reports, lines, *numbers, sources, strict=True))).encode()
