"""Feed documents: a grammar of the sandbox's own for what Amazon's schemas demand, and the order each message asks for.

Whatever is wrong with the envelope condemns the whole document; whatever is wrong with one message's content is that
message's error.
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
    """The document cannot be read as an envelope; carries line and column."""

    def __init__(self, line: int, column: int = 1) -> None:
        super().__init__(
            "The XML you submitted is ill-formed at the Amazon Envelope XML level at (or near) "
            f"line {line}, column {column}."
        )


@dataclass(frozen=True, slots=True)
class Part:
    """An element of the grammar: how often it comes, and its text's pattern or the sequence of its children."""

    tag: str
    least: int = 1
    most: int | None = 1
    pattern: str = r".*"
    children: tuple["Part", ...] = ()


def _text(tag: str, longest: int | None = None, *, required: bool = False, pattern: str = "") -> Part:
    most = "" if longest is None else longest
    return Part(tag, int(required), 1, pattern or rf".{{{int(required)},{most}}}")


_DATE_TIME = r"\s*-?\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?\s*"
_ADDRESS = Part(
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
_ITEM = Part(
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
_ORDER = Part(
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
        Part("NotificationEmail", 0, 1, r"(?=.{1,64}\Z)[\w._\-+]+@([\w_\-]+\.)+\w+"),
        _ADDRESS,
        _ITEM,
    ),
)
_CANCELLATION = Part(
    "FulfillmentOrderCancellationRequest",
    children=(
        _text("MerchantFulfillmentOrderID", 40, required=True),
        Part("Item", 1, None, children=(_text("MerchantFulfillmentOrderItemID"),)),
    ),
)
_GRAMMARS = {ORDER_FEED: _ORDER, CANCEL_FEED: _CANCELLATION}
_ANYTHING = Part("*")
_ENVELOPE = Part(
    "AmazonEnvelope",
    children=(
        Part("Header", children=(Part("DocumentVersion", pattern=r"\d{1,2}\.\d{1,2}"), Part("MerchantIdentifier"))),
        Part("MessageType"),
        Part("PurgeAndReplace", 0, pattern=r"true|false|0|1"),
        Part("EffectiveDate", 0, pattern=_DATE_TIME),
        Part(
            "Message",
            1,
            None,
            children=(
                Part("MessageID", pattern=r"(?=.{1,20}\Z)0*[1-9][0-9]*"),
                Part("OperationType", 0, pattern=r"Update|Delete|PartialUpdate"),
                _ANYTHING,
            ),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Wrong:
    """What does not fit the grammar, and where."""

    text: str
    line: int


def _line(element: etree._Element | None) -> int:
    number: object = None if element is None else element.sourceline
    return number if isinstance(number, int) else 1


def _wrong(element: etree._Element, part: Part) -> list[Wrong]:
    """Everything under an element that does not fit its part of the grammar."""
    line = _line(element)
    found = []
    for name, value in element.attrib.items():
        declared = part.tag == "PerUnitDeclaredValue" and name == "currency" and value in CURRENCIES
        if not declared and not str(name).startswith("{http://www.w3.org/2001/XMLSchema-instance}"):
            found.append(Wrong(f"Attribute {name!s} is not allowed in {part.tag}.", line))
    if part.tag == "PerUnitDeclaredValue" and "currency" not in element.attrib:
        found.append(Wrong("PerUnitDeclaredValue needs a currency.", line))
    if part is _ANYTHING:
        return []
    children = list(element.iterchildren(tag=etree.Element))
    if not part.children:
        if children:
            found.append(Wrong(f"{part.tag} cannot have elements in it.", line))
        elif not re.fullmatch(part.pattern, _content(element), re.DOTALL):
            found.append(Wrong(f"The value of {part.tag} is not valid.", line))
        return found
    if _content(element).strip():
        found.append(Wrong(f"{part.tag} cannot have text in it.", line))
    place = 0
    for expected in part.children:
        count = 0
        while (
            place < len(children)
            and (expected is _ANYTHING or children[place].tag == expected.tag)
            and (expected.most is None or count < expected.most)
        ):
            found += _wrong(children[place], expected)
            count, place = count + 1, place + 1
        if count < expected.least:
            found.append(Wrong(f"{expected.tag} is missing in {part.tag}, or not where the schema has it.", line))
    if place < len(children):
        late = children[place]
        found.append(Wrong(f"{late.tag} is not expected here in {part.tag}.", _line(late)))
    return found


def _content(element: etree._Element) -> str:
    return "".join((element.text or "", *(child.tail or "" for child in element)))


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a feed: what it asks for, or what the schema has against it (then the request may be missing)."""

    message_id: int
    order_id: str
    wrong: tuple[str, ...]
    order: OrderRequest | None = None


def read(content: bytes, feed_type: str, seller_id: str, marketplace_id: str) -> list[Message]:
    """The messages of a feed document; IllFormedError where not even the envelope can be read."""
    if not content.removeprefix(b"\xef\xbb\xbf").startswith(b"<?xml"):
        raise IllFormedError(1)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        envelope = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as problem:
        line, column = problem.position
        raise IllFormedError(max(line, 1), max(column, 1)) from problem
    if envelope.tag != "AmazonEnvelope" or envelope.getroottree().docinfo.internalDTD is not None:
        raise IllFormedError(_line(envelope))
    if envelope.get(_SCHEMA_LOCATION, "amzn-envelope.xsd") != "amzn-envelope.xsd":
        raise IllFormedError(_line(envelope))
    faults = _wrong(envelope, _ENVELOPE)
    if faults:
        raise IllFormedError(faults[0].line)
    if envelope.findtext("Header/MerchantIdentifier") != seller_id:
        raise IllFormedError(2)
    if envelope.findtext("MessageType") != PAYLOADS[feed_type]:
        raise IllFormedError(_line(envelope.find("MessageType")))
    messages: dict[int, Message] = {}
    for element in envelope.iterchildren("Message"):
        message = _message(element, feed_type, marketplace_id)
        if message.message_id in messages:
            raise IllFormedError(_line(element))
        messages[message.message_id] = message
    return list(messages.values())


def _message(element: etree._Element, feed_type: str, marketplace_id: str) -> Message:
    payload = element[-1]
    if payload.tag != PAYLOADS[feed_type]:
        raise IllFormedError(_line(payload))
    message_id = int(element.findtext("MessageID") or 0)
    order_id = payload.findtext("MerchantFulfillmentOrderID") or ""
    wrong = tuple(one.text for one in _wrong(payload, _GRAMMARS[feed_type]))
    if wrong or feed_type == CANCEL_FEED:
        return Message(message_id, order_id, wrong)
    try:
        return Message(message_id, order_id, (), _order(payload, order_id, marketplace_id))
    except ValueError:
        return Message(message_id, order_id, ("DisplayableOrderDate is not a date that exists.",))


def _wall(text: str) -> float:
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
        displayable_date=_wall(shown_date) if shown_date else None,
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
