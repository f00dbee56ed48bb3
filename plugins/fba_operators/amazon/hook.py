"""The hook: Amazon's operations as methods, for one seller account in one marketplace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from fba_operators.amazon import operations
from fba_operators.amazon.client import Client, amazon_time
from fba_operators.amazon.connection_check import check_connection
from fba_operators.amazon.credentials import Credentials, Destination
from fba_operators.amazon.deadline import ends_within
from fba_operators.amazon.marketplaces import Marketplace
from fba_operators.amazon.operations import (
    ChangedOrdersPage,
    Feature,
    FeatureSku,
    Feed,
    FulfillmentOrder,
    InventorySummary,
    ListedOrder,
    ListedReport,
    Operation,
    Order,
    PackageTracking,
    Preview,
    Report,
)
from fba_operators.amazon.transport import Download
from fba_operators.errors import (
    ConfigurationError,
    RequestRefusedError,
    UnavailableError,
)
from fba_operators.warehouse.database import DEFAULT_WAREHOUSE, Warehouse

TEST_SECONDS = 30.0  # Airflow's API server waits for a test of a connection, and a person too


class SellingPartnerHook(BaseHook):
    """Calls Amazon's Selling Partner API for one store.

    Every method may raise the errors of :mod:`fba_operators.errors`.

    :param conn_id: Airflow connection of type ``amazon_sp_api``
    :param warehouse_conn_id: Postgres connection where tasks share tokens and quotas; None works without one
    :param connections: resolved connections by id, where looking them up would block (in a trigger)
    :param warehouse: the warehouse of the task, instead of one of its own
    """

    conn_name_attr = "conn_id"
    default_conn_name = "amazon_us"
    conn_type = "amazon_sp_api"
    hook_name = "Amazon Selling Partner API"

    def __init__(
        self,
        conn_id: str = default_conn_name,
        warehouse_conn_id: str | None = DEFAULT_WAREHOUSE,
        *,
        connections: dict[str, Any] | None = None,
        warehouse: Warehouse | None = None,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self._connections = connections or {}
        self._warehouse = warehouse or (
            Warehouse(warehouse_conn_id, connection=self._connections.get(warehouse_conn_id))
            if warehouse_conn_id
            else None
        )

    @cached_property
    def credentials(self) -> Credentials:
        """What the connection holds.

        :raises ConfigurationError: there is no such connection, or it lacks a field
        """
        try:
            connection = self._connections.get(self.conn_id) or self.get_connection(self.conn_id)
        except AirflowNotFoundException:
            raise ConfigurationError(
                f"There is no Airflow connection {self.conn_id}. Make one of type amazon_sp_api, or take the store out of stores.yaml"
            ) from None
        credentials = Credentials.of(self.conn_id, connection)
        self._mask(credentials.client_secret)
        self._mask(credentials.refresh_token)
        return credentials

    @cached_property
    def client(self) -> Client:
        """What makes the calls."""
        return Client(self.credentials, self._warehouse, self._mask)

    def _mask(self, secret: str) -> None:
        # Not in a trigger: Airflow's masker never forgets a secret and recompiles its pattern for each new one. A
        # triggerer lives for weeks and sees a token per seller and hour: all triggers would stop for seconds.
        if not self._connections:
            mask_secret(secret)

    @property
    def seller_id(self) -> str:
        """Amazon's Selling Partner ID."""
        return self.credentials.seller_id

    @property
    def destination(self) -> Destination:
        """Where this store's calls go."""
        return self.credentials.destination

    @property
    def marketplace(self) -> Marketplace:
        """The marketplace of this store."""
        return self.credentials.marketplace

    @property
    def calls(self) -> Counter[str]:
        """Operation → number of calls made; may be cleared."""
        return self.client.transport.calls

    def take_statistics(self) -> tuple[Counter[str], float]:
        """Return the calls made and the seconds waited for quotas since the last time; counting starts again."""
        if "client" not in self.__dict__:
            return Counter(), 0.0
        transport, quota = self.client.transport, self.client.quota
        taken = Counter(transport.calls), quota.throttled_seconds
        transport.calls.clear()
        quota.throttled_seconds = 0.0
        return taken

    @property
    def clock_offset(self) -> timedelta:
        """Amazon's clock minus this process's, as far as an answer has shown it."""
        known = self.client.transport.clock_offset if "client" in self.__dict__ else None
        return known or timedelta(0)

    def amazon_now(self) -> datetime:
        """The time by Amazon's clock, as far as an answer has shown it; else by this process's."""
        return datetime.now(UTC) + self.clock_offset

    def access_token(self) -> str:
        """Return a valid access token; all tasks of one credential share it."""
        return self.client.login.token().text

    # Reports

    def create_report(
        self,
        report_type: str,
        *,
        data_start: datetime | None = None,
        data_end: datetime | None = None,
        options: dict[str, str] | None = None,
    ) -> str:
        """Ask for a report; returns its id.

        :raises LostAnswerError: it may have been created: look with :meth:`get_reports` before asking again
        """
        body: dict[str, Any] = {"reportType": report_type, "marketplaceIds": [self.marketplace.id]}
        if data_start:
            body["dataStartTime"] = amazon_time(data_start)
        if data_end:
            body["dataEndTime"] = amazon_time(data_end)
        if options:
            body["reportOptions"] = options
        return self.client.call(operations.CREATE_REPORT, json=body).report_id

    def get_report(self, report_id: str) -> Report:
        """Return a report's state."""
        report = self.client.call(operations.GET_REPORT, report_id)
        self._check_is_about(operations.GET_REPORT, report_id, report.report_id)
        return report

    def get_reports(self, report_type: str, *, created_since: datetime) -> Iterator[ListedReport | None]:
        """Return this store's reports of a type, every page; None for one that cannot be read.

        :param created_since: at most 90 days ago
        """
        params = {"reportTypes": report_type, **self._listed(created_since)}
        for page in self.client.pages(operations.GET_REPORTS, params, token_alone=True):
            yield from page.reports

    def download_report(self, document_id: str) -> Download:
        """Start to download a report document."""
        return self.client.download(operations.GET_REPORT_DOCUMENT, document_id, "report document")

    # Feeds

    def create_feed_document(self, content_type: str) -> tuple[str, str]:
        """Return id and upload URL of a new feed document; the URL expires after five minutes, the document after two days.

        :param content_type: the upload must send exactly this, because it is signed
        """
        answer = self.client.call(operations.CREATE_FEED_DOCUMENT, json={"contentType": content_type})
        return answer.feed_document_id, answer.url

    def upload_feed_document(self, url: str, content: bytes, content_type: str) -> None:
        """Upload a feed's content to the URL of :meth:`create_feed_document`."""
        self.client.upload(url, content, content_type)

    def create_feed(self, feed_type: str, document_id: str, *, fence: Callable[[], None] | None = None) -> str:
        """Submit an uploaded document; returns the feed's id.

        :param fence: called when access token and quota are there and before each of the two last steps, connecting and
            writing the body; what it raises is raised, and Amazon has got nothing
        :raises LostAnswerError: the feed may exist; submitting again could send every order twice
        """
        body = {
            "feedType": feed_type,
            "marketplaceIds": [self.marketplace.id],
            "inputFeedDocumentId": document_id,
        }
        return self.client.call(operations.CREATE_FEED, json=body, fence=fence).feed_id

    def get_feed(self, feed_id: str) -> Feed:
        """Return a feed's state."""
        feed = self.client.call(operations.GET_FEED, feed_id)
        self._check_is_about(operations.GET_FEED, feed_id, feed.feed_id)
        return feed

    def get_feeds(self, feed_type: str, *, created_since: datetime) -> Iterator[Feed | None]:
        """Return this store's feeds of a type, every page; None for one that cannot be read.

        :param created_since: at most 90 days ago
        """
        params = {"feedTypes": feed_type, **self._listed(created_since)}
        for page in self.client.pages(operations.GET_FEEDS, params, token_alone=True):
            yield from page.feeds

    def download_feed_result(self, document_id: str) -> Download:
        """Start to download a feed's processing report, which Amazon keeps for 28 days."""
        return self.client.download(operations.GET_FEED_DOCUMENT, document_id, "processing report")

    def _listed(self, created_since: datetime) -> dict[str, Any]:
        return {
            "marketplaceIds": self.marketplace.id,
            "createdSince": amazon_time(created_since),
            "pageSize": 100,
        }

    def _check_is_about(self, operation: Operation[Any], asked: str, told: str) -> None:
        """Raise UnavailableError where Amazon answers about something else; how it writes an id is its own affair."""
        if told.strip().casefold() != asked.strip().casefold():
            raise UnavailableError(
                f"{self.conn_id}: Amazon was asked for {asked} and answered about another one", operation=operation.name
            )

    # Orders and stock

    def get_fulfillment_order(self, fr_number: str) -> FulfillmentOrder:
        """Return a Multi-Channel Fulfillment order with its items.

        :raises RequestRefusedError: Amazon knows no such order, or refuses for another reason
        """
        order = self.client.call(operations.GET_FULFILLMENT_ORDER, fr_number).payload
        told = order.fulfillment_order.seller_fulfillment_order_id
        self._check_is_about(operations.GET_FULFILLMENT_ORDER, fr_number, told)
        return order

    def find_fulfillment_order(self, fr_number: str) -> FulfillmentOrder | None:
        """Return a Multi-Channel Fulfillment order with its items; None where Amazon answers that it has no such order.

        One such answer proves nothing yet: Amazon gives the same one for passing faults.

        :raises RequestRefusedError: Amazon refuses for another reason, which says nothing about the order
        """
        try:
            return self.get_fulfillment_order(fr_number)
        except RequestRefusedError as error:
            if _says_no_such_order(error, fr_number):
                return None
            raise

    def list_all_fulfillment_orders(self, *, since: datetime) -> list[ListedOrder | None]:
        """Return every Multi-Channel Fulfillment order updated since a time, all pages; None for one that cannot be read."""
        pages = self.client.pages(operations.LIST_ALL_FULFILLMENT_ORDERS, {"queryStartDate": amazon_time(since)})
        return [order for page in pages for order in page.payload.fulfillment_orders or ()]

    def create_fulfillment_order(self, order: dict[str, Any], *, fence: Callable[[], None] | None = None) -> None:
        """Make a Multi-Channel Fulfillment order.

        :param order: Amazon's CreateFulfillmentOrderRequest
        :param fence: as for :meth:`create_feed`
        :raises LostAnswerError: the order may exist; a second call could make a second one
        """
        self.client.call(operations.CREATE_FULFILLMENT_ORDER, json=order, fence=fence, ours=_named_in(order))

    def release_fulfillment_order(self, fr_number: str) -> None:
        """Let Amazon ship an order that it holds.

        :raises RequestRefusedError: it does not exist, or is over
        """
        self.client.call(operations.UPDATE_FULFILLMENT_ORDER, fr_number, json={"fulfillmentAction": "Ship"})

    def get_fulfillment_preview(self, order: dict[str, Any]) -> list[Preview | None]:
        """Return what an order would cost and when it would arrive, by speed; None for a speed that cannot be read.

        :param order: Amazon's GetFulfillmentPreviewRequest
        """
        answer = self.client.call(operations.GET_FULFILLMENT_PREVIEW, json=order, ours=_named_in(order))
        return answer.payload.fulfillment_previews

    def get_features(self) -> list[Feature | None]:
        """Return the features that the marketplace has, and whether the seller may use each; None for one that cannot be read."""
        answer = self.client.call(operations.GET_FEATURES, params={"marketplaceId": self.marketplace.id})
        return answer.payload.features

    def get_feature_sku(self, feature: str, sku: str) -> FeatureSku:
        """Return whether a SKU can have a feature."""
        params = {"marketplaceId": self.marketplace.id}
        return self.client.call(operations.GET_FEATURE_SKU, feature, sku, params=params).payload

    def cancel_fulfillment_order(self, fr_number: str) -> None:
        """Cancel a Multi-Channel Fulfillment order.

        :raises RequestRefusedError: it cannot be cancelled any more, or does not exist
        """
        self.client.call(operations.CANCEL_FULFILLMENT_ORDER, fr_number)

    def get_package_tracking_details(self, package_number: int) -> PackageTracking:
        """Return where a package of a Multi-Channel Fulfillment order is.

        :param package_number: as :meth:`get_fulfillment_order` names it
        """
        params = {"packageNumber": package_number}
        return self.client.call(operations.GET_PACKAGE_TRACKING_DETAILS, params=params).payload

    def list_orders(self, *, updated_after: datetime) -> Iterator[ChangedOrdersPage]:
        """Return the pages of every order of this seller that changed after a time, with shipments and packages.

        :raises CredentialsError: also where the account does not have Fulfillment Outbound 2026-07-04
        """
        return self.client.pages(operations.LIST_ORDERS, {"updatedAfter": amazon_time(updated_after)})

    def find_order(self, fr_number: str) -> Order | None:
        """Return an order with shipments and packages; None where Amazon answers that it has no such order.

        :raises RequestRefusedError: Amazon refuses for another reason, which says nothing about the order
        """
        try:
            return self.client.call(operations.GET_ORDER, fr_number).order
        except RequestRefusedError as error:
            if _says_no_such_order(error, fr_number):
                return None
            raise

    def get_inventory_summaries(self, skus: list[str]) -> dict[str, int | None]:
        """Return SKU → fulfillableQuantity of those SKUs that Amazon knows, None where the quantity is not given.

        :param skus: at most 50; one with a comma must be alone, because Amazon splits the list at commas
        :raises RequestRefusedError: Amazon refuses at least one of them
        """
        if len(skus) > 50 or (len(skus) > 1 and any("," in sku for sku in skus)):
            raise ValueError("getInventorySummaries takes at most 50 SKUs, and a SKU with a comma only alone")
        params: dict[str, Any] = {
            "granularityType": "Marketplace",
            "granularityId": self.marketplace.id,
            "marketplaceIds": self.marketplace.id,
            "details": "true",
            **({"sellerSku": skus[0]} if len(skus) == 1 else {"sellerSkus": ",".join(skus)}),
        }
        pages = self._inventory_pages(params)
        summaries = [summary for page in pages for summary in page.payload.inventory_summaries]
        quantities: dict[str, int | None] = {}
        for summary in summaries:
            if summary and summary.seller_sku in skus:
                details = summary.inventory_details
                quantity = details.fulfillable_quantity if details else None
                same = quantities.get(summary.seller_sku, quantity) == quantity  # two that differ say nothing
                quantities[summary.seller_sku] = quantity if same else None
        # A summary that cannot be read may be of any SKU that no other is of.
        return {**dict.fromkeys(skus), **quantities} if None in summaries else quantities

    def get_inventory_changes(self, since: datetime | None) -> Iterator[list[InventorySummary | None]]:
        """Return the stock of this store by where it is, page by page; None for a SKU that cannot be read.

        A page's token lives for 30 seconds: do not linger between pages.

        :param since: only SKUs that changed since then, at most 18 months ago; None: all. Amazon's model: "Changes in
            inboundWorkingQuantity, inboundShippedQuantity and inboundReceivingQuantity are not detected."
        """
        params = {
            "granularityType": "Marketplace",
            "granularityId": self.marketplace.id,
            "marketplaceIds": self.marketplace.id,
            "details": "true",
            **({"startDateTime": amazon_time(since)} if since else {}),
        }
        for page in self._inventory_pages(params):
            yield page.payload.inventory_summaries

    def _inventory_pages(self, params: dict[str, Any]) -> Iterator[operations.InventoryPage]:
        """Pages of getInventorySummaries, each about this marketplace, as far as Amazon says."""
        for page in self.client.pages(operations.GET_INVENTORY_SUMMARIES, params):
            about = page.payload.granularity
            if about and about.granularity_id not in (None, self.marketplace.id):
                raise UnavailableError(
                    f"{self.conn_id}: the FBA Inventory API answered about another marketplace than it was asked about; its "
                    "answer is not used"
                )
            yield page

    def get_marketplace_participations(self) -> list[str]:
        """Return the ids of the marketplaces this seller takes part in."""
        answer = self.client.call(operations.GET_MARKETPLACE_PARTICIPATIONS)
        return [participation.marketplace.id for participation in answer.payload if participation]

    # Test Connection

    def test_connection(self) -> tuple[bool, str]:
        """Check client, refresh token, region, marketplace and roles: the outcome in one line, then a verdict for each."""
        # The warehouse may not exist yet, and a token stored there would hide that the client secret is wrong.
        self._warehouse = None
        with ends_within(TEST_SECONDS):
            return check_connection(self)


def _named_in(order: dict[str, Any]) -> tuple[str, ...]:
    """The number and the SKUs of an order: Amazon's reasons name them."""
    return (order.get("sellerFulfillmentOrderId", ""), *(item["sellerSku"] for item in order["items"]))


def _says_no_such_order(error: RequestRefusedError, fr_number: str) -> bool:
    """Whether an answer is the one for an unknown order number: 404, or 400 InvalidInput with words about this order.

    Source: seen at Amazon (github.com/jlevers/selling-partner-api/issues/872). A wrong host answers 404 too, but not with
    one of Amazon's error objects.
    """
    if error.code is None:
        return False
    about_it = fr_number in error.message or "order info" in error.message
    return error.status == 404 or (error.status == 400 and error.code == "InvalidInput" and about_it)
