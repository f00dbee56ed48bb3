"""Order feeds: every feed that is built passes the schema, and nothing else is built."""

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
from fba_operators.fulfillment.feed_xml import FeedError, assemble_order_feed, build_order_feed
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
    ship_to_address_3=" Rear building",
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


def test_a_gift_message_goes_with_its_line_and_a_chosen_speed_with_the_order():
    gift = replace(GOOD.items[0], gift_message=" With love & <3\nYours ")
    document = build_order_feed(SELLER, [replace(GOOD, items=(gift,), speed="Expedited")], DEFAULT).document
    tags = leaves(document)
    assert tags[-2:] == [("MerchantFulfillmentOrderItemID", "1"), ("GiftMessage", "With love & <3\nYours")]
    assert ("DeliverySLA", "Expedited") in tags


def test_a_gift_message_that_is_too_long_is_refused():
    gift = replace(GOOD.items[0], gift_message="x" * 513)
    with pytest.raises(FeedError, match="gift_message is 513 characters long"):
        build_order_feed(SELLER, [replace(GOOD, items=(gift,))], DEFAULT)


def test_a_feed_has_every_element_in_the_order_amazon_requires():
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
        ("AddressFieldThree", "Rear building"),
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
        GOOD,
        **{"ship_to_address_2": " ", "ship_to_address_3": ""},
        ship_to_city=None,
        ship_to_state=None,
        ship_to_phone=None,
        ship_to_country="JP",
    )
    tags = {tag for tag, _ in leaves(build_order_feed(SELLER, [bare], DEFAULT).document)}
    assert not tags & {
        "AddressFieldTwo",
        "AddressFieldThree",
        "City",
        "StateOrRegion",
        "PhoneNumber",
        "NotificationEmail",
    }
    assert "NotificationEmail" not in {
        tag for tag, _ in leaves(build_order_feed(SELLER, [replace(GOOD, ship_to_email=None)], NOTIFY).document)
    }


def test_the_delivery_sla_comes_from_the_mapping_and_the_comment_from_the_request():
    mapped = Fulfillment.model_validate({"shipping_methods": {"next day": "Priority"}})
    request = replace(GOOD, shipping_method="next day", order_comment=" Merci\nbeaucoup ", ship_to_country="UK")
    found = dict(leaves(build_order_feed(SELLER, [request], mapped).document))
    assert (found["DeliverySLA"], found["DisplayableOrderComment"]) == ("Priority", "Merci\nbeaucoup")
    assert (found["CountryCode"], found["StateOrRegion"]) == ("GB", "qc")


def test_the_number_on_the_packing_slip_is_the_given_one():
    request = replace(GOOD, displayable_order_number=" Nº 12 ")
    found = dict(leaves(build_order_feed(SELLER, [request], DEFAULT).document))
    assert (found["MerchantFulfillmentOrderID"], found["DisplayableOrderID"]) == ("WEB-1", "Nº 12")
    found = dict(leaves(build_order_feed(SELLER, [replace(request, displayable_order_number=" ")], DEFAULT).document))
    assert found["DisplayableOrderID"] == "WEB-1"


def numbered(count: int) -> list[FulfillmentRequest]:
    return [replace(GOOD, fr_number=f"WEB-{n}") for n in range(1, count + 1)]


def test_a_feed_takes_a_thousand_messages_and_leaves_the_rest():
    requests = numbered(1002)
    feed = build_order_feed(SELLER, requests, DEFAULT)
    assert feed.messages == {n: f"WEB-{n}" for n in range(1, 1001)}
    assert feed.left_over == tuple(requests[1000:])
    ids = [text for tag, text in leaves(feed.document) if tag == "MessageID"]
    assert ids == [str(n) for n in range(1, 1001)]


def test_a_request_that_xml_cannot_hold_stops_no_other():
    bad, good = replace(GOOD, fr_number="WEB-1", order_comment="\x01"), replace(GOOD, fr_number="WEB-2")
    feed = assemble_order_feed(SELLER, [bad, good], DEFAULT)
    assert (feed.messages, list(feed.refused), feed.left_over) == ({1: "WEB-2"}, ["WEB-1"], ())
    nothing = assemble_order_feed(SELLER, [bad], DEFAULT)
    assert (nothing.document, nothing.messages, list(nothing.refused)) == (b"", {}, ["WEB-1"])


def test_a_feed_stays_within_its_size_limit():
    requests = numbered(9)
    complete = build_order_feed(SELLER, requests, DEFAULT).document
    assert build_order_feed(SELLER, requests, DEFAULT, max_bytes=len(complete)).document == complete
    cut = build_order_feed(SELLER, requests, DEFAULT, max_bytes=len(complete) - 1)
    assert cut.left_over == (requests[8],)
    assert len(cut.document) < len(complete)
    with pytest.raises(FeedError, match="WEB-1 alone is over"):
        build_order_feed(SELLER, requests, DEFAULT, max_bytes=500)


def test_nine_mebibytes_are_the_default_limit():
    long = replace(GOOD, order_comment="é" * 750, items=tuple(RequestItem(n, "Ж" * 40, 1) for n in range(1, 101)))
    requests = [replace(long, fr_number=f"WEB-{n}") for n in range(1, 601)]
    feed = build_order_feed(SELLER, requests, DEFAULT)
    assert 9 * 2**20 - 25_000 < len(feed.document) <= 9 * 2**20
    assert len(feed.messages) + len(feed.left_over) == 600


@pytest.mark.parametrize(
    ("requests", "seller", "message"),
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
def test_an_invalid_feed_is_not_built(requests, seller, message):
    with pytest.raises(FeedError) as caught:
        build_order_feed(seller, requests, DEFAULT)
    assert message in str(caught.value)
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
        ("WEB-1</Displayable", "WEB  1</Displayable"),
        ("WEB-1</Displayable", "注文</Displayable"),
        ("WEB-1</Displayable", f"{'x' * 41}</Displayable"),
        ("<AddressFieldThree>Rear building</AddressFieldThree>", f"<AddressFieldThree>{'x' * 61}</AddressFieldThree>"),
        (
            "<AddressFieldTwo>Apt 4</AddressFieldTwo><AddressFieldThree>Rear building</AddressFieldThree>",
            "<AddressFieldThree>Rear building</AddressFieldThree><AddressFieldTwo>Apt 4</AddressFieldTwo>",
        ),
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
    displayable_order_number=st.none()
    | st.text(st.characters(codec="latin-1", exclude_categories=["C", "Z"]), max_size=40),
    ship_to_address_2=st.none() | line(60, 0),
    ship_to_address_3=st.none() | line(60, 0),
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
def test_the_xml_of_any_valid_request_passes_the_schema_and_has_its_content(requests):
    requests = [request for request in requests if not problems(request, NOTIFY)] or [GOOD]
    feed = build_order_feed(SELLER, requests, NOTIFY)
    root = etree.fromstring(feed.document)
    assert SCHEMA.validate(root)
    assert list(feed.messages.values()) == [request.fr_number for request in requests]
    for order, request in zip(root.iter("FulfillmentOrderRequest"), requests, strict=True):
        assert order.findtext("MerchantFulfillmentOrderID") == request.fr_number
        assert order.findtext("DisplayableOrderID") == (request.displayable_order_number or request.fr_number)
        assert order.findtext("DestinationAddress/Name") == request.ship_to_name.strip()
        assert order.findtext("DestinationAddress/AddressFieldThree", "") == (request.ship_to_address_3 or "").strip()
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
                if name.startswith(("ship_", "order_", "displayable_"))
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


def test_what_validation_misses_stops_at_the_schema_without_quoting_personal_data(monkeypatch):
    monkeypatch.setattr(feed_xml, "problems", lambda request, settings: [])
    with pytest.raises(FeedError, match="schema at /AmazonEnvelope/Message/FulfillmentOrderRequest/Dest") as caught:
        build_order_feed(SELLER, [replace(GOOD, ship_to_name="Secret " * 20)], DEFAULT)
    assert "Secret" not in str(caught.value)
