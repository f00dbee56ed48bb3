"""Writes the feed document of another program of a seller: orders, or cancellations."""

from collections.abc import Mapping

from lxml import etree

from sandbox.documents.feed_xml import CANCEL_FEED, PAYLOADS
from sandbox.marketplaces import MARKETPLACES

_STATES = {"US": "WA", "CA": "ON"}


def feed_document(
    feed_type: str, seller_id: str, marketplace_id: str, orders: Mapping[str, Mapping[str, int]]
) -> bytes:
    """Return a document with one message for each order; `orders` is {order id: {sku: units}}.

    Without an order it has no message, so that Amazon rejects it. A cancellation takes only the ids.
    """
    envelope = etree.Element("AmazonEnvelope")
    header = etree.SubElement(envelope, "Header")
    _add(header, "DocumentVersion", "1.01")
    _add(header, "MerchantIdentifier", seller_id)
    _add(envelope, "MessageType", PAYLOADS[feed_type])
    for number, (order_id, units) in enumerate(orders.items(), start=1):
        message = etree.SubElement(envelope, "Message")
        _add(message, "MessageID", str(number))
        payload = etree.SubElement(message, PAYLOADS[feed_type])
        _add(payload, "MerchantFulfillmentOrderID", order_id)
        if feed_type == CANCEL_FEED:
            _add(etree.SubElement(payload, "Item"), "MerchantFulfillmentOrderItemID", "1")
        else:
            _add_order(payload, MARKETPLACES[marketplace_id].country, units)
    return etree.tostring(envelope, encoding="UTF-8", xml_declaration=True)


def _add_order(payload: etree._Element, country: str, units: Mapping[str, int]) -> None:
    _add(payload, "DeliverySLA", "Standard")
    address = etree.SubElement(payload, "DestinationAddress")
    _add(address, "Name", "Another Customer")
    _add(address, "AddressFieldOne", "1 Other Street")
    _add(address, "City", "Elsewhere")
    if country in _STATES:
        _add(address, "StateOrRegion", _STATES[country])
    _add(address, "PostalCode", "10001")
    _add(address, "CountryCode", country)
    for number, (sku, quantity) in enumerate(units.items(), start=1):
        item = etree.SubElement(payload, "Item")
        _add(item, "MerchantSKU", sku)
        _add(item, "Quantity", str(quantity))
        _add(item, "MerchantFulfillmentOrderItemID", str(number))


def _add(parent: etree._Element, tag: str, text: str) -> None:
    etree.SubElement(parent, tag).text = text
