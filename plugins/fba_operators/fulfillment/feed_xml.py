"""The XML of an order feed: a POST_FULFILLMENT_ORDER_REQUEST_DATA document, written and checked against our schema.

Amazon's own schemas are confidential and not shipped; ``include/xsd`` has one of our own, which every feed must pass.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from lxml import etree

from fba_operators import INCLUDE
from fba_operators.fulfillment.request import FulfillmentRequest, RequestItem, clean, iso_country
from fba_operators.fulfillment.validation import problems
from fba_operators.settings.models import Fulfillment

FEED_TYPE = "POST_FULFILLMENT_ORDER_REQUEST_DATA"
CONTENT_TYPE = "text/xml; charset=UTF-8"
MAX_MESSAGES = 1000
MAX_BYTES = 9 * 2**20  # Amazon advises to stay under 10 MiB
DEFAULT_COMMENT = "Thank you for your order."

_SCHEMA = INCLUDE / "xsd" / "fulfillment_order_feed.xsd"


class FeedError(ValueError):
    """A feed must not be sent: something in it is not as Amazon wants it."""


@dataclass(frozen=True)
class OrderFeed:
    """A feed ready for upload.

    :param messages: MessageID → FR number, because Amazon's processing report has only the MessageID
    :param left_over: requests that did not fit
    :param refused: FR number → why the request cannot be written as XML that passes the schema
    """

    document: bytes
    messages: dict[int, str]
    left_over: tuple[FulfillmentRequest, ...]
    refused: dict[str, str] = field(default_factory=dict)


def build_order_feed(
    seller_id: str,
    requests: Sequence[FulfillmentRequest],
    settings: Fulfillment,
    *,
    max_messages: int = MAX_MESSAGES,
    max_bytes: int = MAX_BYTES,
) -> OrderFeed:
    """Write orders as one feed, after checking each of them, or write nothing.

    The parameters are those of :func:`assemble_order_feed`.

    :raises FeedError: there is no request, one has problems (see :func:`validation.problems`), one occurs twice, or
        the document does not pass our schema; the message has FR numbers and element names, never their texts
    """
    for request in requests[:max_messages]:
        found = problems(request, settings)
        if found:
            raise FeedError(f"request {request.fr_number!a} must not be sent: {'; '.join(found)}")
    feed = assemble_order_feed(seller_id, requests, settings, max_messages=max_messages, max_bytes=max_bytes)
    if feed.refused:
        raise FeedError(next(iter(feed.refused.values())))
    return feed


def assemble_order_feed(
    seller_id: str,
    requests: Sequence[FulfillmentRequest],
    settings: Fulfillment,
    *,
    max_messages: int = MAX_MESSAGES,
    max_bytes: int = MAX_BYTES,
) -> OrderFeed:
    """Write orders as one feed, in the order given, as many as fit; one that cannot be written does not stop the others.

    :param seller_id: the Selling Partner ID, e.g. ``A2EXAMPLE``
    :param requests: valid requests of one store; one without a speed goes with that of its shipping method
    :param max_bytes: size of the document that is not exceeded
    :raises FeedError: no request is left, or the envelope does not pass our schema
    """
    if not requests:
        raise FeedError("there is no request to build a feed of")
    envelope = _envelope(seller_id)
    size = len(_to_bytes(envelope))
    messages: list[tuple[FulfillmentRequest, etree._Element]] = []
    refused: dict[str, str] = {}
    taken = 0
    for request in requests[:max_messages]:
        try:
            message = _message(len(messages) + 1, request, settings)
        except ValueError:  # lxml's, for characters that XML cannot hold; its text quotes them
            refused[request.fr_number] = "it has characters that XML cannot hold"
            taken += 1
            continue
        size += len(etree.tostring(message, encoding="UTF-8", xml_declaration=False))
        if size > max_bytes:
            break
        envelope.append(message)
        messages.append((request, message))
        taken += 1
    if not messages and not refused:
        raise FeedError(f"request {requests[0].fr_number} alone is over the feed's limit of {max_bytes} bytes")
    if not messages:
        return OrderFeed(b"", {}, tuple(requests[taken:]), refused)
    document = _to_bytes(envelope)
    if wrong := _schema_errors(document):
        refused |= _drop(envelope, messages, wrong)
        document = _to_bytes(envelope) if messages else b""
    numbers = {number: request.fr_number for number, (request, _) in enumerate(messages, start=1)}
    return OrderFeed(document, numbers, tuple(requests[taken:]), refused)


def _envelope(seller_id: str) -> etree._Element:
    envelope = etree.Element("AmazonEnvelope")
    header = etree.SubElement(envelope, "Header")
    _add(header, "DocumentVersion", "1.01")
    try:
        _add(header, "MerchantIdentifier", seller_id)
    except ValueError as error:
        raise FeedError("the seller_id of the store's connection has characters that XML cannot hold") from error
    _add(envelope, "MessageType", "FulfillmentOrderRequest")
    return envelope


def _message(message_id: int, request: FulfillmentRequest, settings: Fulfillment) -> etree._Element:
    """One order. The sequence of elements is the one Amazon's schema demands."""
    message = etree.Element("Message")
    _add(message, "MessageID", str(message_id))
    order = etree.SubElement(message, "FulfillmentOrderRequest")
    _add(order, "MerchantFulfillmentOrderID", request.fr_number)
    _add(order, "DisplayableOrderID", clean(request.displayable_order_number) or request.fr_number)
    _add(order, "DisplayableOrderDate", _utc(request.created_at))
    _add(order, "DisplayableOrderComment", clean(request.order_comment) or DEFAULT_COMMENT)
    _add(order, "DeliverySLA", request.speed or settings.shipping_methods[request.shipping_method or ""])
    _add(order, "FulfillmentPolicy", settings.fulfillment_policy)
    _add(order, "FulfillmentAction", "Ship")
    if settings.notify_customer:
        _add(order, "NotificationEmail", clean(request.ship_to_email))
    address = etree.SubElement(order, "DestinationAddress")
    country = iso_country(request.ship_to_country) or ""
    state = clean(request.ship_to_state)
    _add(address, "Name", clean(request.ship_to_name))
    _add(address, "AddressFieldOne", clean(request.ship_to_address_1))
    _add(address, "AddressFieldTwo", clean(request.ship_to_address_2))
    _add(address, "AddressFieldThree", clean(request.ship_to_address_3))
    _add(address, "City", clean(request.ship_to_city))
    _add(address, "StateOrRegion", state.upper() if country in ("US", "CA") else state)
    _add(address, "PostalCode", clean(request.ship_to_postal_code))
    _add(address, "CountryCode", country)
    _add(address, "PhoneNumber", clean(request.ship_to_phone))
    for item in request.items:
        _add_item(order, item)
    return message


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _add_item(order: etree._Element, item: RequestItem) -> None:
    element = etree.SubElement(order, "Item")
    _add(element, "MerchantSKU", item.sku)
    _add(element, "Quantity", str(item.quantity))
    _add(element, "MerchantFulfillmentOrderItemID", str(item.line))
    _add(element, "GiftMessage", clean(item.gift_message))


def _add(parent: etree._Element, tag: str, text: str) -> None:
    if text:  # what is not given is left out; the schema says where that is allowed
        etree.SubElement(parent, tag).text = text


def _to_bytes(envelope: etree._Element) -> bytes:
    return etree.tostring(envelope, encoding="UTF-8", xml_declaration=True)


@cache
def _schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(_SCHEMA), safe_parser()))


def _schema_errors(document: bytes) -> list[str]:
    """Paths of the elements that do not pass our schema, as the document will be read on the other side."""
    schema = _schema()
    try:
        valid = schema.validate(etree.fromstring(document, safe_parser()))
    except (etree.LxmlError, ValueError) as error:
        raise FeedError("the feed is not well-formed XML") from error
    if valid:
        return []
    # Paths only: the schema's own messages quote the text, which may be an address.
    entries: Any = schema.error_log  # iterable, but not for lxml-stubs
    return sorted({entry.path or "the envelope" for entry in entries})


def _drop(
    envelope: etree._Element, messages: list[tuple[FulfillmentRequest, etree._Element]], wrong: list[str]
) -> dict[str, str]:
    """Take messages that do not pass the schema out of a feed, and number the others anew.

    :param wrong: paths of the elements that do not pass
    :return: FR number → reason
    """
    reasons: dict[int, list[str]] = {}
    for path in wrong:
        inside = re.match(r"/AmazonEnvelope/Message(?:\[(\d+)\])?(?:/|$)", path)
        if inside is None:
            raise FeedError(f"the feed does not pass the project's schema at {path}")
        reasons.setdefault(int(inside[1] or 1) - 1, []).append(path)
    dropped = {}
    for place, paths in reasons.items():
        request, message = messages[place]
        envelope.remove(message)
        dropped[request.fr_number] = f"the feed does not pass the project's schema at {', '.join(paths[:10])}"
    messages[:] = [each for place, each in enumerate(messages) if place not in reasons]
    for number, (_, message) in enumerate(messages, start=1):
        message[0].text = str(number)
    return dropped


def safe_parser() -> etree.XMLParser:
    """A parser that follows no entity, document type or address, and leaves comments out of texts."""
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        recover=False,
        remove_comments=True,
        remove_pis=True,
    )
