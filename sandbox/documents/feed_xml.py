"""Reads feed documents: validates them against rules modeled on Amazon's XML schemas and returns the requested orders.

An error in the envelope rejects the whole document; an error in the content of one message rejects that message only.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from lxml import etree

from sandbox.merchant.order_request import Line, OrderRequest

ORDER_FEED = "POST_FULFILLMENT_ORDER_REQUEST_DATA"
CANCEL_FEED = "POST_FULFILLMENT_ORDER_CANCELLATION_REQUEST_DATA"
PAYLOADS = {ORDER_FEED: "FulfillmentOrderRequest", CANCEL_FEED: "FulfillmentOrderCancellationRequest"}
CURRENCIES = frozenset(
    [
        "USD",
        "GBP",
        "EUR",
        "JPY",
        "CAD",
        "CNY",
        "INR",
        "MXN",
        "BRL",
        "AUD",
        "TRY",
        "SGD",
        "SEK",
        "PLN",
        "AED",
        "SAR",
        "EGP",
    ]
)
_SCHEMA_LOCATION = "{http://www.w3.org/2001/XMLSchema-instance}noNamespaceSchemaLocation"


class IllFormedError(Exception):
    """The envelope is invalid, so the whole document is rejected; the message gives line and column as Amazon does."""

    def __init__(self, line: int, column: int = 1) -> None:
        super().__init__(
            "The XML you submitted is ill-formed at the Amazon Envelope XML level at (or near) "
            f"line {line}, column {column}."
        )


@dataclass(frozen=True, slots=True)
class ElementRule:
    """The schema of one element: how often it may occur, and the pattern of its text or its sequence of children."""

    tag: str
    min_count: int = 1
    max_count: int | None = 1
    pattern: str = r".*"
    children: tuple["ElementRule", ...] = ()


def _text(tag: str, max_length: int | None = None, *, required: bool = False, pattern: str = "") -> ElementRule:
    most = "" if max_length is None else max_length
    return ElementRule(tag, int(required), 1, pattern or rf".{{{int(required)},{most}}}")


_DATE_TIME = r"\s*-?\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?\s*"
_ADDRESS = ElementRule(
    "DestinationAddress",
    children=(
        _text("Name", 50, required=True),
        _text("AddressFieldOne", 60, required=True),
        _text("AddressFieldTwo", 60),
        _text("AddressFieldThree", 60),
        _text("City"),
        _text("DistrictOrCounty"),
        _text("County"),
        _text("StateOrRegion"),
        _text("PostalCode"),
        _text("CountryCode", required=True, pattern=r".{2}"),
        _text("PhoneNumber", 50),
    ),
)
_ITEM = ElementRule(
    "Item",
    1,
    None,
    children=(
        _text("MerchantSKU", pattern=r".{1,40}"),
        _text("Quantity", pattern=r"\s*\+?[0-9]+\s*"),
        _text("MerchantFulfillmentOrderItemID"),
        _text("GiftMessage"),
        _text("DisplayableComment"),
        _text("FulfillmentNetworkSKU"),
        _text("OrderItemDisposition"),
        _text("PerUnitDeclaredValue", pattern=r"\s*[+-]?[0-9]+(\.[0-9]{1,2})?\s*"),
    ),
)
_ORDER = ElementRule(
    "FulfillmentOrderRequest",
    children=(
        _text("MerchantFulfillmentOrderID", 40, required=True),
        _text("DisplayableOrderID"),
        _text("DisplayableOrderDate", pattern=_DATE_TIME),
        _text("DisplayableOrderComment"),
        _text("DeliverySLA"),
        _text("FulfillmentPolicy"),
        _text("FulfillmentMethod", pattern=r"Consumer|Removal|Destroy"),
        _text("FulfillmentAction"),
        ElementRule("NotificationEmail", 0, 1, r"(?=.{1,64}\Z)[\w._\-+]+@([\w_\-]+\.)+\w+"),
        _ADDRESS,
        _ITEM,
    ),
)
_CANCELLATION = ElementRule(
    "FulfillmentOrderCancellationRequest",
    children=(
        _text("MerchantFulfillmentOrderID", 40, required=True),
        ElementRule("Item", 1, None, children=(_text("MerchantFulfillmentOrderItemID"),)),
    ),
)
_RULES = {ORDER_FEED: _ORDER, CANCEL_FEED: _CANCELLATION}
_ANY_ELEMENT = ElementRule("*")
_ENVELOPE = ElementRule(
    "AmazonEnvelope",
    children=(
        ElementRule(
            "Header",
            children=(ElementRule("DocumentVersion", pattern=r"\d{1,2}\.\d{1,2}"), ElementRule("MerchantIdentifier")),
        ),
        ElementRule("MessageType"),
        ElementRule("PurgeAndReplace", 0, pattern=r"true|false|0|1"),
        ElementRule("EffectiveDate", 0, pattern=_DATE_TIME),
        ElementRule(
            "Message",
            1,
            None,
            children=(
                ElementRule("MessageID", pattern=r"(?=.{1,20}\Z)0*[1-9][0-9]*"),
                ElementRule("OperationType", 0, pattern=r"Update|Delete|PartialUpdate"),
                _ANY_ELEMENT,
            ),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class SchemaViolation:
    """One violation of the schema, and its line in the document."""

    text: str
    line: int


def _line_number(element: etree._Element | None) -> int:
    number: object = None if element is None else element.sourceline
    return number if isinstance(number, int) else 1


def _schema_errors(element: etree._Element, rule: ElementRule) -> list[SchemaViolation]:
    """Return every schema violation in an element and its children."""
    line = _line_number(element)
    violations = []
    for name, value in element.attrib.items():
        declared = rule.tag == "PerUnitDeclaredValue" and name == "currency" and value in CURRENCIES
        if not declared and not str(name).startswith("{http://www.w3.org/2001/XMLSchema-instance}"):
            violations.append(SchemaViolation(f"Attribute {name!s} is not allowed in {rule.tag}.", line))
    if rule.tag == "PerUnitDeclaredValue" and "currency" not in element.attrib:
        violations.append(SchemaViolation("PerUnitDeclaredValue needs a currency.", line))
    if rule is _ANY_ELEMENT:
        return []
    children = list(element.iterchildren(tag=etree.Element))
    if not rule.children:
        if children:
            violations.append(SchemaViolation(f"{rule.tag} cannot have elements in it.", line))
        elif not re.fullmatch(rule.pattern, _own_text(element), re.DOTALL):
            violations.append(SchemaViolation(f"The value of {rule.tag} is not valid.", line))
        return violations
    if _own_text(element).strip():
        violations.append(SchemaViolation(f"{rule.tag} cannot have text in it.", line))
    position = 0
    for expected in rule.children:
        count = 0
        while (
            position < len(children)
            and (expected is _ANY_ELEMENT or children[position].tag == expected.tag)
            and (expected.max_count is None or count < expected.max_count)
        ):
            violations += _schema_errors(children[position], expected)
            count, position = count + 1, position + 1
        if count < expected.min_count:
            violations.append(
                SchemaViolation(f"{expected.tag} is missing in {rule.tag}, or not where the schema has it.", line)
            )
    if position < len(children):
        unexpected = children[position]
        violations.append(
            SchemaViolation(f"{unexpected.tag} is not expected here in {rule.tag}.", _line_number(unexpected))
        )
    return violations


def _own_text(element: etree._Element) -> str:
    return "".join((element.text or "", *(child.tail or "" for child in element)))


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a feed: the order it requests, or its schema errors; `order` is None for a cancellation."""

    message_id: int
    order_id: str
    schema_errors: tuple[str, ...]
    order: OrderRequest | None = None


def read(content: bytes, feed_type: str, seller_id: str, marketplace_id: str) -> list[Message]:
    """Return the messages of a feed document; IllFormedError if its envelope is invalid."""
    if not content.removeprefix(b"\xef\xbb\xbf").startswith(b"<?xml"):
        raise IllFormedError(1)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        envelope = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        line, column = error.position
        raise IllFormedError(max(line, 1), max(column, 1)) from error
    if envelope.tag != "AmazonEnvelope" or envelope.getroottree().docinfo.internalDTD is not None:
        raise IllFormedError(_line_number(envelope))
    if envelope.get(_SCHEMA_LOCATION, "amzn-envelope.xsd") != "amzn-envelope.xsd":
        raise IllFormedError(_line_number(envelope))
    violations = _schema_errors(envelope, _ENVELOPE)
    if violations:
        raise IllFormedError(violations[0].line)
    if envelope.findtext("Header/MerchantIdentifier") != seller_id:
        raise IllFormedError(2)
    if envelope.findtext("MessageType") != PAYLOADS[feed_type]:
        raise IllFormedError(_line_number(envelope.find("MessageType")))
    messages: dict[int, Message] = {}
    for element in envelope.iterchildren("Message"):
        message = _message(element, feed_type, marketplace_id)
        if message.message_id in messages:
            raise IllFormedError(_line_number(element))
        messages[message.message_id] = message
    return list(messages.values())


def _message(element: etree._Element, feed_type: str, marketplace_id: str) -> Message:
    payload = element[-1]
    if payload.tag != PAYLOADS[feed_type]:
        raise IllFormedError(_line_number(payload))
    message_id = int(element.findtext("MessageID") or 0)
    order_id = payload.findtext("MerchantFulfillmentOrderID") or ""
    schema_errors = tuple(one.text for one in _schema_errors(payload, _RULES[feed_type]))
    if schema_errors or feed_type == CANCEL_FEED:
        return Message(message_id, order_id, schema_errors)
    try:
        return Message(message_id, order_id, (), _order(payload, order_id, marketplace_id))
    except ValueError:
        return Message(message_id, order_id, ("DisplayableOrderDate is not a date that exists.",))


def _timestamp(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _order(payload: etree._Element, order_id: str, marketplace_id: str) -> OrderRequest:
    def text(path: str) -> str:
        return payload.findtext(path) or ""

    shown_date = text("DisplayableOrderDate").strip()
    address = {
        name: payload.findtext(f"DestinationAddress/{tag}") or ""
        for name, tag in (
            ("name", "Name"),
            ("addressLine1", "AddressFieldOne"),
            ("addressLine2", "AddressFieldTwo"),
            ("addressLine3", "AddressFieldThree"),
            ("city", "City"),
            ("districtOrCounty", "DistrictOrCounty"),
            ("stateOrRegion", "StateOrRegion"),
            ("postalCode", "PostalCode"),
            ("countryCode", "CountryCode"),
            ("phone", "PhoneNumber"),
        )
    }
    return OrderRequest(
        order_id=order_id,
        marketplace_id=marketplace_id,
        displayable_id=text("DisplayableOrderID") or order_id,
        displayable_date=_timestamp(shown_date) if shown_date else None,
        comment=text("DisplayableOrderComment"),
        speed=text("DeliverySLA"),
        policy=text("FulfillmentPolicy") or "FillOrKill",
        action=text("FulfillmentAction") or "Ship",
        emails=tuple(email for email in (text("NotificationEmail"),) if email),
        address={name: value for name, value in address.items() if value},
        lines=tuple(
            Line(
                item_id=item.findtext("MerchantFulfillmentOrderItemID") or str(number),
                sku=item.findtext("MerchantSKU") or "",
                quantity=int(item.findtext("Quantity") or 0),
                gift_message=item.findtext("GiftMessage") or "",
                comment=item.findtext("DisplayableComment") or "",
            )
            for number, item in enumerate(payload.iterchildren("Item"), start=1)
        ),
    )
