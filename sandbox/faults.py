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
    "getInventorySummaries",
    "getMarketplaceParticipations",
    "listAllFulfillmentOrders",
)
KINDS = (
    "429",
    "500",
    "503",
    "status",
    "delay",
    "reset_before",
    "reset_after",
    "error_after",
    "expired_token",
    "expired_url",
    "truncated_gzip",
    "fatal",
    "fatal_with_document",
    "cancelled",
)
REPORT_FATES = ("fatal", "fatal_with_document", "cancelled")
DOWNLOAD_KINDS = ("expired_url", "truncated_gzip")


@dataclass(slots=True)
class Fault:
    """One scripted fault.

    It lets the first `skip` matching calls pass, then strikes `times` calls (None: all that follow). `seller_id` and
    `report_type` narrow it down. `status`, `body` (JSON, or a text sent as it is) and
    `headers` belong to the kind `status`, `seconds` to `delay`,
    `status` (default 500) also to `error_after`.
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
    seen: int = 0
    struck: int = 0

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise ValueError(f"operation {self.operation!r} is not one of {', '.join(OPERATIONS)}")
        if self.fault not in KINDS:
            raise ValueError(f"fault {self.fault!r} is not one of {', '.join(KINDS)}")
        if self.fault == "status" and (self.status is None or self.body is None):
            raise ValueError("the fault 'status' needs a status and a body")
        if self.fault in REPORT_FATES and self.operation != "createReport":
            raise ValueError(f"the fault {self.fault!r} belongs to createReport, not to {self.operation}")
        if self.fault in DOWNLOAD_KINDS and self.operation != "downloadDocument":
            raise ValueError(f"the fault {self.fault!r} belongs to downloadDocument, not to {self.operation}")
        if self.fault == "expired_token" and self.operation in {"token", "downloadDocument"}:
            raise ValueError(f"{self.operation} takes no access token, so it cannot find one expired")

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

    def strike(self, operation: str, seller_id: str | None, report_type: str | None) -> Fault | None:
        """The fault that hits this call; every matching fault counts the call, the first one due strikes."""
        hit = None
        for fault in self._faults:
            if not fault.matches(operation, seller_id, report_type):
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
