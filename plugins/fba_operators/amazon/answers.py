"""What Amazon's answers look like where we read them; an answer that does not is no answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _words(value: Any) -> bool:
    return isinstance(value, str)  # an empty nextToken ends a list as a missing one does


def _time(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10**9


def _empty(value: Any) -> bool:
    return isinstance(value, list) and not value


# A field with ? may be missing or null. Lists are of one shape.
_FINISHED = {"processingStatus": _text, "createdTime?": _time, "processingEndTime?": _time}
_REPORT = {
    **_FINISHED,
    **{"reportId": _text, "reportDocumentId?": _text, "dataStartTime?": _time, "dataEndTime?": _time},
}
_FEED = {**_FINISHED, "feedId": _text, "resultFeedDocumentId?": _text}
_ORDER = {"fulfillmentOrderStatus?": _text, "marketplaceId?": _text, "sellerFulfillmentOrderId?": _text}
_STOCK = {"sellerSku": _text, "inventoryDetails?": {"fulfillableQuantity?": _count}}
_SHAPES: dict[str, Any] = {
    "createReport": {"reportId": _text},
    "getReport": _REPORT,
    "getReports": {"reports": [{**_REPORT, "createdTime": _time}], "nextToken?": _words},
    "getReportDocument": {"url": _text},
    "createFeedDocument": {"feedDocumentId": _text, "url": _text},
    "createFeed": {"feedId": _text},
    "getFeed": _FEED,
    "getFeeds": {"feeds": [_FEED], "nextToken?": _words},
    "getFeedDocument": {"url": _text},
    "cancelFulfillmentOrder": {"errors?": _empty},
    "getInventorySummaries": {"payload": {"inventorySummaries": [_STOCK]}, "pagination?": {"nextToken?": _words}},
    "getMarketplaceParticipations": {"payload": [{"marketplace": {"id": _text}}]},
    "listAllFulfillmentOrders": {"payload": {"fulfillmentOrders?": [_ORDER], "nextToken?": _words}},
    "getFulfillmentOrder": {
        "payload": {
            "fulfillmentOrder": {**_ORDER, "fulfillmentOrderStatus": _text},
            "fulfillmentOrderItems": [{"sellerSku": _text, "quantity": _count}],
        }
    },
}


def misshapen(operation: str, answer: Any) -> str | None:
    """Name the first field of an answer that is not as Amazon documents it; None if all that we read is."""
    return _wrong(answer, _SHAPES.get(operation, {}), "answer")


def _wrong(value: Any, shape: Any, where: str) -> str | None:
    if isinstance(shape, list):
        if not isinstance(value, list):
            return where
        return next(filter(None, (_wrong(each, shape[0], f"{where}[]") for each in value)), None)
    if not isinstance(shape, dict):
        return None if shape(value) else where
    if not isinstance(value, dict):
        return where
    for key, inner in shape.items():
        name = key.rstrip("?")
        if not (key.endswith("?") and value.get(name) is None) and (
            found := _wrong(value.get(name), inner, f"{where}.{name}")
        ):
            return found
    return None
