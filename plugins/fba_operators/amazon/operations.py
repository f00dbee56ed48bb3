"""Amazon's operations, one table: path, rate, whether it may be repeated, and what its answer looks like.

Only the fields we use are listed. An answer that lacks one of them, or has it in another form, is not accepted. In a list
one such element is None, and the others are read: what it would have said is not known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.alias_generators import to_camel

from fba_operators.amazon.processing_status import FINISHED, ProcessingStatus


def _without_nul(text: str) -> str:
    if "\0" in text:  # PostgreSQL cannot store it
        raise ValueError("holds a NUL character")
    return text


# What the warehouse takes, less a day: its bounds are midnight in the time zone of the session that made them.
FIRST, LAST = datetime(2000, 1, 2, tzinfo=UTC), datetime(2099, 12, 31, tzinfo=UTC)


def _moment(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError("not a text")
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("without an offset")
    if not FIRST <= moment < LAST:
        raise ValueError("impossible")
    return moment


def _units(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,10}(\.0+)?", value):
        return int(value.partition(".")[0])
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _none_if_odd(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError:
        return None


Text = Annotated[str, StringConstraints(min_length=1, strict=True), AfterValidator(_without_nul)]
PageToken = Annotated[str, StringConstraints(strict=True)]  # an empty nextToken ends a list as a missing one does
Moment = Annotated[datetime, BeforeValidator(_moment)]
Units = Annotated[int, Field(ge=0, le=10**9, strict=True), BeforeValidator(_units)]  # also as 1.0 or a text
Amount = Annotated[Decimal, Field(ge=-(10**9), le=10**9, allow_inf_nan=False)]
OrNone = WrapValidator(_none_if_odd)


class Answer(BaseModel):
    """An answer of Amazon's; fields carry our names, ``reportId`` is ``report_id``."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=False, frozen=True, extra="ignore")


class Page(Answer):
    """A page of a list."""

    @property
    def next_token(self) -> str | None:
        """What to ask for the next page with; None or empty on the last one."""
        raise NotImplementedError

    @property
    def elements(self) -> Sequence[Any]:
        """What the page lists."""
        raise NotImplementedError


class _Processed(Answer):
    processing_status: Text
    created_time: Annotated[Moment | None, OrNone] = None
    processing_end_time: Annotated[Moment | None, OrNone] = None

    @property
    def finished(self) -> bool:
        """Whether Amazon's work is over; not so for an undocumented status."""
        return self.processing_status in FINISHED

    @property
    def is_documented(self) -> bool:
        """Whether Amazon documents this status."""
        return self.processing_status in list(ProcessingStatus)


class Report(_Processed):
    """A report's state."""

    report_id: Text
    report_type: Any = None
    marketplace_ids: Any = None
    report_document_id: Text | None = None
    data_start_time: Annotated[Moment | None, OrNone] = None
    data_end_time: Annotated[Moment | None, OrNone] = None

    @property
    def status(self) -> ProcessingStatus:
        """The status; raises UnavailableError for one that Amazon does not document."""
        return ProcessingStatus.read(self.processing_status, f"report {self.report_id}")

    @property
    def usable(self) -> bool:
        """Whether there is a document, or one can still come; not so for an undocumented status."""
        return self.processing_status in ("IN_QUEUE", "IN_PROGRESS", "DONE")


class ListedReport(Report):
    """A report in a list, which is always dated, and by whose window a lost one is found."""

    created_time: Moment
    data_start_time: Moment | None = None
    data_end_time: Moment | None = None


class Feed(_Processed):
    """A feed's state."""

    feed_id: Text
    result_feed_document_id: Text | None = None

    @property
    def status(self) -> ProcessingStatus:
        """The status; raises UnavailableError for one that Amazon does not document."""
        return ProcessingStatus.read(self.processing_status, f"feed {self.feed_id}")


class CreatedReport(Answer):
    """The id of a report that was created."""

    report_id: Text


class _ListPage(Page):
    token: PageToken | None = Field(default=None, alias="nextToken")

    @property
    def next_token(self) -> str | None:
        """What to ask for the next page with."""
        return self.token


class ReportPage(_ListPage):
    """A page of a list of reports."""

    reports: list[Annotated[ListedReport | None, OrNone]]

    @property
    def elements(self) -> Sequence[Any]:
        """What the page lists."""
        return self.reports


class Document(Answer):
    """The pre-signed URL of a document, valid for five minutes."""

    url: Text


class FeedDocument(Answer):
    """A new feed document and the pre-signed URL for its upload."""

    feed_document_id: Text
    url: Text


class CreatedFeed(Answer):
    """The id of a feed that was created."""

    feed_id: Text


class FeedPage(_ListPage):
    """A page of a list of feeds."""

    feeds: list[Annotated[Feed | None, OrNone]]

    @property
    def elements(self) -> Sequence[Any]:
        """What the page lists."""
        return self.feeds


UnitsOrNone = Annotated[Units | None, OrNone]  # None where Amazon did not say it, or not as a number of units


class ReservedQuantity(Answer):
    """Units that are reserved, by reason."""

    pending_customer_order_quantity: UnitsOrNone = None
    pending_transshipment_quantity: UnitsOrNone = None
    fc_processing_quantity: UnitsOrNone = None


class ResearchingQuantity(Answer):
    """Units that Amazon looks for."""

    total_researching_quantity: UnitsOrNone = None


class UnfulfillableQuantity(Answer):
    """Units that cannot be sold."""

    total_unfulfillable_quantity: UnitsOrNone = None


class FutureSupplyQuantity(Answer):
    """Units on their way that can be bought already; seen in answers, and not in Amazon's model of August 2026."""

    future_supply_buyable_quantity: UnitsOrNone = None


class InventoryDetails(Answer):
    """Amazon's stock of one SKU, by where it is."""

    fulfillable_quantity: Units | None = None
    inbound_working_quantity: UnitsOrNone = None
    inbound_shipped_quantity: UnitsOrNone = None
    inbound_receiving_quantity: UnitsOrNone = None
    reserved_quantity: Annotated[ReservedQuantity | None, OrNone] = None
    researching_quantity: Annotated[ResearchingQuantity | None, OrNone] = None
    unfulfillable_quantity: Annotated[UnfulfillableQuantity | None, OrNone] = None
    future_supply_quantity: Annotated[FutureSupplyQuantity | None, OrNone] = None


class InventorySummary(Answer):
    """One SKU of the FBA Inventory API."""

    seller_sku: Text
    fn_sku: Annotated[Text | None, OrNone] = None
    inventory_details: Annotated[InventoryDetails | None, OrNone] = None


class Granularity(Answer):
    """What an answer of the FBA Inventory API is about."""

    granularity_id: Annotated[Text | None, OrNone] = None


class InventorySummaries(Answer):
    """The SKUs of a page."""

    granularity: Annotated[Granularity | None, OrNone] = None
    inventory_summaries: list[Annotated[InventorySummary | None, OrNone]]


class Pagination(Answer):
    """Where the next page begins."""

    next_token: PageToken | None = None


class InventoryPage(Page):
    """A page of the FBA Inventory API."""

    payload: InventorySummaries
    pagination: Pagination | None = None

    @property
    def next_token(self) -> str | None:
        """What to ask for the next page with."""
        return self.pagination.next_token if self.pagination else None

    @property
    def elements(self) -> Sequence[Any]:
        """What the page lists."""
        return self.payload.inventory_summaries


class ParticipationMarketplace(Answer):
    """A marketplace by its id."""

    id: Text


class Participation(Answer):
    """A marketplace the seller takes part in."""

    marketplace: ParticipationMarketplace


class Participations(Answer):
    """The marketplaces the seller takes part in."""

    payload: list[Annotated[Participation | None, OrNone]]


class ListedOrder(Answer):
    """The header of a Multi-Channel Fulfillment order, which is all that a list has of it."""

    seller_fulfillment_order_id: Text
    marketplace_id: Annotated[Text | None, OrNone] = None
    fulfillment_order_status: Annotated[Text | None, OrNone] = None
    fulfillment_action: Annotated[Text | None, OrNone] = None
    status_updated_date: Annotated[Moment | None, OrNone] = None


class OrderPagePayload(Answer):
    """The orders of a page."""

    fulfillment_orders: list[Annotated[ListedOrder | None, OrNone]] | None = None
    next_token: PageToken | None = None


class OrderPage(Page):
    """A page of the list of Multi-Channel Fulfillment orders."""

    payload: OrderPagePayload

    @property
    def next_token(self) -> str | None:
        """What to ask for the next page with."""
        return self.payload.next_token

    @property
    def elements(self) -> Sequence[Any]:
        """What the page lists."""
        return self.payload.fulfillment_orders or ()


class OrderItem(Answer):
    """One line of a Multi-Channel Fulfillment order; what is None was not said."""

    seller_sku: Annotated[Text | None, OrNone] = None
    quantity: Annotated[Units | None, OrNone] = None


class ShipmentItem(Answer):
    """A line of a shipment: the package with this number, or the only one, has it."""

    seller_sku: Annotated[Text | None, OrNone] = None
    quantity: Annotated[Units | None, OrNone] = None
    package_number: Annotated[int | None, OrNone] = None


class ShipmentPackage(Answer):
    """A package of a shipment."""

    package_number: Annotated[int | None, OrNone] = None
    carrier_code: Annotated[Text | None, OrNone] = None
    tracking_number: Annotated[Text | None, OrNone] = None
    amazon_fulfillment_tracking_number: Annotated[Text | None, OrNone] = None
    estimated_arrival_date: Annotated[Moment | None, OrNone] = None


class FulfillmentShipment(Answer):
    """A shipment of a Multi-Channel Fulfillment order."""

    amazon_shipment_id: Annotated[Text | None, OrNone] = None
    fulfillment_shipment_status: Annotated[Text | None, OrNone] = None
    shipping_date: Annotated[Moment | None, OrNone] = None
    estimated_arrival_date: Annotated[Moment | None, OrNone] = None
    fulfillment_shipment_item: Annotated[list[Annotated[ShipmentItem | None, OrNone]] | None, OrNone] = None
    fulfillment_shipment_package: Annotated[list[Annotated[ShipmentPackage | None, OrNone]] | None, OrNone] = None


class FulfillmentOrder(Answer):
    """A Multi-Channel Fulfillment order with its items; what is None was not said."""

    fulfillment_order: ListedOrder
    fulfillment_order_items: list[Annotated[OrderItem | None, OrNone]] | None = None
    fulfillment_shipments: Annotated[list[Annotated[FulfillmentShipment | None, OrNone]] | None, OrNone] = None


class FulfillmentOrderAnswer(Answer):
    """The answer that holds one order."""

    payload: FulfillmentOrder


class Done(Answer):
    """The answer to an order, a change or a cancellation; errors mean that it did not happen."""

    errors: Annotated[list[Any], Field(max_length=0)] | None = None


class Money(Answer):
    """An amount of money; what is None was not said."""

    currency_code: Annotated[Text | None, OrNone] = None
    value: Annotated[Amount | None, OrNone] = None


class Fee(Answer):
    """A fee that Amazon expects to charge."""

    name: Text
    amount: Annotated[Money | None, OrNone] = None


class PreviewShipment(Answer):
    """When a shipment of a previewed order leaves and arrives."""

    earliest_ship_date: Annotated[Moment | None, OrNone] = None
    latest_ship_date: Annotated[Moment | None, OrNone] = None
    earliest_arrival_date: Annotated[Moment | None, OrNone] = None
    latest_arrival_date: Annotated[Moment | None, OrNone] = None


class UnfulfillableItem(Answer):
    """A line of a previewed order that Amazon cannot fulfil, and why, in Amazon's codes."""

    seller_sku: Text
    item_unfulfillable_reasons: Annotated[list[Text] | None, OrNone] = None


class Preview(Answer):
    """What an order would cost and when it would arrive with one speed."""

    shipping_speed_category: Text
    is_fulfillable: StrictBool
    estimated_fees: list[Annotated[Fee | None, OrNone]] | None = None
    fulfillment_preview_shipments: list[Annotated[PreviewShipment | None, OrNone]] | None = None
    unfulfillable_preview_items: list[Annotated[UnfulfillableItem | None, OrNone]] | None = None
    order_unfulfillable_reasons: Annotated[list[Text] | None, OrNone] = None


class PreviewPayload(Answer):
    """The previews of an order."""

    fulfillment_previews: list[Annotated[Preview | None, OrNone]]


class PreviewAnswer(Answer):
    """The answer that holds the previews of an order."""

    payload: PreviewPayload


class Feature(Answer):
    """One of Amazon's features, and whether the seller may use it; what is None was not said."""

    feature_name: Text
    seller_eligible: Annotated[StrictBool | None, OrNone] = None


class FeaturePayload(Answer):
    """The features of a marketplace."""

    features: list[Annotated[Feature | None, OrNone]]


class FeatureAnswer(Answer):
    """The answer that holds the features of a marketplace."""

    payload: FeaturePayload


class FeatureSku(Answer):
    """Whether a SKU can have a feature."""

    is_eligible: StrictBool
    ineligible_reasons: Annotated[list[Text] | None, OrNone] = None


class FeatureSkuAnswer(Answer):
    """The answer that says whether a SKU can have a feature."""

    payload: FeatureSku


class TrackingEvent(Answer):
    """What happened to a package on its way; where, and who signed, is not read."""

    event_code: Annotated[Text | None, OrNone] = None
    event_date: Annotated[Moment | None, OrNone] = None


class PackageTracking(Answer):
    """Where a package is."""

    tracking_number: Annotated[Text | None, OrNone] = None
    customer_tracking_link: Annotated[Text | None, OrNone] = None
    current_status: Annotated[Text | None, OrNone] = None
    estimated_arrival_date: Annotated[Moment | None, OrNone] = None
    tracking_events: Annotated[list[Annotated[TrackingEvent | None, OrNone]] | None, OrNone] = None


class PackageTrackingAnswer(Answer):
    """The answer that holds the tracking of one package."""

    payload: PackageTracking


# Orders of Fulfillment Outbound 2026-07-04. What is None was not said. Proofs of delivery and addresses are not read.


class Quantity(Answer):
    """A quantity of units."""

    value: Annotated[Units | None, OrNone] = None


class ProductIdentifier(Answer):
    """A product by its SKU."""

    amazon_sku: Annotated[Text | None, OrNone] = None


class Product(Answer):
    """The product of a line."""

    product_identifier: Annotated[ProductIdentifier | None, OrNone] = None


class OrderLine(Answer):
    """A line of an order."""

    product: Annotated[Product | None, OrNone] = None
    amount: Annotated[Quantity | None, OrNone] = None


class ShippedItem(Answer):
    """A line of a shipment."""

    product_identifier: Annotated[ProductIdentifier | None, OrNone] = None
    amount: Annotated[Quantity | None, OrNone] = None
    package_id: Annotated[Text | None, OrNone] = None
    shipment_item_id: Annotated[Text | None, OrNone] = None


class TrackingNumber(Answer):
    """How a carrier, or Amazon, names a package."""

    tracking_number: Annotated[Text | None, OrNone] = None
    carrier_code: Annotated[Text | None, OrNone] = None
    tracking_url: Annotated[Text | None, OrNone] = None


class TrackingNumbers(Answer):
    """How the carrier and Amazon name a package."""

    carrier: Annotated[TrackingNumber | None, OrNone] = None
    amazon: Annotated[TrackingNumber | None, OrNone] = None


class ShippedPackage(Answer):
    """A package of a shipment."""

    package_id: Annotated[Text | None, OrNone] = None
    status: Annotated[Text | None, OrNone] = None
    delivery_time: Annotated[Moment | None, OrNone] = None
    tracking: Annotated[TrackingNumbers | None, OrNone] = None
    shipment_item_ids: Annotated[list[Annotated[Text | None, OrNone]] | None, OrNone] = None


class OrderShipment(Answer):
    """A shipment of an order."""

    amazon_shipment_id: Annotated[Text | None, OrNone] = None
    status: Annotated[Text | None, OrNone] = None
    ship_time: Annotated[Moment | None, OrNone] = None
    delivery_time: Annotated[Moment | None, OrNone] = None
    items: Annotated[list[Annotated[ShippedItem | None, OrNone]] | None, OrNone] = None
    packages: Annotated[list[Annotated[ShippedPackage | None, OrNone]] | None, OrNone] = None


class Order(Answer):
    """An order with its shipments and packages."""

    order_id: Text
    status: Annotated[Text | None, OrNone] = None
    status_update_time: Annotated[Moment | None, OrNone] = None
    line_items: Annotated[list[Annotated[OrderLine | None, OrNone]] | None, OrNone] = None
    shipments: Annotated[list[Annotated[OrderShipment | None, OrNone]] | None, OrNone] = None


class OrderAnswer(Answer):
    """The answer that holds one order."""

    order: Order


class ChangedOrdersPage(Page):
    """A page of the list of changed orders."""

    orders: list[Annotated[Order | None, OrNone]]
    pagination: Pagination | None = None

    @property
    def next_token(self) -> str | None:
        """What to ask for the next page with."""
        return self.pagination.next_token if self.pagination else None

    @property
    def elements(self) -> Sequence[Any]:
        """What the page lists."""
        return self.orders


A = TypeVar("A", bound=Answer)


@dataclass(frozen=True)
class Operation(Generic[A]):
    """One of Amazon's operations.

    :param rate: documented calls per second, per seller and application
    :param burst: documented size of the bucket
    :param shared_bucket: the rate is so low, or so many tasks call it at once, that all must share one bucket
    :param idempotent: calling it twice has the effect of calling it once
    :param page_param: of a list: how the next page is asked for
    :param about_one_order: Amazon's reasons may name a buyer, so they belong to the row of the request alone
    """

    name: str
    method: str
    path: str
    answer: type[A]
    rate: float
    burst: int
    shared_bucket: bool = False
    idempotent: bool = True
    page_param: str = "nextToken"
    about_one_order: bool = False

    def read(self, body: Any) -> A:
        """Read a JSON body as this operation's answer.

        :raises UnexpectedAnswerError: a field that we use is missing or not as documented; says which
        """
        try:
            return self.answer.model_validate(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            raise UnexpectedAnswerError(_place(first["loc"])) from None


class UnexpectedAnswerError(ValueError):
    """An answer is not as Amazon documents it; the text is the first field that differs."""


def _place(loc: tuple[int | str, ...]) -> str:
    return "answer" + "".join("[]" if isinstance(part, int) else f".{part}" for part in loc)


# Rates and bursts: Amazon's models of the Reports and Feeds API 2021-06-30, FBA Inventory v1, Sellers v1 and
# Fulfillment Outbound 2020-07-01 and 2026-07-04.
_REPORTS, _FEEDS = "/reports/2021-06-30", "/feeds/2021-06-30"
_OUTBOUND, _CHANGED_ORDERS = "/fba/outbound/2020-07-01", "/fulfillment/outbound/2026-07-04/orders"
_ORDERS = f"{_OUTBOUND}/fulfillmentOrders"

CREATE_REPORT = Operation(
    "createReport", "POST", f"{_REPORTS}/reports", CreatedReport, 0.0167, 15, shared_bucket=True, idempotent=False
)
GET_REPORT = Operation("getReport", "GET", f"{_REPORTS}/reports/{{}}", Report, 2, 15)
GET_REPORTS = Operation("getReports", "GET", f"{_REPORTS}/reports", ReportPage, 0.0222, 10, shared_bucket=True)
GET_REPORT_DOCUMENT = Operation(
    "getReportDocument", "GET", f"{_REPORTS}/documents/{{}}", Document, 0.0167, 15, shared_bucket=True
)
CREATE_FEED_DOCUMENT = Operation("createFeedDocument", "POST", f"{_FEEDS}/documents", FeedDocument, 0.5, 15)
CREATE_FEED = Operation(
    "createFeed", "POST", f"{_FEEDS}/feeds", CreatedFeed, 0.0083, 15, shared_bucket=True, idempotent=False
)
GET_FEED = Operation("getFeed", "GET", f"{_FEEDS}/feeds/{{}}", Feed, 2, 15)
GET_FEEDS = Operation("getFeeds", "GET", f"{_FEEDS}/feeds", FeedPage, 0.0222, 10, shared_bucket=True)
GET_FEED_DOCUMENT = Operation(
    "getFeedDocument", "GET", f"{_FEEDS}/documents/{{}}", Document, 0.0222, 10, shared_bucket=True
)
GET_INVENTORY_SUMMARIES = Operation(
    "getInventorySummaries", "GET", "/fba/inventory/v1/summaries", InventoryPage, 2, 2, shared_bucket=True
)
GET_MARKETPLACE_PARTICIPATIONS = Operation(
    "getMarketplaceParticipations", "GET", "/sellers/v1/marketplaceParticipations", Participations, 0.016, 15
)
LIST_ALL_FULFILLMENT_ORDERS = Operation("listAllFulfillmentOrders", "GET", _ORDERS, OrderPage, 2, 30)
GET_FULFILLMENT_ORDER = Operation(
    "getFulfillmentOrder",
    "GET",
    f"{_ORDERS}/{{}}",
    FulfillmentOrderAnswer,
    2,
    30,
    shared_bucket=True,
    about_one_order=True,
)
# Whether Amazon refuses an id that it has already is not known.
CREATE_FULFILLMENT_ORDER = Operation(
    "createFulfillmentOrder", "POST", _ORDERS, Done, 2, 30, shared_bucket=True, idempotent=False, about_one_order=True
)
# Idempotent: it is only called to release an order, and one that is released stays so.
UPDATE_FULFILLMENT_ORDER = Operation(
    "updateFulfillmentOrder", "PUT", f"{_ORDERS}/{{}}", Done, 2, 30, shared_bucket=True, about_one_order=True
)
GET_FULFILLMENT_PREVIEW = Operation(
    "getFulfillmentPreview",
    "POST",
    f"{_ORDERS}/preview",
    PreviewAnswer,
    2,
    30,
    shared_bucket=True,
    about_one_order=True,
)
GET_FEATURES = Operation("getFeatures", "GET", f"{_OUTBOUND}/features", FeatureAnswer, 2, 30)
GET_FEATURE_SKU = Operation(
    "getFeatureSKU", "GET", f"{_OUTBOUND}/features/inventory/{{}}/{{}}", FeatureSkuAnswer, 2, 30, shared_bucket=True
)
# Idempotent: a second cancellation of an order changes nothing.
CANCEL_FULFILLMENT_ORDER = Operation(
    "cancelFulfillmentOrder", "PUT", f"{_ORDERS}/{{}}/cancel", Done, 2, 30, about_one_order=True
)
GET_PACKAGE_TRACKING_DETAILS = Operation(
    "getPackageTrackingDetails", "GET", f"{_OUTBOUND}/tracking", PackageTrackingAnswer, 2, 30, about_one_order=True
)
LIST_ORDERS = Operation("listOrders", "GET", _CHANGED_ORDERS, ChangedOrdersPage, 2, 30, page_param="pageToken")
GET_ORDER = Operation("getOrder", "GET", f"{_CHANGED_ORDERS}/{{}}", OrderAnswer, 2, 30, about_one_order=True)

OPERATIONS: dict[str, Operation[Any]] = {
    each.name: each for each in list(globals().values()) if isinstance(each, Operation)
}
"""Every operation by Amazon's name."""
