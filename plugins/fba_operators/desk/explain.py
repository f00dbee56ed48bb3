"""Why a SKU has the number that it has, and since when, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Row = Mapping[str, Any]


def since_when(quantity: int, history: Sequence[Row]) -> datetime | None:
    """Since when the quantity is what it is; None when no change of it is known.

    :param history: changes, the newest first
    """
    since = None
    for change in history:
        if change["quantity"] != quantity:
            break
        since = change["at"]
        if change["quantity_before"] != quantity:
            break
    return since


def why(
    row: Row, afn: Sequence[Row], listings: Sequence[Row], history: Sequence[Row], breakdown: Row | None = None
) -> list[str]:
    """The reasons for the quantity of a SKU, the most important first.

    :param row: the SKU in the pool, with what is promised of it
    :param afn: its lines of the AFN report
    :param listings: its lines of the listings report
    :param history: its changes, the newest first
    :param breakdown: where its units are by the FBA Inventory API, or None
    """
    said = [_of_fba(row, afn, listings)]
    if row["quantity_source"] == "default_zero":
        if breakdown and breakdown["fulfillable"]:
            said.append(
                f"Amazon's FBA Inventory API has {breakdown['fulfillable']} fulfillable units of it, which are not counted."
            )
        said.append(
            "With fetch_missing_inventory (stores.yaml) the FBA Inventory API is asked about such a SKU before it becomes 0."
        )
    if row["fbm_quantity"]:
        counted = (
            "" if row["quantity"] != row["fba_quantity"] else " They are not counted: include_fbm_quantity is off."
        )
        said.append(f"{row['fbm_quantity']} units that you ship yourself are stated by the listings report.{counted}")
    if since := since_when(row["quantity"], history):
        said.append(
            f"It is {row['quantity']} since {since.astimezone(UTC):%Y-%m-%d %H:%M} UTC{_before(row['quantity'], history)}."
        )
    else:
        said.append("Since when is not known: no change of it is recorded.")
    if row["unconfirmed_since"]:
        said.append(
            f"No report names its stock any more, since {row['unconfirmed_since'].astimezone(UTC):%Y-%m-%d %H:%M} UTC: it keeps its "
            "quantity until a later pair of reports agrees."
        )
    if row["shares_fnsku_with"]:
        said.append("It draws on the same units at Amazon as other SKUs: do not offer the sum of their quantities.")
    return said


def _of_fba(row: Row, afn: Sequence[Row], listings: Sequence[Row]) -> str:
    units, source = row["fba_quantity"], row["quantity_source"]
    if source == "afn_report":
        sellable = sum((line["warehouse_condition_code"] or "").strip().upper() == "SELLABLE" for line in afn)
        if not afn:
            return f"{units} FBA units are stated by the AFN inventory report {row['afn_report_id'] or ''}, whose lines are kept no longer.".replace(
                "  ", " "
            )
        if not sellable:
            return f"{units} FBA units: the AFN inventory report lists the SKU, but no line of it is SELLABLE."
        return f"{units} FBA units: the sum of {sellable} SELLABLE {'line' if sellable == 1 else 'lines'} of the AFN inventory report, below."
    if source == "listings_report":
        kind = (
            "its listing is one that you ship yourself, so it has no FBA units"
            if not units
            else "the listings report states it"
        )
        return f"{units} FBA units: the AFN inventory report does not list the SKU, and {kind}."
    if source == "fba_api":
        return f"{units} FBA units: no report states it, and Amazon's FBA Inventory API said so when it was asked."
    named = "It has no line in the reports" if not afn and not listings else "Neither report states a quantity"
    return f"{units} FBA units, because nothing says otherwise: {named[0].lower()}{named[1:]}, and two pairs of reports in a row agreed on that, or it never had any."


def _before(quantity: int, history: Sequence[Row]) -> str:
    """What it was before its last change of the quantity."""
    for change in history:
        if change["quantity"] == quantity and change["quantity_before"] != quantity:
            return (
                " (it was new then)"
                if change["quantity_before"] is None
                else f" (it was {change['quantity_before']} before)"
            )
    return ""
