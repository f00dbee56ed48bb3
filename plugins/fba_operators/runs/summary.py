"""What a run says about each store to people: which notifications it calls for, and in which words. Counts and codes only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg.types.json import Jsonb

# What needs a person. The codes are those of fba.run.attention.
ATTENTION = {
    "rejected_lines": "lines of reports could not be read",
    "kept_skus": "SKUs keep their last quantity, because theirs is not known for sure",
    "not_added_skus": "new SKUs were not added, because their quantity is not known for sure",
    "conflicting_skus": "SKUs have contradictory rows, of which the smallest quantity was taken",
    "of_no_store": "requests are for a store that stores.yaml does not name",
    "invalid": "requests are invalid",
    "rejected": "requests were rejected by Amazon",
    "stuck": "requests were sent again and again, and Amazon has no order of them",
    "not_cancelled": "orders could not be cancelled",
    "without_request": "shipped rows of multi-channel orders match no request",
    "overdue": "accepted requests are overdue",
    "partly_shipped": "requests were shipped in part, and the rest will not be",
    "unknown_at_amazon": "accepted requests of which Amazon tells nothing",
}
# What stays from run to run until somebody does something: news only when it changes, and once a day.
STANDING = frozenset(
    (
        "rejected_lines",
        "kept_skus",
        "not_added_skus",
        "conflicting_skus",
        "of_no_store",
        "stuck",
        "not_cancelled",
        "without_request",
        "overdue",
    )
)


def counts(found: Mapping[str, int]) -> Jsonb:
    """Return what is not zero, for ``fba.run.attention``."""
    return Jsonb({code: number for code, number in found.items() if number})


@dataclass(frozen=True)
class StoreSummary:
    """What a run did for one store, as ``fba.run`` has it.

    :param outcome: success, skipped or failed
    :param failure: task and reason, in our own words
    :param attention: what needs a person: code and count
    :param told_before: ``attention`` of the run before, if that was on the same day
    """

    store: str
    outcome: str
    summary: str = ""
    failure: str | None = None
    attention: Mapping[str, int] = field(default_factory=dict)
    told_before: Mapping[str, int] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    throttled_seconds: float = 0.0
    rows_in: int = 0
    rows_rejected: int = 0
    rows_changed: int = 0
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether this store turns the run red."""
        return self.outcome not in ("success", "skipped")

    @property
    def events(self) -> set[str]:
        """Which of failure, attention, change and always this is."""
        told = {"always"}
        if self.failed:
            told.add("failure")
        if any(
            number and (code not in STANDING or number != self.told_before.get(code))
            for code, number in self.attention.items()
        ):
            told.add("attention")
        if self.rows_changed:
            told.add("change")
        return told

    def words(self) -> str:
        """Say it in a line."""
        if self.failed:
            parts = [f"FAILED. {self.failure or 'It did not finish; the logs of its tasks say why'}."]
        else:
            parts = [f"{self.outcome}. {self.rows_in} rows looked at, {self.rows_changed} changed."]
        if self.attention:
            needs = "; ".join(f"{number} {ATTENTION.get(code, code)}" for code, number in self.attention.items())
            parts.append(f"Needs a person: {needs}.")
        return f"{self.store}: {' '.join(parts)}"


def message(
    dag_id: str, stores: Sequence[StoreSummary], wanted: Collection[str], link: str
) -> tuple[str, str, str] | None:
    """Return title, body and kind of a notification, or None if the run has nothing that is wanted.

    :param wanted: some of failure, attention, change, always
    :param link: address of the run in Airflow's UI
    """
    told = [store for store in stores if store.events & set(wanted)]
    if not told:
        return None
    failed = sum(store.failed for store in told)
    attention = sum("attention" in store.events for store in told)
    verdict = f"{failed} of {len(stores)} stores failed" if failed else "success"
    if attention:
        verdict += f", {attention} need a person"
    lines = [store.words() for store in told]
    if len(stores) > len(told):
        lines.append(f"{len(stores) - len(told)} other stores have no news.")
    kind = "failure" if failed else "warning" if attention else "info"
    return f"{dag_id}: {verdict}", "\n".join([*lines, link]), kind


def from_row(store: str, row: Mapping[str, Any] | None) -> StoreSummary:
    """Read a row of ``fba.run``; a store whose tasks were all killed may have none, or one without an end."""
    known = {**(row or {}), "store": store}
    known["summary"] = known.get("summary") or "See the logs of its tasks."
    known["outcome"] = known.get("outcome") or "failed"
    return StoreSummary(**known)
