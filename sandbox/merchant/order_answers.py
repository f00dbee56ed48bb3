"""How Amazon answers about orders, where its documentation is silent or its answers are known to vary."""

import re
from dataclasses import dataclass, replace
from typing import Any

READERS = ("getFulfillmentOrder", "listAllFulfillmentOrders", "getOrder", "listOrders")
CHOICES = {
    "repeated_id": ("refuse", "second_order"),
    "second_cancel": ("accept", "refuse"),
    "second_release": ("refuse", "accept"),
    "unknown_number": ("not_found", "invalid_input"),
    "short_stock": ("refuse", "unfulfillable"),
    "create_answer": ("order", "accepted"),
    "preview_fees": ("given", "null", "missing"),
}
QUANTITIES = frozenset({"quantity", "cancelledQuantity", "unfulfillableQuantity"})
OMITTABLE = (
    "payload",
    "fulfillmentOrder",
    "fulfillmentOrders",
    "fulfillmentOrderItems",
    "fulfillmentShipments",
    "returnItems",
    "returnAuthorizations",
    "sellerFulfillmentOrderId",
    "marketplaceId",
    "displayableOrderId",
    "displayableOrderDate",
    "displayableOrderComment",
    "shippingSpeedCategory",
    "destinationAddress",
    "fulfillmentAction",
    "fulfillmentPolicy",
    "receivedDate",
    "fulfillmentOrderStatus",
    "statusUpdatedDate",
    "notificationEmails",
    "featureConstraints",
    "sellerSku",
    "sellerFulfillmentOrderItemId",
    "quantity",
    "giftMessage",
    "displayableComment",
    "cancelledQuantity",
    "unfulfillableQuantity",
    "amazonShipmentId",
    "fulfillmentCenterId",
    "fulfillmentShipmentStatus",
    "fulfillmentShipmentItem",
    "fulfillmentShipmentPackage",
    "shippingDate",
    "packageNumber",
    "carrierCode",
    "trackingNumber",
    "amazonFulfillmentTrackingNumber",
    "estimatedArrivalDate",
    "deliveryInformation",
    "orders",
    "pagination",
    "order",
    "orderId",
    "channel",
    "receiveTime",
    "status",
    "statusUpdateTime",
    "fulfillmentConfiguration",
    "origin",
    "destination",
    "lineItems",
    "lineItemId",
    "product",
    "productIdentifier",
    "amazonSku",
    "amount",
    "cancelledAmount",
    "unfulfillableAmount",
    "shipments",
    "amazonFacility",
    "shipTime",
    "deliveryTime",
    "items",
    "shipmentItemId",
    "packages",
    "packageId",
    "shipmentItemIds",
    "tracking",
    "carrier",
    "amazon",
    "trackingUrl",
    "proofOfDelivery",
)


@dataclass(frozen=True, slots=True)
class OrderAnswers:
    """The options, for every seller.

    - `repeated_id`: an order id that exists already is refused (refuse), or a second order is made (second_order).
    - `second_cancel`: to cancel a cancelled order again succeeds without effect (accept), or is refused (refuse).
    - `second_release`: to release an order from hold again is refused (refuse), or succeeds without effect (accept).
    - `short_stock`: an order for which stock is missing is refused (refuse), or made, and then Unfulfillable if its
      policy is FillOrKill or nothing is in stock (unfulfillable).
    - `create_answer`: createOrder answers 200 with the order (order), or 202 with its id and status (accepted).
    - `preview_fees`: previews name the fees (given), or, as seen at Amazon, null in their place (null); or the field
      is not there (missing).
    - `unknown_number`: getFulfillmentOrder of an order that does not exist answers 404 NotFound (not_found), or 400
      InvalidInput with the text seen at Amazon (invalid_input).
    - `capitals`: statuses read as in Amazon's examples, e.g. COMPLETE_PARTIALLED.
    - `leave_out`: fields to leave out wherever they occur in the answers of the operations `leave_out_of`.
    - `quantities_as_text`: quantities are JSON strings.
    """

    repeated_id: str = "refuse"
    second_cancel: str = "accept"
    second_release: str = "refuse"
    unknown_number: str = "not_found"
    short_stock: str = "refuse"
    create_answer: str = "order"
    preview_fees: str = "given"
    capitals: bool = False
    leave_out: tuple[str, ...] = ()
    leave_out_of: tuple[str, ...] = READERS
    quantities_as_text: bool = False

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} {getattr(self, name)!r} is not one of {', '.join(choices)}")
        for name, allowed in (("leave_out", OMITTABLE), ("leave_out_of", READERS)):
            unknown = set(getattr(self, name)) - set(allowed)
            if unknown:
                raise ValueError(f"{name} cannot have {', '.join(sorted(unknown))}, only {', '.join(allowed)}")

    def with_options(self, **options: Any) -> "OrderAnswers":
        """Return a copy with some options changed; None leaves an option unchanged."""
        given: dict[str, Any] = {
            name: value if isinstance(value, str | bool) else tuple(value)
            for name, value in options.items()
            if value is not None
        }
        return replace(self, **given)

    def status(self, status: str) -> str:
        """Return a status as it is written."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", status).upper() if self.capitals else status

    def written(self, document: Any, operation: str) -> Any:
        """Return the JSON answer of an operation without the fields to leave out, and with quantities as written."""
        if isinstance(document, list):
            return [self.written(one, operation) for one in document]
        if not isinstance(document, dict):
            return document
        omitted = self.leave_out if operation in self.leave_out_of else ()
        return {
            name: str(value) if self.quantities_as_text and name in QUANTITIES else self.written(value, operation)
            for name, value in document.items()
            if name not in omitted
        }
