"""Scripted misfortune: which call of which operation fails, how, and how often."""

from dataclasses import asdict, dataclass, field
from typing import Any

OPERATIONS = (
    "token",
    "createReport",
    "getReport",
    "getReports",
    "cancelReport",
    "getReportDocument",
    "downloadDocument",
    "createFeedDocument",
    "uploadDocument",
    "createFeed",
    "getFeed",
    "getFeeds",
    "cancelFeed",
    "getFeedDocument",
    "getInventorySummaries",
    "getMarketplaceParticipations",
    "createFulfillmentOrder",
    "getFulfillmentOrder",
    "listAllFulfillmentOrders",
    "cancelFulfillmentOrder",
)
REPORT_FATES = ("fatal", "fatal_with_document", "cancelled")
FEED_FATES = (
    "cancelled",
    "fatal_none",
    "fatal_some",
    "fatal_all",
    "message_zero",
    "message_zero_some",
    "warnings",
    "wrong_counts",
    "plain_result",
    "gzip_result",
    "missing_result",
    "expired_result",
    "unreadable_result",
)
FATES = {"createReport": REPORT_FATES, "createFeed": FEED_FATES}
STORAGE_KINDS = {"expired_url": ("downloadDocument", "uploadDocument"), "truncated_gzip": ("downloadDocument",)}
KINDS = tuple(
    dict.fromkeys(
        (
            "429",
            "500",
            "503",
            "status",
            "delay",
            "reset_before",
            "reset_after",
            "error_after",
            "expired_token",
            *STORAGE_KINDS,
            *REPORT_FATES,
            *FEED_FATES,
        )
    )
)


@dataclass(slots=True)
class Fault:
    """One scripted fault.

    It lets the first `skip` matching calls pass, then strikes `times` calls (None: all that follow). `seller_id` and
    `report_type` (the type of the report or feed, or the id of the fulfillment order) narrow it down. `status`, `body`
    (JSON, or a text sent as it is) and `headers` belong to the kind `status`, `seconds` to `delay`, `status` (default
    500) also to `error_after`, `with_document` (a reason document is left) to the feed's `fatal_…`.

    A fate is what becomes of the report or feed that a call makes; the others are what the caller meets. One call can
    be struck by one of each, so that a feed whose answer was lost can end badly too. A fate counts only calls that make
    something.
    """

    operation: str
    fault: str
    times: int | None = 1
    skip: int = 0
    seller_id: str | None = None
    report_type: str | None = None
    status: int | None = None
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    with_document: bool = False
    seen: int = 0
    struck: int = 0

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise ValueError(f"operation {self.operation!r} is not one of {', '.join(OPERATIONS)}")
        if self.fault not in KINDS:
            raise ValueError(f"fault {self.fault!r} is not one of {', '.join(KINDS)}")
        if self.fault == "status" and (self.status is None or self.body is None):
            raise ValueError("the fault 'status' needs a status and a body")
        if self.is_fate is None:
            makers = [name for name, fates in FATES.items() if self.fault in fates]
            raise ValueError(f"the fault {self.fault!r} belongs to {' or '.join(makers)}, not to {self.operation}")
        homes = STORAGE_KINDS.get(self.fault, (self.operation,))
        if self.operation not in homes:
            raise ValueError(f"the fault {self.fault!r} belongs to {' or '.join(homes)}, not to {self.operation}")
        if self.with_document and not self.fault.startswith("fatal_"):
            raise ValueError("with_document belongs to the faults fatal_none, fatal_some and fatal_all of createFeed")
        if self.fault == "expired_token" and self.operation in {"token", "downloadDocument", "uploadDocument"}:
            raise ValueError(f"{self.operation} takes no access token, so it cannot find one expired")

    @property
    def is_fate(self) -> bool | None:
        """Whether it is a fate of what the operation makes; None where it is one that this operation cannot give."""
        if self.fault in FATES.get(self.operation, ()):
            return True
        return None if any(self.fault in fates for fates in FATES.values()) else False

    def matches(self, operation: str, seller_id: str | None, report_type: str | None) -> bool:
        """Whether a call is one this fault looks at."""
        return (
            self.operation == operation
            and self.seller_id in (None, seller_id)
            and self.report_type in (None, report_type)
        )


class Faults:
    """The scripted faults, in the order they were given."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Script one more."""
        self._faults.append(fault)

    def strike(
        self, operation: str, seller_id: str | None, report_type: str | None, *, fate: bool = False
    ) -> Fault | None:
        """The fault (or the fate) that hits this call; every matching one counts the call, the first one due strikes."""
        hit = None
        for fault in self._faults:
            if fault.is_fate is not fate or not fault.matches(operation, seller_id, report_type):
                continue
            fault.seen += 1
            due = fault.seen > fault.skip and (fault.times is None or fault.struck < fault.times)
            if due and hit is None:
                fault.struck += 1
                hit = fault
        return hit

    def listed(self) -> list[dict[str, Any]]:
        """All faults with how often they were seen and struck."""
        return [asdict(fault) for fault in self._faults]

    def clear(self) -> None:
        """Forget all."""
        self._faults.clear()
