"""The XML of Multi-Channel Fulfillment feeds: writing the orders, reading and judging Amazon's processing report.

Pure: no Airflow, no database, no network. Amazon's own schemas are confidential and not shipped; ``include/xsd`` has
one of our own, which every feed must pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal

from lxml import etree

from fba_operators import INCLUDE
from fba_operators.fulfillment.validation import FulfillmentRequest, RequestItem, clean, iso_country, problems
from fba_operators.settings.stores_file import Fulfillment

FEED_TYPE = "POST_FULFILLMENT_ORDER_REQUEST_DATA"
CONTENT_TYPE = "text/xml; charset=UTF-8"
MAX_MESSAGES = 1000
MAX_BYTES = 9 * 2**20  # Amazon advises to stay under 10 MiB
DEFAULT_COMMENT = "Thank you for your order."

_SCHEMA = INCLUDE / "xsd" / "fulfillment_order_feed.xsd"


class FeedError(ValueError):
    """A feed must not be sent: something in it is not as Amazon wants it."""


class ReportError(ValueError):
    """A processing report cannot be read, so nothing is known about the feed's messages."""


@dataclass(frozen=True)
class OrderFeed:
    """A feed ready for upload.

    ``messages`` says which fr_number each MessageID stands for, because Amazon's report names only the MessageID;
    ``left_over`` are the requests that did not fit.
    """

    document: bytes
    messages: dict[int, str]
    left_over: tuple[FulfillmentRequest, ...]


def build_order_feed(
    seller_id: str,
    requests: Sequence[FulfillmentRequest],
    settings: Fulfillment,
    *,
    max_messages: int = MAX_MESSAGES,
    max_bytes: int = MAX_BYTES,
) -> OrderFeed:
    """Write orders as one POST_FULFILLMENT_ORDER_REQUEST_DATA feed, in the order given, as many as fit.

    :param seller_id: the Selling Partner ID, e.g. ``A2EXAMPLE``
    :param requests: valid requests of one store
    :param max_bytes: size of the document that is not exceeded
    :raises FeedError: there is no request, one has problems (see :func:`fulfillment.problems`), one is given twice, or
        the document does not pass our schema; the message names requests and elements, never their texts
    """
    if not requests:
        raise FeedError("there is no request to build a feed of")
    messages: dict[int, str] = {}
    envelope = _envelope(seller_id)
    size = len(_to_bytes(envelope))
    for request in requests[:max_messages]:
        found = problems(request, settings)
        if found:
            raise FeedError(f"request {request.fr_number!a} must not be sent: {'; '.join(found)}")
        message_id = len(messages) + 1
        message = _message(message_id, request, settings)
        size += len(etree.tostring(message, encoding="UTF-8", xml_declaration=False))
        if size > max_bytes:
            break
        envelope.append(message)
        messages[message_id] = request.fr_number
    if not messages:
        raise FeedError(f"request {requests[0].fr_number} alone is over the feed's limit of {max_bytes} bytes")
    document = _to_bytes(envelope)
    _check(document)
    return OrderFeed(document, messages, tuple(requests[len(messages) :]))


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
    _add(order, "DisplayableOrderID", request.fr_number)
    _add(order, "DisplayableOrderDate", _utc(request.created_at))
    _add(order, "DisplayableOrderComment", clean(request.order_comment) or DEFAULT_COMMENT)
    _add(order, "DeliverySLA", settings.shipping_methods[request.shipping_method or ""])
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


def _add(parent: etree._Element, tag: str, text: str) -> None:
    if text:  # what is not given is left out; the schema says where that is allowed
        etree.SubElement(parent, tag).text = text


def _to_bytes(envelope: etree._Element) -> bytes:
    return etree.tostring(envelope, encoding="UTF-8", xml_declaration=True)


@cache
def _schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(_SCHEMA), _parser()))


def _check(document: bytes) -> None:
    """Refuse a document that our schema refuses, as it will be read on the other side."""
    schema = _schema()
    try:
        valid = schema.validate(etree.fromstring(document, _parser()))
    except (etree.LxmlError, ValueError) as error:
        raise FeedError("the feed is not well-formed XML") from error
    if not valid:
        # The schema's own messages quote the text, which may be an address.
        entries: Any = schema.error_log  # iterable, but not for lxml-stubs
        places = sorted({entry.path or "the envelope" for entry in entries})
        raise FeedError(f"the feed does not pass the project's schema at {', '.join(places[:10])}")


def _parser() -> etree.XMLParser:
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


@dataclass(frozen=True)
class Result:
    """One line of a processing report; ``message_id`` 0 is the whole document."""

    message_id: int
    is_error: bool
    code: str
    description: str


@dataclass(frozen=True)
class ProcessingReport:
    """What Amazon says it did with a feed; a count is None where the report has no summary."""

    status_code: str
    processed: int | None
    successful: int | None
    with_error: int | None
    with_warning: int | None
    results: tuple[Result, ...]


@dataclass(frozen=True)
class Verdict:
    """What became of one message; ``unknown`` must be looked up at Amazon before anything is sent again."""

    outcome: Literal["accepted", "rejected", "unknown"]
    code: str | None = None
    description: str | None = None
    warnings: tuple[str, ...] = ()


def parse_processing_report(document: bytes) -> ProcessingReport:
    """Read a feed's result document.

    :param document: the XML, not compressed
    :raises ReportError: it is no processing report that can be understood in full; the message quotes nothing of it
    """
    try:
        root = etree.fromstring(document, _parser())
    except (etree.LxmlError, ValueError) as error:
        line = f" (line {error.lineno})" if isinstance(error, etree.XMLSyntaxError) and error.lineno else ""
        raise ReportError(f"the processing report is not well-formed XML{line}") from None
    docinfo: Any = root.getroottree().docinfo
    if docinfo.doctype:
        raise ReportError("the processing report has a document type declaration, which Amazon's reports do not have")
    if root.tag != "AmazonEnvelope" or _text(root, "MessageType") != "ProcessingReport":
        raise ReportError("the result document is XML, but not a processing report")
    reports = root.findall("Message/ProcessingReport")
    if len(reports) != 1:
        raise ReportError(f"the result document holds {len(reports)} processing reports instead of one")
    report = reports[0]
    if len(report.findall("ProcessingSummary")) > 1:
        raise ReportError("the processing report holds more than one summary")
    summary = report.find("ProcessingSummary")
    processed, successful, with_error, with_warning = (
        None if summary is None else _count(summary, f"Messages{name}")
        for name in ("Processed", "Successful", "WithError", "WithWarning")
    )
    results = tuple(_result(element) for element in report.findall("Result"))
    return ProcessingReport(_text(report, "StatusCode"), processed, successful, with_error, with_warning, results)


def _result(element: etree._Element) -> Result:
    message_id = _count(element, "MessageID")
    kind = _text(element, "ResultCode")
    if message_id is None or kind not in ("Error", "Warning"):
        raise ReportError("a result of the processing report lacks a MessageID or is neither Error nor Warning")
    return Result(message_id, kind == "Error", _text(element, "ResultMessageCode"), _text(element, "ResultDescription"))


def _text(parent: etree._Element, tag: str) -> str:
    found = parent.findall(tag)
    if len(found) > 1:
        raise ReportError(f"the processing report has {tag} twice in one place")
    if found and len(found[0]):
        raise ReportError(f"{tag} of the processing report is not a text")
    return (found[0].text or "").strip() if found else ""


def _count(parent: etree._Element, tag: str) -> int | None:
    text = _text(parent, tag)
    if text and not re.fullmatch(r"[0-9]{1,20}", text):
        raise ReportError(f"{tag} of the processing report is not a number")
    return int(text) if text else None


def judge(report: ProcessingReport, sent: Iterable[int]) -> dict[int, Verdict]:
    """Decide what became of each message of a feed.

    A message with an Error is rejected; so are all when an Error for the whole document (MessageID 0) comes with no
    successful message. The others are accepted if the report adds up, and else unknown.

    :param sent: the MessageIDs of the feed
    """
    sent = list(sent)
    whole = [result for result in report.results if result.message_id == 0 and result.is_error]
    doubt = _does_not_add_up(report, sent)
    own: dict[int, list[Result]] = {message_id: [] for message_id in sent}
    for result in report.results:
        if result.message_id in own:
            own[result.message_id].append(result)
    verdicts = {}
    for message_id, results in own.items():
        warnings = tuple(_sentence([result]) for result in results if not result.is_error)
        errors = [result for result in results if result.is_error]
        if not errors and whole and report.successful == 0:
            errors = whole
        if errors:
            verdicts[message_id] = Verdict("rejected", errors[0].code, _sentence(errors), warnings)
        elif doubt:
            verdicts[message_id] = Verdict("unknown", description=doubt, warnings=warnings)
        else:
            verdicts[message_id] = Verdict("accepted", warnings=warnings)
    return verdicts


def _sentence(results: list[Result]) -> str:
    return "; ".join(dict.fromkeys(f"{result.code}: {result.description}".strip(": ") for result in results))


def _does_not_add_up(report: ProcessingReport, sent: list[int]) -> str | None:
    """Why the report cannot be believed where it is silent, or None."""
    failed = {result.message_id for result in report.results if result.is_error and result.message_id >= 1}
    if report.status_code != "Complete":
        return f"the processing report's StatusCode is not Complete but {report.status_code[:40]!a}"
    if report.processed is None or report.successful is None or report.with_error is None:
        return "the processing report has no complete summary"
    if report.processed != len(sent):
        return f"the processing report counts {report.processed} messages where {len(sent)} were sent"
    if report.successful + report.with_error != report.processed:
        return (
            f"the processing report counts {report.successful} successful and {report.with_error} with an error "
            f"of {report.processed} messages"
        )
    if report.with_error != len(failed):
        return f"the processing report counts {report.with_error} messages with an error and names {len(failed)}"
    if not failed <= set(sent):
        return "the processing report names messages that were not sent"
    return None
