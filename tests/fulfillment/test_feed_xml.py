"""Feed XML: what is written passes the schema, what is read back is judged as Amazon means it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from fba_operators.fulfillment import feed_xml
from fba_operators.fulfillment.feed_xml import FeedError, build_order_feed
from fba_operators.fulfillment.processing_report import (
    ProcessingReport,
    ReportError,
    Result,
    Verdict,
    judge_messages,
    parse_processing_report,
)
from fba_operators.fulfillment.request import FulfillmentRequest, RequestItem
from fba_operators.fulfillment.validation import problems
from fba_operators.settings.models import Fulfillment
from tests.stores import SELLER

SCHEMA = etree.XMLSchema(file=str(Path(__file__).parents[2] / "include" / "xsd" / "fulfillment_order_feed.xsd"))
DEFAULT = Fulfillment()
NOTIFY = Fulfillment.model_validate({"notify_customer": True, "fulfillment_policy": "FillAll", "allow_po_boxes": True})
GOOD = FulfillmentRequest(
    store="amazon_us",
    fr_number="WEB-1",
    created_at=datetime(2026, 11, 20, 10, 30, 5, 999, tzinfo=timezone(timedelta(hours=1))),
    items=(RequestItem(1, "SKU-RED-M", 2, Decimal("10.00"), "Red", "012345678905"), RequestItem(2, " <&> ", 1)),
    shipping_method="Standard",
    ship_to_name="Jane Example",
    ship_to_address_1="  100 Example Street ",
    ship_to_address_2="Apt 4",
    ship_to_city="Montréal",
    ship_to_state="qc",
    ship_to_postal_code="H2Y 1C6",
    ship_to_country="ca",
    ship_to_email="jane@example.com",
    ship_to_phone="514 555 0100",
)


def leaves(document: bytes) -> list[tuple[str, str]]:
    """Tag and text of every element without children, in the order of the document."""
    return [(element.tag, element.text) for element in etree.fromstring(document).iter() if not len(element)]


# --- writing


def test_a_feed_has_every_element_in_the_order_amazon_demands():
    feed = build_order_feed(SELLER, [GOOD], NOTIFY)
    assert feed.document.startswith(b"<?xml version='1.0' encoding='UTF-8'?>")
    assert leaves(feed.document) == [
        ("DocumentVersion", "1.01"),
        ("MerchantIdentifier", SELLER),
        ("MessageType", "FulfillmentOrderRequest"),
        ("MessageID", "1"),
        ("MerchantFulfillmentOrderID", "WEB-1"),
        ("DisplayableOrderID", "WEB-1"),
        ("DisplayableOrderDate", "2026-11-20T09:30:05Z"),
        ("DisplayableOrderComment", "Thank you for your order."),
        ("DeliverySLA", "Standard"),
        ("FulfillmentPolicy", "FillAll"),
        ("FulfillmentAction", "Ship"),
        ("NotificationEmail", "jane@example.com"),
        ("Name", "Jane Example"),
        ("AddressFieldOne", "100 Example Street"),
        ("AddressFieldTwo", "Apt 4"),
        ("City", "Montréal"),
        ("StateOrRegion", "QC"),
        ("PostalCode", "H2Y 1C6"),
        ("CountryCode", "CA"),
        ("PhoneNumber", "514 555 0100"),
        ("MerchantSKU", "SKU-RED-M"),
        ("Quantity", "2"),
        ("MerchantFulfillmentOrderItemID", "1"),
        ("MerchantSKU", " <&> "),
        ("Quantity", "1"),
        ("MerchantFulfillmentOrderItemID", "2"),
    ]
    assert (feed.messages, feed.left_over) == ({1: "WEB-1"}, ())


def test_what_a_request_does_not_have_is_left_out():
    bare = replace(
        GOOD, ship_to_address_2=" ", ship_to_city=None, ship_to_state=None, ship_to_phone=None, ship_to_country="JP"
    )
    tags = {tag for tag, _ in leaves(build_order_feed(SELLER, [bare], DEFAULT).document)}
    assert not tags & {"AddressFieldTwo", "City", "StateOrRegion", "PhoneNumber", "NotificationEmail"}
    assert "NotificationEmail" not in {
        tag for tag, _ in leaves(build_order_feed(SELLER, [replace(GOOD, ship_to_email=None)], NOTIFY).document)
    }


def test_the_delivery_sla_comes_from_the_mapping_and_the_comment_from_the_request():
    mapped = Fulfillment.model_validate({"shipping_methods": {"next day": "Priority"}})
    request = replace(GOOD, shipping_method="next day", order_comment=" Merci\nbeaucoup ", ship_to_country="UK")
    found = dict(leaves(build_order_feed(SELLER, [request], mapped).document))
    assert (found["DeliverySLA"], found["DisplayableOrderComment"]) == ("Priority", "Merci\nbeaucoup")
    assert (found["CountryCode"], found["StateOrRegion"]) == ("GB", "qc")


def numbered(count: int) -> list[FulfillmentRequest]:
    return [replace(GOOD, fr_number=f"WEB-{n}") for n in range(1, count + 1)]


def test_a_feed_takes_a_thousand_messages_and_leaves_the_rest():
    requests = numbered(1002)
    feed = build_order_feed(SELLER, requests, DEFAULT)
    assert feed.messages == {n: f"WEB-{n}" for n in range(1, 1001)}
    assert feed.left_over == tuple(requests[1000:])
    ids = [text for tag, text in leaves(feed.document) if tag == "MessageID"]
    assert ids == [str(n) for n in range(1, 1001)]


def test_a_feed_keeps_to_its_size():
    requests = numbered(9)
    whole = build_order_feed(SELLER, requests, DEFAULT).document
    assert build_order_feed(SELLER, requests, DEFAULT, max_bytes=len(whole)).document == whole
    cut = build_order_feed(SELLER, requests, DEFAULT, max_bytes=len(whole) - 1)
    assert cut.left_over == (requests[8],)
    assert len(cut.document) < len(whole)
    with pytest.raises(FeedError, match="WEB-1 alone is over"):
        build_order_feed(SELLER, requests, DEFAULT, max_bytes=500)


def test_nine_mebibytes_are_the_default_limit():
    long = replace(GOOD, order_comment="é" * 750, items=tuple(RequestItem(n, "Ж" * 40, 1) for n in range(1, 101)))
    requests = [replace(long, fr_number=f"WEB-{n}") for n in range(1, 601)]
    feed = build_order_feed(SELLER, requests, DEFAULT)
    assert 9 * 2**20 - 25_000 < len(feed.document) <= 9 * 2**20
    assert len(feed.messages) + len(feed.left_over) == 600


@pytest.mark.parametrize(
    ("requests", "seller", "said"),
    [
        ([], SELLER, "no request"),
        ([GOOD, GOOD], SELLER, "does not pass the project's schema at"),
        ([GOOD], "", "does not pass the project's schema at"),
        ([GOOD], "A B", "does not pass the project's schema at /AmazonEnvelope/Header/MerchantIdentifier"),
        ([GOOD], "\x00", "seller_id"),
        (
            [GOOD, replace(GOOD, fr_number="WEB-2", ship_to_name=None)],
            SELLER,
            "request 'WEB-2' must not be sent: ship-to",
        ),
    ],
)
def test_a_feed_that_is_not_right_is_not_built(requests, seller, said):
    with pytest.raises(FeedError) as caught:
        build_order_feed(seller, requests, DEFAULT)
    assert said in str(caught.value)
    assert "Example" not in str(caught.value)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("<DeliverySLA>Standard</DeliverySLA>", "<DeliverySLA>ScheduledDelivery</DeliverySLA>"),
        ("<DeliverySLA>Standard</DeliverySLA>", "<ShippingSpeedCategory>Standard</ShippingSpeedCategory>"),
        ("<FulfillmentAction>Ship", "<FulfillmentAction>Hold"),
        ("<Quantity>2", "<Quantity>0"),
        ("<Quantity>2", "<Quantity>251"),
        ("T09:30:05Z", "T09:30:05"),
        ("T09:30:05Z", "T25:30:05Z"),
        ("WEB-1</MerchantF", "WEB 1</MerchantF"),
        ("<City>Montréal</City>", "<City> </City>"),
        ("<Name>Jane Example</Name>", ""),
        ("<Name>Jane Example</Name>", "<Name>Jane\nExample</Name>"),
        ("<Name>Jane Example</Name>", f"<Name>{'x' * 51}</Name>"),
        ("<CountryCode>CA", "<CountryCode>CAN"),
        ("<MessageID>1", "<MessageID>0"),
        ("<MerchantFulfillmentOrderItemID>2", "<MerchantFulfillmentOrderItemID>1"),
        (
            "<PostalCode>H2Y 1C6</PostalCode><CountryCode>CA</CountryCode>",
            "<CountryCode>CA</CountryCode><PostalCode>1</PostalCode>",
        ),
        ("<MessageType>FulfillmentOrderRequest", "<MessageType>Product"),
        ("jane@example.com", "jane"),
    ],
)
def test_the_schema_refuses_a_change_to_a_good_feed(right, wrong):
    document = build_order_feed(SELLER, [GOOD], NOTIFY).document.decode()
    assert document.count(right) == 1
    assert SCHEMA.validate(etree.fromstring(document.encode()))
    assert not SCHEMA.validate(etree.fromstring(document.replace(right, wrong).encode()))


def line(longest: int, smallest: int = 1):
    return st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=smallest, max_size=longest)


filled = {length: line(length).filter(str.strip) for length in (40, 50, 60)}
valid_requests = st.builds(
    FulfillmentRequest,
    store=st.just("amazon_us"),
    fr_number=st.from_regex(r"[A-Za-z0-9._-]{1,40}", fullmatch=True),
    created_at=st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)),
    items=st.lists(st.tuples(filled[40], st.integers(1, 20)), min_size=1, max_size=12).map(
        lambda pairs: tuple(RequestItem(n, sku, quantity) for n, (sku, quantity) in enumerate(pairs, 1))
    ),
    shipping_method=st.sampled_from(["Standard", "Expedited", "Priority"]),
    ship_to_name=filled[50],
    ship_to_address_1=filled[60],
    ship_to_address_2=st.none() | line(60, 0),
    ship_to_city=filled[60],
    ship_to_state=st.sampled_from(["WA", "ap", "DC"]),
    ship_to_postal_code=filled[40],
    ship_to_country=st.sampled_from(["US", "us"]),
    ship_to_email=st.none() | st.from_regex(r"[\w.+-]{1,20}@([a-z-]{1,9}\.){1,3}[a-z]{1,9}", fullmatch=True),
    ship_to_phone=st.none() | line(50, 0),
    order_comment=st.none()
    | st.text(st.characters(exclude_categories=["C"]) | st.sampled_from("\n\t\r"), max_size=750),
).filter(
    lambda request: request.fr_number not in (".", "..") and not problems(replace(request, ship_to_email=None), NOTIFY)
)


@settings(max_examples=100, deadline=None)
@given(st.lists(valid_requests, min_size=1, max_size=4, unique_by=lambda request: request.fr_number))
def test_the_xml_of_any_valid_request_passes_the_schema_and_says_the_same(requests):
    requests = [request for request in requests if not problems(request, NOTIFY)] or [GOOD]
    feed = build_order_feed(SELLER, requests, NOTIFY)
    root = etree.fromstring(feed.document)
    assert SCHEMA.validate(root)
    assert list(feed.messages.values()) == [request.fr_number for request in requests]
    for order, request in zip(root.iter("FulfillmentOrderRequest"), requests, strict=True):
        assert order.findtext("MerchantFulfillmentOrderID") == request.fr_number
        assert order.findtext("DestinationAddress/Name") == request.ship_to_name.strip()
        found = [(item.findtext("MerchantSKU"), int(item.findtext("Quantity"))) for item in order.iter("Item")]
        assert found == [(item.sku, item.quantity) for item in request.items]


anything = st.none() | st.text(max_size=70) | st.text(st.characters(), max_size=3)


@settings(max_examples=200, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            **{
                name: anything
                for name in GOOD.__dataclass_fields__
                if name.startswith("ship_") or name == "order_comment"
            },
            "fr_number": st.text(max_size=45),
            "items": st.lists(
                st.builds(
                    RequestItem, line=st.integers(-1, 3), sku=st.text(max_size=45), quantity=st.integers(-3, 300)
                ),
                max_size=3,
            ).map(tuple),
        },
    ),
    st.booleans(),
)
def test_any_invalid_request_is_never_built_and_any_other_passes(change, notify):
    request = replace(GOOD, **change)
    rules = NOTIFY if notify else DEFAULT
    if problems(request, rules):
        with pytest.raises(FeedError, match="must not be sent"):
            build_order_feed(SELLER, [request], rules)
    else:
        assert SCHEMA.validate(etree.fromstring(build_order_feed(SELLER, [request], rules).document))


def test_a_fault_of_our_own_stops_at_the_schema_without_quoting_anyone(monkeypatch):
    monkeypatch.setattr(feed_xml, "problems", lambda request, settings: [])
    with pytest.raises(FeedError, match="schema at /AmazonEnvelope/Message/FulfillmentOrderRequest/Dest") as caught:
        build_order_feed(SELLER, [replace(GOOD, ship_to_name="Secret " * 20)], DEFAULT)
    assert "Secret" not in str(caught.value)


# --- reading


def report_xml(body: str, message_type: str = "ProcessingReport", prologue: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{prologue}<AmazonEnvelope xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xsi:noNamespaceSchemaLocation="amzn-envelope.xsd"><Header><DocumentVersion>1.02</DocumentVersion>'
        f"<MerchantIdentifier>{SELLER}</MerchantIdentifier></Header><MessageType>{message_type}</MessageType><Message>"
        f"<MessageID>1</MessageID><ProcessingReport>{body}</ProcessingReport></Message></AmazonEnvelope>"
    ).encode()


def summary(processed=3, successful=1, with_error=2, with_warning=0) -> str:
    counts = {"Processed": processed, "Successful": successful, "WithError": with_error, "WithWarning": with_warning}
    inner = "".join(f"<Messages{name}>{count}</Messages{name}>" for name, count in counts.items())
    return f"<ProcessingSummary>{inner}</ProcessingSummary>"


def result(message_id=2, kind="Error", code="25", description="No such SKU", extra="") -> str:
    return (
        f"<Result><MessageID>{message_id}</MessageID><ResultCode>{kind}</ResultCode><ResultMessageCode>{code}"
        f"</ResultMessageCode><ResultDescription>{description}</ResultDescription>{extra}</Result>"
    )


STATUS = "<DocumentTransactionID>53935018605</DocumentTransactionID><StatusCode>Complete</StatusCode>"


def test_a_report_is_read_in_full():
    extra = "<AdditionalInfo><SKU>SKU-BLUE-L</SKU></AdditionalInfo>"
    body = STATUS + summary() + result(extra=extra) + result(0, code="", description="bad &amp; <!-- x -->worse")
    found = parse_processing_report(report_xml(body + result(3, "Warning", "7", "")))
    assert found == ProcessingReport(
        "Complete",
        *(3, 1, 2, 0),
        (Result(2, True, "25", "No such SKU"), Result(0, True, "", "bad & worse"), Result(3, False, "7", "")),
    )


def test_a_report_may_lack_its_summary_and_results():
    found = parse_processing_report(report_xml("<StatusCode>Processing</StatusCode>"))
    assert found == ProcessingReport("Processing", None, None, None, None, ())


GOOD_REPORT = report_xml(STATUS + summary() + result() + result(3))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"", "not well-formed"),
        (b"feed processing summary:\n\tNumber of records processed\t1", "not well-formed XML"),
        (b"\x1f\x8b\x08\x00compressed", "not well-formed"),
        (GOOD_REPORT[:-20], r"not well-formed XML \(line 1\)"),
        (b"<html/>", "not a processing report"),
        (report_xml(STATUS, message_type="Product"), "not a processing report"),
        (report_xml(STATUS).replace(b"<ProcessingReport>", b"<R>").replace(b"</ProcessingReport>", b"</R>"), "holds 0"),
        (report_xml(STATUS + "</ProcessingReport><ProcessingReport>"), "holds 2 processing reports"),
        (report_xml(STATUS + summary() + summary()), "more than one summary"),
        (report_xml(STATUS + "<StatusCode>Rejected</StatusCode>"), "StatusCode twice"),
        (report_xml(STATUS + summary(processed="three")), "MessagesProcessed of the processing report is not a number"),
        (report_xml(STATUS + summary(successful=-1)), "MessagesSuccessful of the processing report is not a number"),
        (
            report_xml(STATUS + summary(with_error="<b>1</b>")),
            "MessagesWithError of the processing report is not a text",
        ),
        (report_xml(STATUS + summary() + result("")), "lacks a MessageID"),
        (report_xml(STATUS + summary() + result("x")), "MessageID of the processing report is not a number"),
        (report_xml(STATUS + summary() + result(kind="Fatal")), "neither Error nor Warning"),
        (report_xml(STATUS, prologue="<!DOCTYPE AmazonEnvelope>"), "document type declaration"),
        (
            report_xml(STATUS + "&e;", prologue='<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>'),
            "document type",
        ),
        (b"<a>" * 300 + b"</a>" * 300, "not well-formed XML"),
    ],
)
def test_what_is_no_report_is_an_error(document, said):
    with pytest.raises(ReportError, match=said):
        parse_processing_report(document)


def test_entities_are_not_expanded(tmp_path):
    (tmp_path / "secret").write_text("Complete")
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    for prologue, entity in (
        (f'<!DOCTYPE a [<!ENTITY e0 "ha">{levels}]>', "&e9;"),
        (f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]>', "&x;"),
        (f'<!DOCTYPE a SYSTEM "file://{tmp_path}/secret">', ""),
        ('<!DOCTYPE a SYSTEM "http://127.0.0.1:9/none.dtd">', ""),
    ):
        with pytest.raises(ReportError):
            parse_processing_report(report_xml(f"<StatusCode>{entity}</StatusCode>", prologue=prologue))


def mutated(document: bytes):
    """A report with some bytes cut out, put in or changed."""
    edit = st.tuples(st.integers(0, len(document)), st.integers(0, 30), st.binary(max_size=8))

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        changed = document
        for start, length, put in edits:
            changed = changed[:start] + put + changed[start + length :]
        return changed

    return st.lists(edit, min_size=1, max_size=4).map(apply)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300) | mutated(GOOD_REPORT))
def test_any_bytes_are_a_report_or_the_declared_error(document):
    try:
        found = parse_processing_report(document)
    except ReportError:
        return  # anything else that is raised fails the test
    assert set(judge_messages(found, [1, 2, 3])) == {1, 2, 3}


# --- judging

E, W = True, False


def report(results, processed=3, successful=3, with_error=0, status="Complete") -> ProcessingReport:
    found = tuple(Result(message_id, is_error, "c", f"text {message_id}") for message_id, is_error in results)
    return ProcessingReport(status, processed, successful, with_error, 0, found)


@pytest.mark.parametrize(
    ("found", "outcomes"),
    [
        # it adds up
        (report([]), "AAA"),
        (report([(2, E)], successful=2, with_error=1), "ARA"),
        (report([(1, E), (2, E), (3, E)], successful=0, with_error=3), "RRR"),
        (report([(2, E), (2, E)], successful=2, with_error=1), "ARA"),
        (report([(2, W), (3, W)]), "AAA"),
        (report([(2, W), (2, E)], successful=2, with_error=1), "ARA"),
        # it does not
        (report([], status="Processing"), "UUU"),
        (report([], status="Rejected"), "UUU"),
        (report([], status=""), "UUU"),
        (report([(2, E)], successful=2, with_error=1, status="Rejected"), "URU"),
        (report([], processed=2, successful=2), "UUU"),
        (report([], processed=4, successful=4), "UUU"),
        (report([], processed=0, successful=0), "UUU"),
        (report([], successful=2), "UUU"),
        (report([], successful=2, with_error=1), "UUU"),
        (report([(2, E)]), "URU"),
        (report([(2, E)], successful=1, with_error=2), "URU"),
        (report([(2, E), (3, E)], successful=2, with_error=1), "URR"),
        (report([(2, E), (9, E)], successful=1, with_error=2), "URU"),
        (report([(9, E)], successful=2, with_error=1), "UUU"),
        (report([(2, W)], successful=2), "UUU"),
        (ProcessingReport("Complete", None, None, None, None, ()), "UUU"),
        (ProcessingReport("Complete", 3, 3, None, None, ()), "UUU"),
        (ProcessingReport("Complete", 3, None, 0, None, ()), "UUU"),
        # an Error for the whole document
        (report([(0, E)], successful=0, with_error=3), "RRR"),
        (report([(0, E)], processed=0, successful=0), "RRR"),
        (report([(0, E)], processed=1, successful=0, with_error=1, status="Rejected"), "RRR"),
        (report([(0, E), (2, E)], successful=1, with_error=2), "URU"),
        (report([(0, E)], successful=3, status="Rejected"), "UUU"),
        (ProcessingReport("Complete", None, None, None, None, (Result(0, E, "c", "d"),)), "UUU"),
        # a Warning for it says nothing about failure
        (report([(0, W)]), "AAA"),
        (report([(0, W)], processed=0, successful=0), "UUU"),
    ],
)
def test_what_a_report_says_about_three_messages(found, outcomes):
    verdicts = judge_messages(found, [1, 2, 3])
    assert "".join(verdicts[n].outcome[0].upper() for n in (1, 2, 3)) == outcomes
    for verdict in verdicts.values():
        assert (verdict.code is not None) == (verdict.outcome == "rejected")
        assert (verdict.description is not None) == (verdict.outcome != "accepted")


def test_a_verdict_carries_codes_texts_and_warnings():
    found = ProcessingReport(
        "Complete", 3, 2, 1, 1,
        (
            Result(2, E, "25", "No such SKU"),
            Result(2, E, "26", "No stock"),
            Result(2, E, "25", "No such SKU"),
            Result(2, W, "7", "Odd address"),
            Result(1, W, "", "Late"),
            Result(1, W, "8", "Later"),
        ),
    )  # fmt: skip
    verdicts = judge_messages(found, [1, 2, 3])
    assert (verdicts[2].outcome, verdicts[2].code) == ("rejected", "25")
    assert verdicts[2].description == "25: No such SKU; 26: No stock"
    assert verdicts[2].warnings == ("7: Odd address",)
    assert (verdicts[1].outcome, verdicts[1].warnings) == ("accepted", ("Late", "8: Later"))
    assert verdicts[3] == Verdict("accepted")


def test_rejection_as_a_whole_keeps_the_reason_of_a_message_that_has_its_own():
    found = ProcessingReport("Complete", 2, 0, 2, 0, (Result(0, E, "5000", "Ill-formed"), Result(2, E, "25", "No SKU")))
    verdicts = judge_messages(found, [1, 2])
    assert {n: (v.outcome, v.code) for n, v in verdicts.items()} == {1: ("rejected", "5000"), 2: ("rejected", "25")}


def test_an_unknown_verdict_says_why():
    verdicts = judge_messages(report([], processed=2, successful=2), [1, 2, 3])
    assert verdicts[1].description == "the processing report counts 2 messages where 3 were sent"


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=6),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_nothing_is_accepted_unless_the_numbers_add_up(results, processed, successful, with_error):
    verdicts = judge_messages(report(results, processed, successful, with_error), [1, 2, 3, 4])
    errors = {message_id for message_id, is_error in results if is_error}
    accepted = {n for n, verdict in verdicts.items() if verdict.outcome == "accepted"}
    assert not accepted & errors
    if accepted:
        assert processed == 4
        assert len(accepted) == successful
        assert len(errors - {0}) == with_error == 4 - successful
    assert {n for n in errors if n in verdicts} <= {n for n, v in verdicts.items() if v.outcome == "rejected"}
