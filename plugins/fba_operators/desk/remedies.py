"""What to do about what needs somebody, for who has the desk and no SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OPEN = "Open it: its page says what happened and what you may do."
_SEEN = 'Then choose "Seen" on its page.'
# Code of fba.needs_attention → words. Of the other codes the view's own words hold here as well.
WORDS = {
    "invalid": "It cannot be sent as it is. Its page says why: put it right in the system that made it, then set it back to pending, or choose Seen.",
    "rejected": "Amazon does not ship it. Its page has Amazon's reason: put it right, then set it back to pending or send it again, or choose Seen.",
    "unknown": "Amazon's answer was lost. Nothing to do yet: the runs look for it among Amazon's orders.",
    "stuck": "No run can find out whether Amazon has it. Look in Seller Central under its number, then decide on its page.",
    "waiting_long": _OPEN + " If no run has looked at it, the DAG that sends may be paused or fail.",
    "not_cancelled": "Amazon refused to cancel it, or has not done it for hours; its page says which. Ask the buyer. "
    + _SEEN,
    "cancelled_by_amazon": "Amazon cancelled it, or somebody in Seller Central. Send it again under a new number, or tell the buyer. "
    + _SEEN,
    "cancelled_but_shipped": "It is cancelled, and units of it have left Amazon all the same. Ask the buyer to refuse the parcel or to pay. "
    + _SEEN,
    "partly_shipped": "Amazon ships no more of it than it has. Send what is missing as a new request, or refund it. "
    + _SEEN,
    "overdue": "Amazon accepted it more than a day ago and has not shipped all of it. Its page shows Amazon's status of the order.",
    "needs_approval": "Its page has Amazon's fees and dates: approve it, or cancel it.",
    "late": "Amazon does not keep the date it promised. Tell the buyer. " + _SEEN,
    "undeliverable": "A parcel is lost, destroyed or on its way back. Send the units as a new request, or refund. "
    + _SEEN,
    "claim_due": "Not delivered a week after the promised date: claim the units from Amazon in Seller Central. "
    + _SEEN,
    "blocked_carrier_used": "Amazon used its own carrier although the request blocks it: tell the channel, and open a case with Amazon. "
    + _SEEN,
    "witnesses_differ": "For a week the shipments report and Amazon's order have told different parcels or units. Look in Seller Central which of them is right.",
    "hold_lapses": "Amazon holds its stock for 14 days and then cancels the order. Have it released, or cancel it on its page.",
    "of_no_store": "Its store is not in stores.yaml, so nobody sends it. Ask who runs Airflow.",
    "refused_stock": "The reports would set much stock to 0. Compare with Seller Central; if the stock really is gone, choose Accept zeroed stock on the overview.",
    "failed_run": "A run failed. Reports and runs says why; the next run goes on where it stopped. If it fails again, ask who runs Airflow.",
    "rejected_lines": "Lines of a report could not be read. Their SKUs keep their last quantity; the list says why.",
}


def remedy(row: Mapping[str, Any]) -> str:
    """What to do about a row of ``fba.needs_attention``."""
    said = str(row["remedy"])
    if row["code"] == "late" and said.startswith(("By its quote", "The carrier")):
        return said.replace("then set acknowledged_at.", _SEEN[0].lower() + _SEEN[1:])
    if row["code"] == "rejected" and "under another number" in said:
        return "Another order at Amazon has its number. Look there; insert the request under another number. " + _SEEN
    return WORDS.get(row["code"], said)
