"""An HTTP client for the sandbox, and builders of the documents that tests send."""

import gzip
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import requests

from sandbox.server.server import Sandbox
from sandbox.world.world import DEFAULT_MERCHANT

US = "ATVPDKIKX0DER"
AFN_TYPE = "GET_AFN_INVENTORY_DATA"
XML = "text/xml; charset=UTF-8"
ORDERS = "POST_FULFILLMENT_ORDER_REQUEST_DATA"
CANCELLATIONS = "POST_FULFILLMENT_ORDER_CANCELLATION_REQUEST_DATA"
OUTBOUND = "/fba/outbound/2020-07-01/fulfillmentOrders"
USER_AGENT = "Test App/1.0 (Language=Python/3.11)"


class Client:
    """An HTTP client with the credentials of one seller."""

    def __init__(self, amazon: Sandbox, credentials: dict[str, Any] | None = None) -> None:
        self.amazon = amazon
        self.session = requests.Session()
        self.credentials = credentials or amazon.world.credentials(DEFAULT_MERCHANT.seller_id)
        self.headers = {"user-agent": USER_AGENT}

    def token(self, **changes: str) -> requests.Response:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self.credentials["refresh_token"],
            "client_id": self.credentials["client_id"],
            "client_secret": self.credentials["client_secret"],
        }
        form |= changes
        return self.session.post(self.amazon.token_url, data={k: v for k, v in form.items() if v}, timeout=10)

    def login(self) -> "Client":
        self.headers["x-amz-access-token"] = self.token().json()["access_token"]
        return self

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {
            name: value for name, value in (self.headers | options.pop("headers", {})).items() if value is not None
        }
        return self.session.request(method, f"{self.amazon.url}{path}", headers=headers, timeout=10, **options)

    def create(self, report_type: str, marketplaces: tuple[str, ...] = (US,), **more: Any) -> requests.Response:
        body = {"reportType": report_type, "marketplaceIds": list(marketplaces), **more}
        return self.call("POST", "/reports/2021-06-30/reports", json=body)

    def report(self, report_id: str) -> dict[str, Any]:
        answer = self.call("GET", f"/reports/2021-06-30/reports/{report_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def finished(self, report_type: str, marketplaces: tuple[str, ...] = (US,), **more: Any) -> dict[str, Any]:
        """Request a report, skip its processing time, and return the answer of getReport."""
        created = self.create(report_type, marketplaces, **more)
        assert created.status_code == 202, created.text
        self.amazon.world.advance(self.amazon.world.desk.processing_seconds)
        return self.report(created.json()["reportId"])

    def document(self, document_id: str, query: str = "") -> requests.Response:
        return self.call("GET", f"/reports/2021-06-30/documents/{document_id}{query}")

    def download(self, report: dict[str, Any]) -> requests.Response:
        return self.session.get(self.document(report["reportDocumentId"]).json()["url"], timeout=10)

    def text(self, report: dict[str, Any], charset: str = "utf-8") -> str:
        return gzip.decompress(self.download(report).content).decode(charset)

    def summaries(self, **query: str) -> requests.Response:
        base = {"granularityType": "Marketplace", "granularityId": US, "marketplaceIds": US, "details": "true"}
        return self.call("GET", "/fba/inventory/v1/summaries", params=base | query)

    def feed_document(self, content_type: str = XML) -> dict[str, str]:
        answer = self.call("POST", "/feeds/2021-06-30/documents", json={"contentType": content_type})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def upload(self, content: str | bytes, content_type: str = XML) -> str:
        """Upload a feed document; returns its id."""
        document = self.feed_document(content_type)
        data = content.encode() if isinstance(content, str) else content
        answer = self.session.put(document["url"], data=data, headers={"Content-Type": content_type}, timeout=10)
        assert answer.status_code == 200, answer.text
        return document["feedDocumentId"]

    def submit(self, document_id: str, feed_type: str = ORDERS, marketplace_id: str = US) -> requests.Response:
        body = {"feedType": feed_type, "marketplaceIds": [marketplace_id], "inputFeedDocumentId": document_id}
        return self.call("POST", "/feeds/2021-06-30/feeds", json=body)

    def feed(self, feed_id: str) -> dict[str, Any]:
        answer = self.call("GET", f"/feeds/2021-06-30/feeds/{feed_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def feed_result(self, feed: dict[str, Any]) -> requests.Response:
        """The answer of getFeedDocument."""
        return self.call("GET", f"/feeds/2021-06-30/documents/{feed['resultFeedDocumentId']}")

    def processed(self, content: str | bytes, feed_type: str = ORDERS, marketplace_id: str = US) -> dict[str, Any]:
        """Submit a feed, skip its processing time, and return its processing report, parsed by `read_report`."""
        created = self.submit(self.upload(content), feed_type, marketplace_id)
        assert created.status_code == 202, created.text
        self.amazon.world.advance(self.amazon.world.desk.processing_seconds)
        feed = self.feed(created.json()["feedId"])
        assert feed["processingStatus"] == "DONE"
        document = self.feed_result(feed).json()
        content = self.session.get(document["url"], timeout=10).content
        return read_report(gzip.decompress(content) if "compressionAlgorithm" in document else content)

    def order(self, order_id: str) -> requests.Response:
        return self.call("GET", f"{OUTBOUND}/{order_id}")

    def create_order(self, order_id: str = "FR-1", **changes: Any) -> requests.Response:
        return self.call("POST", OUTBOUND, json=order_body(order_id, **changes))


def read_report(content: bytes) -> dict[str, Any]:
    """Return status, transaction id, counts (processed, successful, errors, warnings) and results as tuples."""
    report = ElementTree.fromstring(content).find("Message/ProcessingReport")
    assert report is not None
    summary = ("MessagesProcessed", "MessagesSuccessful", "MessagesWithError", "MessagesWithWarning")
    return {
        "status": report.findtext("StatusCode"),
        "transaction": report.findtext("DocumentTransactionID"),
        "counts": tuple(int(report.findtext(f"ProcessingSummary/{name}") or -1) for name in summary),
        "results": [
            (
                int(result.findtext("MessageID") or -1),
                result.findtext("ResultCode"),
                result.findtext("ResultMessageCode"),
                result.findtext("ResultDescription"),
                result.findtext("AdditionalInfo/SKU"),
            )
            for result in report.iterfind("Result")
        ],
    }


ADDRESS: dict[str, str | None] = {
    "Name": "Jane Example",
    "AddressFieldOne": "100 Example Street",
    "AddressFieldTwo": None,
    "AddressFieldThree": None,
    "City": "Seattle",
    "StateOrRegion": "WA",
    "PostalCode": "98101",
    "CountryCode": "US",
}


def order_xml(
    order_id: str = "FR-1",
    items: tuple[tuple[str, int], ...] = (("AFN-PLAIN", 1),),
    *,
    sla: str | None = "Standard",
    head: str = "",
    **address: str | None,
) -> str:
    """A FulfillmentOrderRequest; `head` is inserted before the address, None leaves an element out."""

    def elements(texts: dict[str, str | None]) -> str:
        return "".join(f"<{tag}>{escape(text)}</{tag}>" for tag, text in texts.items() if text is not None)

    lines = "".join(
        f"<Item><MerchantSKU>{escape(sku)}</MerchantSKU><Quantity>{quantity}</Quantity>"
        f"<MerchantFulfillmentOrderItemID>{number}</MerchantFulfillmentOrderItemID></Item>"
        for number, (sku, quantity) in enumerate(items, start=1)
    )
    return (
        "<FulfillmentOrderRequest>"
        + elements({"MerchantFulfillmentOrderID": order_id, "DeliverySLA": sla})
        + head
        + f"<DestinationAddress>{elements(ADDRESS | address)}</DestinationAddress>{lines}</FulfillmentOrderRequest>"
    )


def cancel_xml(order_id: str) -> str:
    """A FulfillmentOrderCancellationRequest."""
    return (
        f"<FulfillmentOrderCancellationRequest><MerchantFulfillmentOrderID>{order_id}</MerchantFulfillmentOrderID>"
        "<Item><MerchantFulfillmentOrderItemID>1</MerchantFulfillmentOrderItemID></Item>"
        "</FulfillmentOrderCancellationRequest>"
    )


def envelope(*payloads: str, kind: str = "FulfillmentOrderRequest", seller: str = DEFAULT_MERCHANT.seller_id) -> str:
    """A feed document with one message for each payload, numbered from 1."""
    messages = "".join(
        f"<Message><MessageID>{number}</MessageID>{payload}</Message>" for number, payload in enumerate(payloads, 1)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<AmazonEnvelope>\n'
        f"<Header><DocumentVersion>1.01</DocumentVersion><MerchantIdentifier>{seller}</MerchantIdentifier></Header>\n"
        f"<MessageType>{kind}</MessageType>\n{messages}\n</AmazonEnvelope>"
    )


def order_body(order_id: str = "FR-1", **changes: Any) -> dict[str, Any]:
    """The body of createFulfillmentOrder."""
    return {
        "sellerFulfillmentOrderId": order_id,
        "displayableOrderId": order_id,
        "displayableOrderDate": "2026-11-20T09:30:00Z",
        "displayableOrderComment": "Thank you.",
        "shippingSpeedCategory": "Standard",
        "destinationAddress": {
            "name": "Jane Example",
            "addressLine1": "100 Example Street",
            "city": "Seattle",
            "stateOrRegion": "WA",
            "postalCode": "98101",
            "countryCode": "US",
        },
        "items": [{"sellerSku": "AFN-PLAIN", "sellerFulfillmentOrderItemId": "1", "quantity": 1}],
        **changes,
    }


def error(answer: requests.Response) -> dict[str, str]:
    """The first error of an SP-API answer."""
    return answer.json()["errors"][0]
