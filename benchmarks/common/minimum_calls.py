"""The least number of calls to Amazon with which a DAG can do its work for one store.

Nothing can be known without requesting it, polling once until it is done, and fetching it. Tokens are not included.
"""

from __future__ import annotations

from collections import Counter

from benchmarks.common.stacks import INVENTORY, SEND, SHIPMENTS

REPORT = ("createReport", "getReport", "getReportDocument", "downloadDocument")
FEED = ("createFeedDocument", "uploadDocument", "createFeed", "getFeed", "getFeedDocument", "downloadDocument")
MINIMUM: dict[str, Counter[str]] = {
    INVENTORY: Counter(REPORT * 2),
    SEND: Counter(FEED),
    SHIPMENTS: Counter(REPORT),
}


def compare_with_minimum(dag_id: str, calls: Counter[str], stores: int) -> tuple[int, int, str]:
    """Return the number of calls without tokens, the minimum, and the difference by operation."""
    made = Counter({operation: n for operation, n in calls.items() if operation != "token"})
    minimum = Counter({operation: n * stores for operation, n in MINIMUM[dag_id].items()})
    return made.total(), minimum.total(), differences(made, minimum)


def differences(made: Counter[str], minimum: Counter[str]) -> str:
    """The differences in words, e.g. ``+1 getReports, -1 downloadDocument``; ``none`` where there is none."""
    different = {name: made[name] - minimum[name] for name in made | minimum}
    return ", ".join(f"{n:+d} {name}" for name, n in different.items() if n) or "none"
