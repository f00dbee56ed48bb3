"""Feeds API 2021-06-30, for Multi-Channel Fulfillment orders and their cancellation."""

from typing import Any

from sandbox.api import pages, storage
from sandbox.api.answers import Answer, invalid_input, json_answer, not_found
from sandbox.api.calls import Call, Operation, text_list
from sandbox.documents.feed_xml import PAYLOADS
from sandbox.world.feed_desk import Feed

STATUSES = ("CANCELLED", "DONE", "FATAL", "IN_PROGRESS", "IN_QUEUE")
_BASE = "/feeds/2021-06-30"
_CREATED_SINCE_DEFAULT = 90 * 86400.0
_PAGE_TOKEN_SECONDS = 3600.0


def _body(call: Call, required: set[str], optional: set[str]) -> dict[str, Any]:
    body = call.json_object()
    unknown = body.keys() - required - optional
    if unknown:
        raise invalid_input(f"Unknown field in the request body: {min(unknown)}")
    missing = required - body.keys()
    if missing:
        raise invalid_input(f"Missing required field: {min(missing)}")
    return body


def create_feed_document(call: Call) -> Answer:
    """POST /feeds/2021-06-30/documents: a place to upload to within five minutes."""
    content_type = _body(call, {"contentType"}, set())["contentType"]
    if not isinstance(content_type, str) or "/" not in content_type or not content_type.isprintable():
        raise invalid_input("contentType must be a media type.")
    document = call.world.feed_desk.make_input(call.merchant, content_type)
    url = storage.upload_url(call, document.document_id, content_type)
    return json_answer(201, {"feedDocumentId": document.document_id, "url": url})


def create_feed(call: Call) -> Answer:
    """POST /feeds/2021-06-30/feeds: the same document may be submitted again, and is then processed again."""
    body = _body(call, {"feedType", "marketplaceIds", "inputFeedDocumentId"}, {"feedOptions"})
    feed_type, document_id = body["feedType"], body["inputFeedDocumentId"]
    if not isinstance(feed_type, str) or feed_type not in PAYLOADS:
        raise invalid_input(f"Feed type {feed_type} is not allowed or not known.")
    marketplace_ids = text_list("marketplaceIds", body["marketplaceIds"], 25)
    call.check_marketplaces(marketplace_ids)
    if len(marketplace_ids) > 1:
        raise invalid_input("Fulfillment order feeds are for one marketplace.")
    options = body.get("feedOptions", {})
    if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
        raise invalid_input("feedOptions must be an object whose values are strings.")
    document = call.world.feed_desk.input(call.merchant, document_id) if isinstance(document_id, str) else None
    if document is None or document.content is None:
        raise invalid_input("The inputFeedDocumentId is not valid: no such document, or nothing was uploaded to it.")
    feed = call.world.feed_desk.create(
        call.merchant, feed_type, tuple(marketplace_ids), document.content, call.strike_fate()
    )
    return json_answer(202, {"feedId": feed.feed_id})


def _feed(call: Call) -> Feed:
    feed_id = call.incoming.path_params["feedId"]
    feed = call.world.feed_desk.feeds.get((call.merchant.seller_id, feed_id))
    if feed is None:
        raise not_found(f"The feed {feed_id} does not exist.")
    return feed


def get_feed(call: Call) -> Answer:
    """GET /feeds/2021-06-30/feeds/{feedId}."""
    return json_answer(200, call.world.feed_desk.shown(_feed(call)))


def cancel_feed(call: Call) -> Answer:
    """DELETE /feeds/2021-06-30/feeds/{feedId}: possible while it is IN_QUEUE."""
    feed = _feed(call)
    if feed.status != "IN_QUEUE":
        raise invalid_input("Only a feed that is IN_QUEUE can be cancelled.")
    call.world.feed_desk.withdraw(feed)
    return json_answer(200, {})


def get_feeds(call: Call) -> Answer:
    """GET /feeds/2021-06-30/feeds: newest first; a nextToken must come alone."""
    token = call.text("nextToken")
    if token is not None:
        if len(call.query) > 1:
            raise invalid_input("nextToken must be the only parameter.")
        state = pages.take_in(call, token)
        return _page(call, state["left"], state["size"])
    types = call.texts("feedTypes", most=10, required=True) or []
    statuses = call.texts("processingStatuses", most=len(STATUSES))
    marketplace_ids = call.texts("marketplaceIds", most=10)
    size = call.integer("pageSize", least=1, most=100, default=10)
    since, until = call.moment("createdSince"), call.moment("createdUntil")
    if statuses is not None and not set(statuses) <= set(STATUSES):
        raise invalid_input(f"processingStatuses must be among {', '.join(STATUSES)}.")
    if marketplace_ids is not None:
        call.check_marketplaces(marketplace_ids)
    since = call.world.clock.wall() - _CREATED_SINCE_DEFAULT if since is None else since
    found = [
        feed.feed_id
        for feed in call.world.feed_desk.of_seller(call.merchant.seller_id)
        if feed.feed_type in types
        and (statuses is None or feed.status in statuses)
        and (marketplace_ids is None or set(feed.marketplace_ids) & set(marketplace_ids))
        and since <= feed.created
        and (until is None or feed.created <= until)
    ]
    return _page(call, found, size)


def _page(call: Call, found: list[str], size: int) -> Answer:
    desk = call.world.feed_desk
    feeds = [desk.feeds[call.merchant.seller_id, feed_id] for feed_id in found[:size]]
    answer: dict[str, Any] = {"feeds": [desk.shown(feed) for feed in feeds]}
    if found[size:]:
        answer["nextToken"] = pages.give_out(call, {"left": found[size:], "size": size}, _PAGE_TOKEN_SECONDS)
    return json_answer(200, answer)


def get_feed_document(call: Call) -> Answer:
    """GET /feeds/2021-06-30/documents/{feedDocumentId}: a result, for 28 days; the URL lives for five minutes."""
    wants_encoding = call.boolean("enableContentEncodingUrlHeader")
    document_id = call.incoming.path_params["feedDocumentId"]
    document = call.world.feed_desk.result(call.merchant, document_id)
    if document is None:
        raise not_found(f"The feed document {document_id} does not exist.")
    return json_answer(200, {"feedDocumentId": document_id, **storage.download_url(call, document, wants_encoding)})


def _feed_type(call: Call) -> str | None:
    seller_id = call.merchant_or_none.seller_id if call.merchant_or_none else ""
    feed = call.world.feed_desk.feeds.get((seller_id, call.incoming.path_params["feedId"]))
    return feed.feed_type if feed else None


def _document_type(call: Call) -> str | None:
    document = call.world.desk.documents.get(call.incoming.path_params["feedDocumentId"])
    return document.report_type if document else None


OPERATIONS = (
    Operation("createFeedDocument", "POST", f"{_BASE}/documents", create_feed_document, rate=0.5, burst=15),
    Operation(
        "createFeed",
        "POST",
        f"{_BASE}/feeds",
        create_feed,
        rate=0.0083,
        burst=15,
        subject=lambda call: call.peek_body("feedType"),
    ),
    Operation(
        "getFeeds",
        "GET",
        f"{_BASE}/feeds",
        get_feeds,
        query=frozenset(
            {
                "feedTypes",
                "processingStatuses",
                "marketplaceIds",
                "pageSize",
                "createdSince",
                "createdUntil",
                "nextToken",
            }
        ),
        rate=0.0222,
        burst=10,
    ),
    Operation("getFeed", "GET", f"{_BASE}/feeds/{{feedId}}", get_feed, rate=2.0, burst=15, subject=_feed_type),
    Operation("cancelFeed", "DELETE", f"{_BASE}/feeds/{{feedId}}", cancel_feed, rate=2.0, burst=15, subject=_feed_type),
    Operation(
        "getFeedDocument",
        "GET",
        f"{_BASE}/documents/{{feedDocumentId}}",
        get_feed_document,
        query=frozenset({"enableContentEncodingUrlHeader"}),
        rate=0.0222,
        burst=10,
        subject=_document_type,
    ),
)
