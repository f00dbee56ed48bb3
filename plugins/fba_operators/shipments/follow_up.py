"""What a run of fba_get_shipments did for a store, in counts and in words: loaded rows, overdue requests, retention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fba_operators.runs.summary import counted, listed

SHOWN = 20  # FR numbers in a summary


def attention(counts: Mapping[str, int], followed: Mapping[str, Any], left_out: Sequence[str]) -> dict[str, int]:
    """What needs a person: code of ``fba.run.attention`` and count.

    :param counts: sums of :func:`fba_operators.shipments.load_rows.apply_rows`
    :param followed: what :class:`fba_operators.operators.FollowUpOrdersOperator` returned; empty if it failed
    :param left_out: names of columns that are not known
    """
    return {
        "rejected_lines": counts.get("rejected", 0),
        "report_drift": len(left_out),
        "without_request": counts.get("without_request", 0),
        # Overdue orders are looked up once a day; in between there is no news of them.
        "overdue": followed.get("overdue", 0) if followed.get("asked") else 0,
        "rejected": len(followed.get("rejected", ())),
        "partly_shipped": len(followed.get("partly", ())),
        "unknown_at_amazon": len(followed.get("unknown_at_amazon", ())),
    }


def summary(
    reports: int,
    counts: Mapping[str, int],
    followed: Mapping[str, Any] | None,
    removed: Mapping[str, int],
    left_out: Sequence[str],
) -> str:
    """What was loaded, what is overdue and what retention removed, in lines: the outcome first, FR numbers last.

    :param reports: number of reports loaded
    :param removed: kind → number removed
    :param left_out: names of columns that are not known
    """
    lines = [
        f"{counted(counts['lines'], 'row')} in {counted(reports, 'report')}: {counts['new']} new, "
        f"{counts['updated']} updated, {counts['repeated']} repeated."
    ]
    for kind, one, several in (
        ("replaced", "row without an id replaced", "rows without an id replaced"),
        ("without_id", "row without shipment-item-id", "rows without shipment-item-id"),
        ("of_requests", "row attached to a request", "rows attached to requests"),
        (
            "without_request",
            "row of a multi-channel order matches no request",
            "rows of multi-channel orders match no request",
        ),
        ("unknown_sku", "row with a SKU that is not in the pool", "rows with a SKU that is not in the pool"),
        ("rejected", "line rejected", "lines rejected"),
    ):
        lines += [f"{counted(counts[kind], one, several)}."] if counts[kind] else []
    if left_out:
        columns = counted(len(left_out), "column is", "columns are")
        lines.append(f"{columns} not known and left out, since they may be a buyer's: {listed(left_out, SHOWN)}.")
    if followed:
        lines += _follow_up_lines(followed)
    if removed:
        lines.append("Removed after their retention period: " + _kinds(removed) + ".")
    return "\n".join(lines)


def _follow_up_lines(followed: Mapping[str, Any]) -> list[str]:
    lines = []
    if followed["overdue"]:
        overdue = counted(followed["overdue"], "accepted request")
        lines.append(f"{overdue} overdue: {listed(followed['named'], SHOWN, followed['overdue'])}.")
    for kind, text in (
        ("rejected", "now rejected"),
        ("cancelled", "now cancelled"),
        ("partly", "shipped in part, the rest will not be"),
        ("unknown_at_amazon", "of which Amazon reports nothing"),
    ):
        if followed[kind]:
            lines.append(f"{counted(len(followed[kind]), 'request')} {text}: {listed(followed[kind], SHOWN)}.")
    if followed["asked"]:
        lines.append(f"{counted(followed['asked'], 'accepted request')} looked up at Amazon.")
    return [*lines, *followed.get("left_out", ())]


def _kinds(removed: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in removed.items())
