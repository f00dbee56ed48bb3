"""Scripted faults: which call of which operation fails, how, and how often."""

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
    "updateFulfillmentOrder",
    "getFulfillmentOrder",
    "listAllFulfillmentOrders",
    "cancelFulfillmentOrder",
    "getFulfillmentPreview",
    "getFeatures",
    "getFeatureInventory",
    "getFeatureSKU",
    "getPackageTrackingDetails",
    "createOrder",
    "listOrders",
    "getOrder",
    "updateOrder",
    "cancelOrder",
    "getOrderPreview",
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

    It skips the first `skip` matching calls, then applies to `times` calls (None: to all that follow). `seller_id` and
    `report_type` (the type of the report or feed, the id of the fulfillment order, the number of the package, or the SKU
    of a preview's first item) restrict the calls it matches.

    Options of single faults: `status`, `body` (JSON, or a text sent unchanged) and `headers` for `status`; `seconds`
    for `delay`; `status` (default 500) for `error_after`; `with_document` (the feed has a result document that gives a
    reason) for the feed's `fatal_…`. `seen` and `struck` count the calls that it matched and that it was applied to.

    A fate decides how the report or feed that a call creates ends; every other fault affects the call itself. One call
    can have one of each, so that a feed whose answer is lost can also end FATAL. A fate counts only calls that create a
    report or feed.
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
            fated_operations = [name for name, fates in FATES.items() if self.fault in fates]
            raise ValueError(
                f"the fault {self.fault!r} belongs to {' or '.join(fated_operations)}, not to {self.operation}"
            )
        allowed = STORAGE_KINDS.get(self.fault, (self.operation,))
        if self.operation not in allowed:
            raise ValueError(f"the fault {self.fault!r} belongs to {' or '.join(allowed)}, not to {self.operation}")
        if self.with_document and not self.fault.startswith("fatal_"):
            raise ValueError("with_document belongs to the faults fatal_none, fatal_some and fatal_all of createFeed")
        if self.fault == "expired_token" and self.operation in {"token", "downloadDocument", "uploadDocument"}:
            raise ValueError(f"{self.operation} takes no access token, so it cannot find one expired")

    @property
    def is_fate(self) -> bool | None:
        """Whether it is a fate; None if it is a fate of another operation."""
        if self.fault in FATES.get(self.operation, ()):
            return True
        return None if any(self.fault in fates for fates in FATES.values()) else False

    def matches(self, operation: str, seller_id: str | None, report_type: str | None) -> bool:
        """Whether the fault is for this call."""
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
        """Add a fault."""
        self._faults.append(fault)

    def take_due(
        self, operation: str, seller_id: str | None, report_type: str | None, *, fate: bool = False
    ) -> Fault | None:
        """Return the fault to apply to this call, or None; with `fate`, look among fates only.

        Every matching fault counts the call as seen; the first one that is due counts it as struck and is returned.
        """
        due_fault = None
        for fault in self._faults:
            if fault.is_fate is not fate or not fault.matches(operation, seller_id, report_type):
                continue
            fault.seen += 1
            is_due = fault.seen > fault.skip and (fault.times is None or fault.struck < fault.times)
            if is_due and due_fault is None:
                fault.struck += 1
                due_fault = fault
        return due_fault

    def listed(self) -> list[dict[str, Any]]:
        """All faults as dicts of their fields, with the counts `seen` and `struck`."""
        return [asdict(fault) for fault in self._faults]

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()
