"""A run in words: per store, for logs and notifications; outcome first, counts and codes only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fba_operators.words import visible

# What needs a person: code of fba.run.attention → words for one, words for several.
ATTENTION = {
    "rejected_lines": ("line of a report could not be read", "lines of reports could not be read"),
    "kept_skus": (
        "SKU keeps its last quantity, because its present one is not certain",
        "SKUs keep their last quantity, because their present one is not certain",
    ),
    "not_added_skus": (
        "new SKU was not added, because its quantity is not certain",
        "new SKUs were not added, because their quantity is not certain",
    ),
    "conflicting_skus": (
        "SKU has contradictory rows; the smallest quantity was taken",
        "SKUs have contradictory rows; the smallest quantity was taken",
    ),
    "zeroed_skus": (
        "SKU became 0 although no report states it",
        "SKUs became 0 although no report states it",
    ),
    "vanished_skus": ("SKU with stock is in no report any more", "SKUs with stock are in no report any more"),
    "unconfirmed_skus": (
        "SKU keeps its quantity until a later pair of reports agrees that it is gone",
        "SKUs keep their quantity until a later pair of reports agrees that they are gone",
    ),
    "shared_fnsku": (
        "FNSKU is shared by SKUs that each report its whole stock",
        "FNSKUs are shared by SKUs that each report their whole stock",
    ),
    "units_jumped": ("implausible change of the units in stock", "implausible changes of the units in stock"),
    "report_drift": (
        "thing in a report is other than before, or undocumented",
        "things in reports are other than before, or undocumented",
    ),
    "stale_stock": ("stock figure is too old", "stock figures are too old"),
    "clock_skew": (
        "second between the clocks of database, worker and Amazon",
        "seconds between the clocks of database, worker and Amazon",
    ),
    "credential_expires": (
        "secret or refresh token of the connection expires within 30 days",
        "secrets or refresh tokens of the connection expire within 30 days",
    ),
    "of_no_store": (
        "request is for a store that is not in stores.yaml",
        "requests are for a store that is not in stores.yaml",
    ),
    "invalid": ("request is invalid", "requests are invalid"),
    "rejected": ("request was rejected by Amazon", "requests were rejected by Amazon"),
    "needs_approval": ("request needs approval", "requests need approval"),
    "late": (
        "request was not delivered when Amazon promised, or may arrive too late by its quote",
        "requests were not delivered when Amazon promised, or may arrive too late by their quotes",
    ),
    "hold_lapses": (
        "order that Amazon holds is about to lapse",
        "orders that Amazon holds are about to lapse",
    ),
    "blocked_carrier_used": (
        "request went out by Amazon's own carrier although it blocks that",
        "requests went out by Amazon's own carrier although they block that",
    ),
    "stuck": (
        "unknown request can only be decided by a person",
        "unknown requests can only be decided by a person",
    ),
    "not_cancelled": ("order could not be cancelled", "orders could not be cancelled"),
    "cancelled_by_amazon": (
        "order was cancelled by Amazon, or in Seller Central",
        "orders were cancelled by Amazon, or in Seller Central",
    ),
    "cancelled_but_shipped": ("cancelled order was shipped all the same", "cancelled orders were shipped all the same"),
    "without_request": (
        "shipped row of a multi-channel order matches no request",
        "shipped rows of multi-channel orders match no request",
    ),
    "overdue": ("accepted request is overdue", "accepted requests are overdue"),
    "partly_shipped": (
        "request was shipped in part, and the rest will not be",
        "requests were shipped in part, and the rest will not be",
    ),
    "low_stock": (
        "SKU has stock for fewer days than low_stock_days",
        "SKUs have stock for fewer days than low_stock_days",
    ),
    "out_of_stock": (
        "SKU that sold in the last weeks is out of stock",
        "SKUs that sold in the last weeks are out of stock",
    ),
    "undelivered_changes": (
        "change of what can be sold is not delivered yet",
        "changes of what can be sold are not delivered yet",
    ),
    "unread_breakdowns": (
        "SKU's breakdown in Amazon's answer could not be read",
        "SKUs' breakdowns in Amazon's answers could not be read",
    ),
    "refused_stock": ("report of stock was refused", "reports of stock were refused"),
    "waiting_long": ("due request waits for more than six hours", "due requests wait for more than six hours"),
    "unknown": (
        "request of which it is not known whether Amazon has it",
        "requests of which it is not known whether Amazon has them",
    ),
    "slow_feed": (
        "request is in a feed that Amazon has not finished",
        "requests are in a feed that Amazon has not finished",
    ),
    "unreadable_orders": ("order at Amazon could not be read", "orders at Amazon could not be read"),
    "undeliverable": ("request has an undeliverable parcel", "requests have an undeliverable parcel"),
    "no_movement": (
        "request has a parcel that has not moved for three days",
        "requests have a parcel that has not moved for three days",
    ),
    "claim_due": (
        "request was not delivered a week after the promise: a claim is due",
        "requests were not delivered a week after the promise: claims are due",
    ),
    "witnesses_differ": (
        "request of which report and order have told different parcels for a week",
        "requests of which report and order have told different parcels for a week",
    ),
    "unknown_at_amazon": (
        "accepted request of which Amazon reports nothing",
        "accepted requests of which Amazon reports nothing",
    ),
}
# Conditions that last until somebody acts: notified when the count changes, and once a day.
STANDING = frozenset(
    (
        "rejected_lines",
        "kept_skus",
        "not_added_skus",
        "conflicting_skus",
        "unconfirmed_skus",
        "shared_fnsku",
        "stale_stock",
        "low_stock",
        "out_of_stock",
        "undelivered_changes",
        "clock_skew",
        "credential_expires",
        "of_no_store",
        "stuck",
        "unknown",
        "waiting_long",
        "slow_feed",
        "hold_lapses",
        "blocked_carrier_used",
        "not_cancelled",
        "cancelled_by_amazon",
        "cancelled_but_shipped",
        "partly_shipped",
        "without_request",
        "overdue",
        "late",
        "undeliverable",
        "no_movement",
        "claim_due",
        "witnesses_differ",
    )
)


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number with its noun: ``1 request``, ``2 requests``.

    :param several: the plural, where it is not ``one`` with an s
    """
    return f"{number} {one if number == 1 else several or one + 's'}"


def listed(names: Sequence[str], most: int, total: int | None = None) -> str:
    """Some names, fit to be shown, and how many there are besides: ``A, B and 3 more``.

    :param most: how many to show
    :param total: how many there are, where ``names`` are not all
    """
    shown = names[:most]
    more = (len(names) if total is None else total) - len(shown)
    return ", ".join(map(visible, shown)) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class StoreSummary:
    """What a run did for one store, as ``fba.run`` has it.

    :param outcome: success, skipped or failed
    :param failure: task and reason, in our own words
    :param attention: what needs a person: code and count
    :param previous_attention: ``attention`` of the run before, if that was on the same day
    :param standing: what else is in ``fba.needs_attention`` for the store, whichever run found it
    """

    store: str
    outcome: str
    summary: str = ""
    failure: str | None = None
    attention: Mapping[str, int] = field(default_factory=dict)
    previous_attention: Mapping[str, int] = field(default_factory=dict)
    standing: Mapping[str, int] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    throttled_seconds: float = 0.0
    rows_in: int = 0
    rows_rejected: int = 0
    rows_changed: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, store: str, row: Mapping[str, Any] | None) -> StoreSummary:
        """Read a row of ``fba.run``; a store whose tasks were all killed may have none, or one without an end."""
        known = {**(row or {}), "store": store}
        known["summary"] = known.get("summary") or "See the logs of its tasks."
        known["outcome"] = known.get("outcome") or "failed"
        return cls(**known)

    @property
    def failed(self) -> bool:
        """Whether this store turns the run red."""
        return self.outcome not in ("success", "skipped")

    @property
    def events(self) -> set[str]:
        """Which of failure, attention, change and always this is."""
        events = {"always"}
        if self.failed:
            events.add("failure")
        if any(
            number and (code not in STANDING or number != self.previous_attention.get(code))
            for code, number in self.attention.items()
        ):
            events.add("attention")
        if self.rows_changed:
            events.add("change")
        return events

    @property
    def needs(self) -> str:
        """What needs a person: what this run found, then what still does; empty if nothing does."""
        sentences = [
            f"{begins}: {'; '.join(words)}."
            for begins, codes in (("Needs a person", self.attention), ("Still needs a person", self.standing))
            if (
                words := [
                    counted(number, *ATTENTION.get(code, (code, code))) for code, number in codes.items() if number
                ]
            )
        ]
        return " ".join(sentences)

    def headline(self) -> str:
        """The outcome in one line, fit for a chat room."""
        if self.failed:
            reason = (self.failure or "It did not finish; the logs of its tasks say why").rstrip(".")
            parts = [f"FAILED. {reason}."]
        else:
            parts = [f"{self.outcome}. {counted(self.rows_in, 'row')} read, {self.rows_changed} changed."]
        return f"{self.store}: {' '.join([*parts, *([self.needs] if self.needs else [])])}"

    def lines(self) -> list[str]:
        """Everything in several lines, the outcome first, for the log."""
        calls = ", ".join(f"{name} {number}" for name, number in sorted(self.calls.items()))
        return [
            f"{self.store}: {'FAILED' if self.failed else self.outcome}",
            *(f"  {line}" for line in self.summary.splitlines()),
            *([f"  {self.needs}"] if self.needs else []),
            f"  Calls to Amazon: {calls or 'none'}. Waited for quotas: {self.throttled_seconds:.0f} s.",
        ]


def message(
    dag_id: str, stores: Sequence[StoreSummary], wanted: Collection[str], desk: str, run: str
) -> tuple[str, str, str] | None:
    """Return title, body and kind of a notification, or None if nothing in the run is wanted.

    :param wanted: some of failure, attention, change, always
    :param desk: address of the FBA desk
    :param run: address of the run in Airflow's UI, where the logs of a failure are
    """
    relevant = [store for store in stores if store.events & set(wanted)]
    if not relevant:
        return None
    failed = sum(store.failed for store in relevant)
    attention = sum("attention" in store.events for store in relevant)
    verdict = f"{failed} of {counted(len(stores), 'store')} failed" if failed else "success"
    if attention:
        verdict += f", {attention} {'needs' if attention == 1 else 'need'} a person"
    lines = [store.headline() for store in relevant]
    if others := len(stores) - len(relevant):
        lines.append(f"{counted(others, 'other store has', 'other stores have')} no news.")
    kind = "failure" if failed else "warning" if attention else "info"
    return f"{dag_id}: {verdict}", "\n".join([*lines, desk, *([f"Logs: {run}"] if failed else [])]), kind
