"""Feeds API 2021-06-30, for the feeds that create and cancel Multi-Channel Fulfillment orders."""

from typing import Any

from sandbox.api import listing, storage
from sandbox.api.answers import Answer, invalid_input, json_answer, not_found
from sandbox.api.calls import Call, Operation, require_string_values, require_text_list
from sandbox.documents.feed_xml import PAYLOADS
from sandbox.world.feed_desk import Feed

_BASE = "/feeds/2021-06-30"


def create_feed_document(call: Call) -> Answer:
    """POST /feeds/2021-06-30/documents: a signed URL that accepts an upload for five minutes."""
    content_type = call.json_fields({"contentType"}, set())["contentType"]
    if not isinstance(content_type, str) or "/" not in content_type or not content_type.isprintable():
        raise invalid_input("contentType must be a media type.")
    document = call.world.feed_desk.create_input_document(call.merchant, content_type)
    url = storage.upload_url(call, document.document_id, content_type)
    return json_answer(201, {"feedDocumentId": document.document_id, "url": url})


def create_feed(call: Call) -> Answer:
    """POST /feeds/2021-06-30/feeds: a document submitted twice is processed twice."""
    body = call.json_fields({"feedType", "marketplaceIds", "inputFeedDocumentId"}, {"feedOptions"})
    feed_type, document_id = body["feedType"], body["inputFeedDocumentId"]
    if not isinstance(feed_type, str) or feed_type not in PAYLOADS:
        raise invalid_input(f"Feed type {feed_type} is not allowed or not known.")
    marketplace_ids = require_text_list("marketplaceIds", body["marketplaceIds"], 25)
    call.check_marketplaces(marketplace_ids)
    if len(marketplace_ids) > 1:
        raise invalid_input("Fulfillment order feeds are for one marketplace.")
    require_string_values("feedOptions", body.get("feedOptions", {}))
    document = call.world.feed_desk.input_document(call.merchant, document_id) if isinstance(document_id, str) else None
    if document is None or document.content is None:
        raise invalid_input("The inputFeedDocumentId is not valid: no such document, or nothing was uploaded to it.")
    feed = call.world.feed_desk.create(
        call.merchant, feed_type, tuple(marketplace_ids), document.content, call.take_due_fault(fate=True)
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
    call.world.feed_desk.cancel(feed)
    return json_answer(200, {})


def get_feeds(call: Call) -> Answer:
    """GET /feeds/2021-06-30/feeds: newest first; nextToken must be the only parameter."""
    desk, seller_id = call.world.feed_desk, call.merchant.seller_id

    def find(filters: listing.Filters) -> list[str]:
        return [
            feed.feed_id
            for feed in desk.of_seller(seller_id)
            if filters.match(feed.feed_type, feed.marketplace_ids, feed.created) and filters.match_status(feed.status)
        ]

    def show(feed_id: str) -> dict[str, Any]:
        return desk.shown(desk.feeds[seller_id, feed_id])

    return listing.answer_page(call, "feedTypes", "feeds", find, show)


def get_feed_document(call: Call) -> Answer:
    """GET /feeds/2021-06-30/documents/{feedDocumentId}: results are kept 28 days, the URL expires in five minutes."""
    with_content_encoding = call.query_boolean("enableContentEncodingUrlHeader")
    document_id = call.incoming.path_params["feedDocumentId"]
    document = call.world.feed_desk.result_document(call.merchant, document_id)
    if document is None:
        raise not_found(f"The feed document {document_id} does not exist.")
    return json_answer(
        200, {"feedDocumentId": document_id, **storage.download_url(call, document, with_content_encoding)}
    )


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
        query=listing.query_parameters("feedTypes"),
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
