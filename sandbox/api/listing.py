"""What getReports and getFeeds have in common: query parameters, filters and pages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.api import pages
from sandbox.api.answers import Answer, invalid_input, json_answer
from sandbox.api.calls import Call

STATUSES = ("CANCELLED", "DONE", "FATAL", "IN_PROGRESS", "IN_QUEUE")
_DEFAULT_CREATED_SINCE_SECONDS = 90 * 86400.0


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of a list call; `since` and `until` are wall times, None means no filter."""

    types: list[str]
    statuses: list[str] | None
    marketplace_ids: list[str] | None
    since: float
    until: float | None

    def match(self, type_: str, marketplace_ids: tuple[str, ...], created: float) -> bool:
        """Whether a report or feed passes every filter except that of its status."""
        return (
            type_ in self.types
            and (self.marketplace_ids is None or bool(set(marketplace_ids) & set(self.marketplace_ids)))
            and self.since <= created
            and (self.until is None or created <= self.until)
        )

    def match_status(self, status: str) -> bool:
        """Whether a processing status passes the filter."""
        return self.statuses is None or status in self.statuses


def query_parameters(types: str) -> frozenset[str]:
    """Return the query parameters of a list call; `types` is its own: reportTypes or feedTypes."""
    return frozenset(
        {types, "processingStatuses", "marketplaceIds", "pageSize", "createdSince", "createdUntil", "nextToken"}
    )


def answer_page(
    call: Call, types: str, name: str, find: Callable[[Filters], list[str]], show: Callable[[str], dict[str, Any]]
) -> Answer:
    """Answer a list call with one page.

    `types` is the query parameter reportTypes or feedTypes, `name` the field of the answer. `find` returns the ids that
    pass the filters, newest first; `show` returns the JSON of one id.
    """
    token = call.query_text("nextToken")
    if token is None:
        filters, size = _filters(call, types)
        ids = find(filters)
    else:
        if len(call.query) > 1:
            raise invalid_input("nextToken must be the only parameter.")
        state = pages.read_page_token(call, token)
        ids, size = state["remaining"], state["size"]
    answer: dict[str, Any] = {name: [show(id_) for id_ in ids[:size]]}
    if ids[size:]:
        answer["nextToken"] = pages.issue_page_token(call, {"remaining": ids[size:], "size": size})
    return json_answer(200, answer)


def _filters(call: Call, types_parameter: str) -> tuple[Filters, int]:
    types = call.query_list(types_parameter, max_items=10, required=True) or []
    statuses = call.query_list("processingStatuses", max_items=len(STATUSES))
    marketplace_ids = call.query_list("marketplaceIds", max_items=10)
    size = call.query_integer("pageSize", minimum=1, maximum=100, default=10)
    since, until = call.query_timestamp("createdSince"), call.query_timestamp("createdUntil")
    if statuses is not None and not set(statuses) <= set(STATUSES):
        raise invalid_input(f"processingStatuses must be among {', '.join(STATUSES)}.")
    if marketplace_ids is not None:
        call.check_marketplaces(marketplace_ids)
    since = call.world.clock.wall() - _DEFAULT_CREATED_SINCE_SECONDS if since is None else since
    return Filters(types, statuses, marketplace_ids, since, until), size
