"""Feeds from the upload to the processing report, and every fate of a feed."""

import gzip
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from sandbox.server.server import Sandbox
from tests.sandbox.client import (
    CANCELLATIONS,
    ORDERS,
    US,
    XML,
    Client,
    cancel_xml,
    envelope,
    error,
    order_xml,
    read_report,
)

SELLER = "A1SANDBOXSELLER"
FEEDS = "/feeds/2021-06-30/feeds"
ILL_FORMED = "The XML you submitted is ill-formed at the Amazon Envelope XML level at (or near) line "


def created_ids(amazon: Sandbox) -> list[str]:
    return [order_id for order_id, order in amazon.world.orders(SELLER).items() if order["times_created"]]


# Documents.


def test_an_upload_requires_the_declared_content_type_and_no_credentials(client: Client) -> None:
    url = client.feed_document()["url"]
    for wrong in ("text/xml", "text/xml;charset=UTF-8", "text/xml; charset=utf-8"):
        answer = client.session.put(url, data=b"x", headers={"Content-Type": wrong}, timeout=10)
        assert (answer.status_code, "<Code>SignatureDoesNotMatch</Code>" in answer.text) == (403, True)
    for name in ("Authorization", "x-amz-access-token"):
        answer = client.session.put(url, data=b"x", headers={"Content-Type": XML, name: "x"}, timeout=10)
        assert (answer.status_code, "<Code>InvalidArgument</Code>" in answer.text) == (400, True)
    assert client.session.get(url, headers={"Content-Type": XML}, timeout=10).status_code == 403
    assert client.session.put(f"{url}0", data=b"x", headers={"Content-Type": XML}, timeout=10).status_code == 403
    assert client.session.put(url, data=b"x", headers={"Content-Type": XML}, timeout=10).status_code == 200


def test_an_upload_url_expires(amazon: Sandbox, client: Client) -> None:
    url = client.feed_document()["url"]
    amazon.world.expire("urls")
    expired = client.session.put(url, data=b"x", headers={"Content-Type": XML}, timeout=10)
    assert (expired.status_code, "<Message>Request has expired</Message>" in expired.text) == (403, True)
    amazon.world.add_fault("uploadDocument", "expired_url")
    url = client.feed_document()["url"]
    assert client.session.put(url, data=b"x", headers={"Content-Type": XML}, timeout=10).status_code == 403
    amazon.world.add_fault("uploadDocument", "503")
    url = client.feed_document()["url"]
    answers = [client.session.put(url, data=b"x", headers={"Content-Type": XML}, timeout=10) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [503, 200]


@pytest.mark.parametrize("body", [{}, {"contentType": ""}, {"contentType": 1}, {"contentType": XML, "x": 1}])
def test_invalid_feed_document_requests_are_rejected(client: Client, body: Any) -> None:
    answer = client.call("POST", "/feeds/2021-06-30/documents", json=body)
    assert (answer.status_code, error(answer)["code"]) == (400, "InvalidInput")


def test_a_feed_document_must_be_uploaded_and_expires_after_two_days(
    amazon: Sandbox, client: Client, seller: Any
) -> None:
    empty = client.feed_document()["feedDocumentId"]
    assert client.submit(empty).status_code == 400
    assert client.submit("amzn1.nothing").status_code == 400
    document_id = client.upload(envelope(order_xml()))
    other: Client = seller()
    assert other.submit(document_id).status_code == 400
    amazon.world.advance(2 * 86400 - 60)
    assert client.submit(document_id).status_code == 202
    amazon.world.advance(120)
    assert client.submit(document_id).status_code == 400
    assert amazon.world.feed_count == 1


# Feeds.


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"feedType": None}, 400),
        ({"feedType": "POST_PRODUCT_DATA"}, 400),
        ({"feedType": 7}, 400),
        ({"marketplaceIds": None}, 400),
        ({"marketplaceIds": []}, 400),
        ({"marketplaceIds": ["US"]}, 400),
        ({"marketplaceIds": [US, "A2EUQ1WTGCTBG2"]}, 400),
        ({"marketplaceIds": ["A1PA6795UKMFR9"]}, 403),
        ({"marketplaceIds": ["A2Q3Y263D00KWC"]}, 403),
        ({"inputFeedDocumentId": None}, 400),
        ({"inputFeedDocumentId": ["x"]}, 400),
        ({"feedOptions": {"a": 1}}, 400),
        ({"colour": "red"}, 400),
    ],
)
def test_invalid_feeds_are_rejected_and_not_created(
    amazon: Sandbox, client: Client, change: dict[str, Any], status: int
) -> None:
    body = {"feedType": ORDERS, "marketplaceIds": [US], "inputFeedDocumentId": client.upload("x")} | change
    answer = client.call("POST", FEEDS, json={name: value for name, value in body.items() if value is not None})
    assert answer.status_code == status
    assert amazon.world.feed_count == 0


def test_a_feed_passes_through_its_statuses_over_time(amazon: Sandbox, client: Client) -> None:
    feed_id = client.submit(client.upload(envelope(order_xml()))).json()["feedId"]
    first = client.feed(feed_id)
    assert (first["processingStatus"], first["feedType"], first["marketplaceIds"]) == ("IN_QUEUE", ORDERS, [US])
    amazon.world.advance(15)
    assert client.feed(feed_id)["processingStatus"] == "IN_PROGRESS"
    assert amazon.world.orders(SELLER) == {}
    amazon.world.advance(45)
    done = client.feed(feed_id)
    assert done["processingStatus"] == "DONE"
    created, ended = (datetime.fromisoformat(done[name]) for name in ("createdTime", "processingEndTime"))
    assert created <= ended <= datetime.now(UTC)
    (order,) = amazon.world.orders(SELLER).values()
    assert (order["times_created"], order["status"], order["items"]) == (1, "Received", {"AFN-PLAIN": 1})
    assert client.call("GET", f"{FEEDS}/1").status_code == 404


def test_feeds_of_one_type_are_processed_one_after_another(amazon: Sandbox, client: Client, seller: Any) -> None:
    ids = [client.submit(client.upload(envelope(order_xml(f"FR-{n}")))).json()["feedId"] for n in range(3)]
    cancelling = client.submit(client.upload("x"), CANCELLATIONS).json()["feedId"]
    other: Client = seller()
    other_feed = other.submit(other.upload("x")).json()["feedId"]

    def states() -> list[str]:
        return [client.feed(feed_id)["processingStatus"] for feed_id in (*ids, cancelling)]

    amazon.world.advance(60)
    assert states() == ["DONE", "IN_PROGRESS", "IN_QUEUE", "DONE"]
    assert other.feed(other_feed)["processingStatus"] == "DONE"
    amazon.world.advance(50)
    assert states() == ["DONE", "DONE", "IN_PROGRESS", "DONE"]
    amazon.world.advance(86400)
    assert states() == ["DONE"] * 4
    assert created_ids(amazon) == ["FR-0", "FR-1", "FR-2"]
    (last, *_) = amazon.world.feeds(SELLER)
    assert (last["feedId"], last["fate"]) == (cancelling, "")
    assert [feed["sellerId"] for feed in amazon.world.feeds()] == ["A2OTHERSELLER", *[SELLER] * 4]


def test_only_a_queued_feed_can_be_cancelled(amazon: Sandbox, client: Client) -> None:
    ids = [client.submit(client.upload(envelope(order_xml(f"FR-{n}")))).json()["feedId"] for n in range(3)]
    amazon.world.advance(15)
    assert client.call("DELETE", f"{FEEDS}/{ids[0]}").status_code == 400
    assert client.call("DELETE", f"{FEEDS}/{ids[1]}").status_code == 200
    assert client.call("DELETE", f"{FEEDS}/{ids[1]}").status_code == 400
    assert client.call("DELETE", f"{FEEDS}/9").status_code == 404
    amazon.world.advance(90)
    assert [client.feed(feed_id)["processingStatus"] for feed_id in ids] == ["DONE", "CANCELLED", "DONE"]
    assert "resultFeedDocumentId" not in client.feed(ids[1])
    assert created_ids(amazon) == ["FR-0", "FR-2"]


def test_the_first_in_the_queue_can_be_cancelled(amazon: Sandbox, client: Client) -> None:
    ids = [client.submit(client.upload(envelope(order_xml(f"FR-{n}")))).json()["feedId"] for n in range(2)]
    assert client.call("DELETE", f"{FEEDS}/{ids[0]}").status_code == 200
    amazon.world.advance(60)
    assert [client.feed(feed_id)["processingStatus"] for feed_id in ids] == ["CANCELLED", "DONE"]


def test_feeds_are_listed_filtered_and_paged(amazon: Sandbox, client: Client) -> None:
    ids = [client.submit(client.upload("x")).json()["feedId"] for _ in range(3)]
    there = client.submit(client.upload("x"), ORDERS, "A2EUQ1WTGCTBG2").json()["feedId"]
    cancelling = client.submit(client.upload("x"), CANCELLATIONS).json()["feedId"]
    client.call("DELETE", f"{FEEDS}/{ids[0]}")

    def listed(**query: str) -> Any:
        return client.call("GET", FEEDS, params=query)

    def found(**query: str) -> list[str]:
        return [feed["feedId"] for feed in listed(**query).json()["feeds"]]

    assert found(feedTypes=ORDERS) == [there, *ids[::-1]]
    assert found(feedTypes=f"{ORDERS},{CANCELLATIONS}") == [cancelling, there, *ids[::-1]]
    assert found(feedTypes=ORDERS, marketplaceIds=US) == ids[::-1]
    assert found(feedTypes=ORDERS, processingStatuses="CANCELLED,DONE") == [ids[0]]
    soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    assert found(feedTypes=ORDERS, createdSince=soon) == []
    amazon.world.buckets.clear()
    page = listed(feedTypes=ORDERS, pageSize="3").json()
    assert [feed["feedId"] for feed in page["feeds"]] == [there, ids[2], ids[1]]
    assert listed(nextToken=page["nextToken"], feedTypes=ORDERS).status_code == 400
    last = listed(nextToken=page["nextToken"]).json()
    assert ([feed["feedId"] for feed in last["feeds"]], "nextToken" in last) == ([ids[0]], False)
    for query in ({}, {"feedTypes": ORDERS, "pageSize": "0"}, {"feedTypes": ORDERS, "processingStatuses": "NEW"}):
        assert listed(**query).status_code == 400


def test_createfeed_is_limited_to_a_burst_of_15_and_one_per_two_minutes(amazon: Sandbox, client: Client) -> None:
    document = client.upload("x")
    assert [client.submit(document).status_code for _ in range(16)] == [202] * 15 + [429]
    amazon.world.advance(121)
    assert [client.submit(document).status_code for _ in range(2)] == [202, 429]


# Messages.


def test_each_message_is_accepted_or_rejected_independently(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_stock(SELLER, US, "FEW", fba=3)
    report = client.processed(
        envelope(
            order_xml("FR-1", (("FEW", 2), ("AFN-BOTH", 1))),
            order_xml("FR-2", (("NOBODY", 1), ("FEW", 1), ("FBM-ZERO", 1))),
            order_xml("FR-3", (("FEW", 2),)),
            order_xml("FR-4", (("FEW", 1),)),
            order_xml("FR-1"),
            order_xml("FR-5", StateOrRegion=None, CountryCode="US"),
            order_xml("FR-6", CountryCode="UK"),
            order_xml("FR-7", sla="Overnight"),
        )
    )
    assert report["status"] == "Complete"
    assert report["transaction"] == amazon.world.feeds(SELLER)[0]["feedId"]
    assert report["counts"] == (8, 2, 6, 0)
    assert [(number, code, sku) for number, code, _, _, sku in report["results"]] == [
        (2, "Error", "NOBODY"),
        (2, "Error", "FBM-ZERO"),
        (3, "Error", "FEW"),
        (5, "Error", None),
        (6, "Error", None),
        (7, "Error", None),
        (8, "Error", None),
    ]
    texts = " ".join(text for *_, text, _ in report["results"])
    for part in ("SellerSKU for Item Id: 1", "enough sellable stock", "already exists", "state", "country", "speed"):
        assert part in texts
    orders = amazon.world.orders(SELLER)
    assert {i: (o["times_received"], o["times_created"]) for i, o in orders.items()} == {
        "FR-1": (2, 1), "FR-2": (1, 0), "FR-3": (1, 0), "FR-4": (1, 1),
        "FR-5": (1, 0), "FR-6": (1, 0), "FR-7": (1, 0),
    }  # fmt: skip
    assert orders["FR-1"]["items"] == {"FEW": 2, "AFN-BOTH": 1}
    assert (orders["FR-3"]["status"], orders["FR-3"]["items"]) == (None, {})
    assert amazon.world.truth(SELLER, US)["FEW"]["fba"] == 0
    assert amazon.world.truth(SELLER, US)["AFN-BOTH"]["fba"] == 8


def test_every_request_for_an_order_id_is_counted(amazon: Sandbox, client: Client) -> None:
    document = client.upload(envelope(order_xml("FR-1")))
    for _ in range(2):
        client.submit(document)
    amazon.world.advance(60)
    assert client.create_order("FR-1").status_code == 400
    assert client.create_order("FR-1").status_code == 400
    amazon.world.advance(60)
    order = amazon.world.orders(SELLER)["FR-1"]
    assert (order["times_received"], order["times_created"]) == (4, 1)


ORDER = order_xml("FR-1")


@pytest.mark.parametrize(
    ("payload", "part"),
    [
        (ORDER.replace("<DeliverySLA>Standard</DeliverySLA>", "<FulfillmentAction>Ship</FulfillmentAction>"), "speed"),
        (order_xml("FR-1", head="<DisplayableOrderID>x</DisplayableOrderID>"), "DisplayableOrderID is not expected"),
        (order_xml("FR-1", head="<DisplayableOrderDate>x</DisplayableOrderDate>"), "not expected"),
        (
            ORDER.replace("<DeliverySLA>", "<DisplayableOrderDate>2026-11-20</DisplayableOrderDate><DeliverySLA>"),
            "Date",
        ),
        (
            ORDER.replace(
                "<DeliverySLA>", "<DisplayableOrderDate>2026-02-30T00:00:00Z</DisplayableOrderDate><DeliverySLA>"
            ),
            "Date",
        ),
        (order_xml("FR-1", head="<ShippingSpeedCategory>Standard</ShippingSpeedCategory>"), "not expected here"),
        (order_xml("FR-1", head="<NotificationEmail>a@b</NotificationEmail>"), "NotificationEmail is not valid"),
        (order_xml("FR-1", head="<FulfillmentPolicy>Some</FulfillmentPolicy>"), "policy"),
        (order_xml("FR-1", head="<FulfillmentMethod>Some</FulfillmentMethod>"), "FulfillmentMethod is not valid"),
        (order_xml("FR-1", head="<FulfillmentAction>Wait</FulfillmentAction>"), "action"),
        (order_xml("A" * 41), "MerchantFulfillmentOrderID is not valid"),
        (order_xml("FR-1", Name="N" * 51), "Name is not valid"),
        (order_xml("FR-1", Name=""), "Name is not valid"),
        (order_xml("FR-1", AddressFieldOne="N" * 61), "AddressFieldOne is not valid"),
        (order_xml("FR-1", Email="a@example.com"), "Email is not expected here"),
        (order_xml("FR-1", CountryCode="USA"), "CountryCode is not valid"),
        (order_xml("FR-1", CountryCode="XX"), "country"),
        (order_xml("FR-1", City=None), "city"),
        (order_xml("FR-1", PostalCode=None), "postalCode"),
        (order_xml("FR-1", StateOrRegion="Washington"), "state"),
        (order_xml("FR-1", CountryCode="CA"), "state"),
        (order_xml("FR-1", items=()), "Item is missing"),
        (order_xml("FR-1", (("AFN-PLAIN", 0),)), "at least 1"),
        (order_xml("FR-1", (("AFN-PLAIN", -1),)), "Quantity is not valid"),
        (order_xml("FR-1", (("AFN-PLAIN", 251),)), "250 units"),
        (order_xml("FR-1", (("AFN-PLAIN", 1),) * 101), "100 items"),
        (order_xml("FR-1", (("S" * 41, 1),)), "MerchantSKU is not valid"),
        (ORDER.replace("</Item>", "</Item>x"), "text"),
        (ORDER.replace("<Quantity>1<", "<Quantity><b>1</b><"), "cannot have elements"),
        (ORDER.replace("<Quantity>", "<Quantity unit='1'>"), "Attribute"),
        (
            ORDER.replace("</Item>", "<PerUnitDeclaredValue currency='XXX'>1.00</PerUnitDeclaredValue></Item>"),
            "Attribute",
        ),
        (ORDER.replace("</Item>", "<PerUnitDeclaredValue>1.00</PerUnitDeclaredValue></Item>"), "currency"),
        (ORDER.replace("<MerchantSKU>AFN-PLAIN</MerchantSKU>", ""), "SellerSKU for Item Id: 1 is missing"),
    ],
)
def test_an_invalid_message_is_an_error_and_does_not_affect_others(
    amazon: Sandbox, client: Client, payload: str, part: str
) -> None:
    assert payload != ORDER
    report = client.processed(envelope(payload, order_xml("FR-2")))
    assert report["counts"] == (2, 1, 1, 0)
    assert {(number, code) for number, code, *_ in report["results"]} == {(1, "Error")}
    assert part in " ".join(text for *_, text, _ in report["results"])
    assert created_ids(amazon) == ["FR-2"]


@pytest.mark.parametrize(
    "address",
    [
        {"StateOrRegion": "AP", "City": "FPO"},
        {"StateOrRegion": "PR", "City": "San Juan"},
        {"CountryCode": "CA", "StateOrRegion": "QC", "PostalCode": "H2Y 1C6"},
        {"CountryCode": "JP", "StateOrRegion": None, "City": None, "PostalCode": "100-0001"},
        {"CountryCode": "FR", "StateOrRegion": None, "City": "Orléans", "PostalCode": "45000", "PhoneNumber": "0"},
    ],
)
def test_valid_addresses_are_accepted(amazon: Sandbox, client: Client, address: dict[str, str | None]) -> None:
    assert client.processed(envelope(order_xml("FR-1", **address)))["counts"] == (1, 1, 0, 0)
    city = amazon.world.orders(SELLER)["FR-1"]["address"].get("city")
    assert city == address.get("City", "Seattle")


def test_orders_between_the_uk_and_the_eu_are_rejected(seller: Any) -> None:
    german: Client = seller("A2EU", ("A1PA6795UKMFR9", "A1F83G8C2ARO7P"))
    address = {"StateOrRegion": None, "CountryCode": "GB"}
    document = envelope(order_xml("FR-1", **address), seller="A2EU")
    assert german.processed(document, marketplace_id="A1PA6795UKMFR9")["counts"] == (1, 0, 1, 0)
    assert german.processed(document, marketplace_id="A1F83G8C2ARO7P")["counts"] == (1, 1, 0, 0)


@pytest.mark.parametrize(
    "document",
    [
        "",
        "not XML",
        order_xml(),
        '<?xml version="1.0"?>' + order_xml(),
        envelope(order_xml()).split("\n", 1)[1],
        envelope(order_xml())[:-5],
        envelope(order_xml(), seller="A2ANOTHER"),
        envelope(order_xml(), kind="FulfillmentOrderCancellationRequest"),
        envelope(cancel_xml("FR-1")),
        envelope(),
        envelope(order_xml()).replace("<AmazonEnvelope>", "<!DOCTYPE a><AmazonEnvelope>"),
        envelope(order_xml()).replace(
            "<AmazonEnvelope>",
            '<AmazonEnvelope xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="a.xsd">',
        ),
        envelope(order_xml()).replace("<DocumentVersion>1.01</DocumentVersion>", ""),
        envelope(order_xml()).replace("1.01", "1"),
        envelope(order_xml()).replace("<MessageID>1<", "<MessageID>0<"),
        envelope(order_xml()).replace("<MessageID>1<", "<MessageID>one<"),
        envelope(order_xml("FR-1"), order_xml("FR-2")).replace("<MessageID>2<", "<MessageID>1<"),
        envelope(order_xml("Caf\N{LATIN SMALL LETTER E WITH ACUTE}")).encode("latin-1"),
    ],
)
def test_an_invalid_envelope_rejects_the_whole_document(amazon: Sandbox, client: Client, document: str | bytes) -> None:
    report = client.processed(document)
    assert report["counts"] == (0, 0, 1, 0)
    ((number, code, _, text, _),) = report["results"]
    assert (number, code, text.startswith(ILL_FORMED)) == (0, "Error", True)
    assert amazon.world.orders(SELLER) == {}


def test_every_element_of_a_feed_document_is_read(amazon: Sandbox, client: Client) -> None:
    order = order_xml(
        "FR-1",
        head="<FulfillmentPolicy>FillOrKill</FulfillmentPolicy><FulfillmentMethod>Consumer</FulfillmentMethod>"
        "<FulfillmentAction>Ship</FulfillmentAction><NotificationEmail>jane@example.com</NotificationEmail>",
        AddressFieldTwo="Apt 4",
        AddressFieldThree="Rear building",
    )
    head = (
        "<DisplayableOrderID>SHOP-1</DisplayableOrderID><DisplayableOrderDate>2026-11-20T09:30:00"
        "</DisplayableOrderDate><DisplayableOrderComment>Grüße &amp; 日本</DisplayableOrderComment><DeliverySLA>"
    )
    tail = (
        "<GiftMessage>Hi</GiftMessage><DisplayableComment>Red</DisplayableComment>"
        '<PerUnitDeclaredValue currency="USD">12.50</PerUnitDeclaredValue></Item>'
    )
    document = envelope(order.replace("<DeliverySLA>", head).replace("</Item>", tail))
    document = document.replace("<Message>", "<PurgeAndReplace>false</PurgeAndReplace><Message><!-- one -->")
    assert client.processed(document)["counts"] == (1, 1, 0, 0)
    shown = client.order("FR-1").json()["payload"]
    assert shown["fulfillmentOrder"]["displayableOrderId"] == "SHOP-1"
    assert shown["fulfillmentOrder"]["displayableOrderDate"] == "2026-11-20T09:30:00Z"
    assert shown["fulfillmentOrder"]["displayableOrderComment"] == "Grüße & 日本"
    assert shown["fulfillmentOrder"]["notificationEmails"] == ["jane@example.com"]
    assert shown["fulfillmentOrder"]["destinationAddress"]["addressLine2"] == "Apt 4"
    assert shown["fulfillmentOrder"]["destinationAddress"]["addressLine3"] == "Rear building"
    assert shown["fulfillmentOrderItems"][0]["giftMessage"] == "Hi"


def test_a_feed_can_cancel_orders(amazon: Sandbox, client: Client) -> None:
    client.processed(envelope(order_xml("FR-1"), order_xml("FR-2")))
    amazon.world.set_order_status(SELLER, "FR-2", "Processing")
    kind = "FulfillmentOrderCancellationRequest"
    document = envelope(cancel_xml("FR-1"), cancel_xml("FR-2"), cancel_xml("FR-3"), cancel_xml("A" * 41), kind=kind)
    report = client.processed(document, CANCELLATIONS)
    assert report["counts"] == (4, 1, 3, 0)
    assert [number for number, *_ in report["results"]] == [2, 3, 4]
    orders = amazon.world.orders(SELLER)
    assert {order_id: order["status"] for order_id, order in orders.items()} == {
        "FR-1": "Cancelled",
        "FR-2": "Processing",
    }
    assert amazon.world.truth(SELLER, US)["AFN-PLAIN"]["fba"] == 16


# Fates.


def feed_with_fate(amazon: Sandbox, client: Client, fault: str, **how: Any) -> dict[str, Any]:
    """Submit a feed of four orders with a fate and return it when processed; the third order is invalid."""
    amazon.world.add_fault("createFeed", fault, **how)
    messages = [order_xml(f"FR-{n}", (("NOBODY" if n == 3 else "AFN-PLAIN", 1),)) for n in range(1, 5)]
    feed_id = client.submit(client.upload(envelope(*messages))).json()["feedId"]
    amazon.world.advance(60)
    return client.feed(feed_id)


def result_bytes(client: Client, feed: dict[str, Any]) -> tuple[bytes, bool]:
    document = client.feed_result(feed).json()
    return client.session.get(document["url"], timeout=10).content, "compressionAlgorithm" in document


@pytest.mark.parametrize(
    ("fault", "created"),
    [("fatal_none", []), ("fatal_some", ["FR-1"]), ("fatal_all", ["FR-1", "FR-2", "FR-4"]), ("cancelled", [])],
)
def test_feeds_can_be_scripted_to_end_fatal_or_cancelled(
    amazon: Sandbox, client: Client, fault: str, created: list[str]
) -> None:
    feed = feed_with_fate(amazon, client, fault)
    assert feed["processingStatus"] == ("CANCELLED" if fault == "cancelled" else "FATAL")
    assert "resultFeedDocumentId" not in feed
    assert created_ids(amazon) == created
    assert amazon.world.feeds(SELLER)[0]["fate"] == fault


def test_a_fatal_feed_can_have_a_result_document(amazon: Sandbox, client: Client) -> None:
    feed = feed_with_fate(amazon, client, "fatal_all", with_document=True)
    assert feed["processingStatus"] == "FATAL"
    assert b"errorDetails" in result_bytes(client, feed)[0]


@pytest.mark.parametrize(
    ("fault", "counts", "codes", "created"),
    [
        ("message_zero", (0, 0, 1, 0), [(0, "Error")], 0),
        ("message_zero_some", (4, 3, 1, 0), [(3, "Error"), (0, "Error")], 3),
        ("warnings", (4, 3, 1, 3), [(1, "Warning"), (2, "Warning"), (3, "Error"), (4, "Warning")], 3),
        ("wrong_counts", (3, 2, 1, 0), [(3, "Error")], 3),
        ("gzip_result", (4, 3, 1, 0), [(3, "Error")], 3),
        ("plain_result", (4, 3, 1, 0), [(3, "Error")], 3),
    ],
)
def test_processing_reports_can_be_scripted_to_be_irregular(
    amazon: Sandbox, client: Client, fault: str, counts: tuple[int, ...], codes: list[tuple[int, str]], created: int
) -> None:
    feed = feed_with_fate(amazon, client, fault)
    assert feed["processingStatus"] == "DONE"
    content, compressed = result_bytes(client, feed)
    assert compressed == (fault != "plain_result")
    report = read_report(gzip.decompress(content) if compressed else content)
    assert report["counts"] == counts
    assert [result[:2] for result in report["results"]] == codes
    assert len(created_ids(amazon)) == created


def test_results_can_be_scripted_to_be_missing_expired_or_unreadable(amazon: Sandbox, client: Client) -> None:
    feed = feed_with_fate(amazon, client, "missing_result")
    assert (feed["processingStatus"], "resultFeedDocumentId" in feed) == ("DONE", False)
    feed = feed_with_fate(amazon, client, "expired_result")
    assert client.feed_result(feed).status_code == 404
    feed = feed_with_fate(amazon, client, "unreadable_result")
    with pytest.raises(SyntaxError):
        read_report(gzip.decompress(result_bytes(client, feed)[0]))


def test_results_are_retained_for_28_days_and_visible_to_their_seller_only(
    amazon: Sandbox, client: Client, seller: Any
) -> None:
    feed = feed_with_fate(amazon, client, "gzip_result")
    other: Client = seller()
    assert other.feed_result(feed).status_code == 404
    encoded = client.call(
        "GET",
        f"/feeds/2021-06-30/documents/{feed['resultFeedDocumentId']}",
        params={"enableContentEncodingUrlHeader": "true"},
    ).json()
    assert read_report(client.session.get(encoded["url"], timeout=10).content)["counts"] == (4, 3, 1, 0)
    assert client.document(feed["resultFeedDocumentId"]).status_code == 404
    url = client.feed_result(feed).json()["url"]
    amazon.world.expire("urls", SELLER)
    assert client.session.get(url, timeout=10).status_code == 403
    amazon.world.advance(28 * 86400 - 120)
    assert client.feed_result(feed).status_code == 200
    amazon.world.advance(120)
    assert client.feed_result(feed).status_code == 404


@pytest.mark.parametrize(("fault", "feeds"), [("reset_before", 0), ("reset_after", 1), ("error_after", 1), ("500", 0)])
def test_createfeed_answers_can_be_lost_before_or_after_the_feed_is_created(
    amazon: Sandbox, client: Client, fault: str, feeds: int
) -> None:
    document = client.upload(envelope(order_xml()))
    amazon.world.add_fault("createFeed", fault, report_type=ORDERS)
    if fault.startswith("reset"):
        with pytest.raises(requests.ConnectionError):
            client.submit(document)
    else:
        assert client.submit(document).status_code == 500
    assert amazon.world.feed_count == feeds
    amazon.world.advance(60)
    assert len(amazon.world.orders(SELLER)) == feeds


def test_a_feed_whose_answer_is_lost_can_also_have_a_fate(amazon: Sandbox, client: Client) -> None:
    amazon.world.add_fault("createFeed", "fatal_none")
    amazon.world.add_fault("createFeed", "500")
    amazon.world.add_fault("createFeed", "error_after")
    document = client.upload(envelope(order_xml()))
    assert [client.submit(document).status_code for _ in range(3)] == [500, 500, 202]
    assert [feed["fate"] for feed in amazon.world.feeds(SELLER)] == ["", "fatal_none"]


@pytest.mark.parametrize(
    "operation",
    ["createFeedDocument", "uploadDocument", "createFeed", "getFeed", "getFeeds", "cancelFeed", "getFeedDocument"],
)
def test_every_feeds_operation_can_be_scripted_to_fail(amazon: Sandbox, client: Client, operation: str) -> None:
    feed = feed_with_fate(amazon, client, "gzip_result")
    amazon.world.add_fault(operation, 503)
    document = client.feed_document() if operation == "uploadDocument" else {"url": ""}
    call = {
        "createFeedDocument": lambda: client.call("POST", "/feeds/2021-06-30/documents", json={"contentType": XML}),
        "uploadDocument": lambda: client.session.put(
            document["url"], data=b"", headers={"Content-Type": XML}, timeout=10
        ),
        "createFeed": lambda: client.submit(client.upload("x")),
        "getFeed": lambda: client.call("GET", f"{FEEDS}/{feed['feedId']}"),
        "getFeeds": lambda: client.call("GET", FEEDS, params={"feedTypes": ORDERS}),
        "cancelFeed": lambda: client.call("DELETE", f"{FEEDS}/{feed['feedId']}"),
        "getFeedDocument": lambda: client.feed_result(feed),
    }[operation]
    assert call().status_code == 503
    assert call().status_code == {"createFeedDocument": 201, "createFeed": 202, "cancelFeed": 400}.get(operation, 200)
    assert amazon.world.calls()["outcomes"][operation]["503"] == 1


@pytest.mark.parametrize(
    ("operation", "fault", "how"),
    [
        ("createReport", "fatal_none", {}),
        ("createFeed", "fatal", {}),
        ("getFeed", "warnings", {}),
        ("uploadDocument", "truncated_gzip", {}),
        ("uploadDocument", "expired_token", {}),
        ("createFeed", "warnings", {"with_document": True}),
    ],
)
def test_fates_that_an_operation_cannot_have_are_rejected(
    amazon: Sandbox, operation: str, fault: str, how: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"belongs to|no access token"):
        amazon.world.add_fault(operation, fault, **how)
