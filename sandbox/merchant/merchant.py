"""A merchant's actual listings and stock, and the quantities a correct reader of its reports must find."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sandbox.merchant.features import FeatureRules
from sandbox.merchant.rendering import Rendering

LISTINGS = "GET_MERCHANT_LISTINGS_ALL_DATA"
AFN = "GET_AFN_INVENTORY_DATA"
SHIPMENTS = "GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL"
REPORT_TYPES = (LISTINGS, AFN, SHIPMENTS)
MODES = ("normal", "zero", "empty", "no_data")

Offer = tuple[str, int | None]
Stock = tuple[str, int]


@dataclass(slots=True)
class Item:
    """One SKU of one marketplace.

    `offers` are its listing rows as (channel, quantity or None for blank), `afn` its warehouse rows as (condition,
    quantity), `api_stock` its fulfillable quantity in the FBA Inventory API (None: unknown there). ASIN, FNSKU and
    listing id derive from `number`. `changed` is the wall time of the last change of stock that `startDateTime` of the
    FBA Inventory API detects. `elsewhere` are other quantities by the name of that API, e.g. inboundShippedQuantity.
    """

    sku: str
    number: int
    title: str
    offers: tuple[Offer, ...] = ()
    afn: tuple[Stock, ...] = ()
    api_stock: int | None = None
    price: str = "19.99"
    status: str = "Active"
    changed: float = 0.0
    elsewhere: dict[str, int] = field(default_factory=dict)

    @property
    def asin(self) -> str:
        """An invented ASIN."""
        return f"B0{self.number:08d}"

    @property
    def fnsku(self) -> str:
        """An invented fulfillment network SKU."""
        return f"X00{self.number:07d}"


@dataclass(slots=True)
class Catalogue:
    """A seller's items and shipments in one marketplace, and how Amazon reports them.

    `channel` is the marketplace's FBA channel. By report type: `modes` and `hidden_skus` distort a report (see
    `World.shape_report`), `renderings` are how it is written. `refused_skus` get 400 from the FBA Inventory API.
    `has_points_column`: shipments reports have Japan's points column. `features`: what fulfillment orders cannot have.
    """

    channel: str
    items: dict[str, Item] = field(default_factory=dict)
    shipment_rows: list[dict[str, str]] = field(default_factory=list)
    modes: dict[str, str] = field(default_factory=dict)
    hidden_skus: dict[str, frozenset[str]] = field(default_factory=dict)
    renderings: dict[str, Rendering] = field(default_factory=dict)
    refused_skus: set[str] = field(default_factory=set)
    has_points_column: bool = False
    features: FeatureRules = field(default_factory=FeatureRules)

    def rendering(self, report_type: str) -> Rendering:
        """Return how reports of a type are written."""
        return self.renderings.get(report_type, Rendering())

    def items_in_report(self, report_type: str) -> list[Item]:
        """Return copies of the items in a report of this type, with its mode and hidden SKUs applied."""
        mode = self.modes.get(report_type, "normal")
        if mode in {"empty", "no_data"}:
            return []
        hidden = self.hidden_skus.get(report_type, frozenset())
        included = [
            item
            for item in self.items.values()
            if item.sku not in hidden and (item.offers if report_type == LISTINGS else item.afn)
        ]
        if mode == "zero":
            return [_zeroed(item) for item in included]
        return [replace(item) for item in included]

    def shipment_rows_between(self, start: float, end: float) -> list[dict[str, str]]:
        """Return the shipment rows reported from `start` to `end` (wall times, inclusive)."""
        if self.modes.get(SHIPMENTS, "normal") in {"empty", "no_data"}:
            return []
        return [
            row
            for row in self.shipment_rows
            if start <= datetime.fromisoformat(row["reporting-date"]).timestamp() <= end
        ]

    def set_stock(self, sku: str, *, fba: int | None, fbm: int | None, api: int | None, now: float) -> Item:
        """Change the stock of a SKU, created if it does not exist, and return it; None leaves a quantity unchanged.

        `fba` becomes the quantity of its only SELLABLE row (UNSELLABLE rows stay) and of the FBA Inventory API, `fbm`
        that of its only merchant-fulfilled listing row, `api` that of the FBA Inventory API alone. `now` is wall time.
        """
        item = self.items.get(sku) or Item(sku, len(self.items) + 1, f"Item {sku}")
        if fba is not None:
            item.afn = (*(row for row in item.afn if row[0] != "SELLABLE"), ("SELLABLE", fba))
            item.api_stock = fba
        if fbm is not None:
            item.offers = (*(offer for offer in item.offers if offer[0] != "DEFAULT"), ("DEFAULT", fbm))
        if api is not None:
            item.api_stock = api
        item.changed = now
        self.items[sku] = item
        return item


def _zeroed(item: Item) -> Item:
    offers = tuple((channel, None if quantity is None else 0) for channel, quantity in item.offers)
    return replace(item, offers=offers, afn=tuple((condition, 0) for condition, _ in item.afn))


@dataclass(slots=True)
class Merchant:
    """A seller: its credentials for one application, its region, and a catalogue per marketplace.

    `make_catalogue` creates the catalogue of a marketplace id when it is first needed. `has_outbound_2026`: the account
    can use Fulfillment Outbound 2026-07-04.
    """

    seller_id: str
    client_id: str
    refresh_token: str
    region: str
    store_name: str
    marketplace_ids: tuple[str, ...]
    make_catalogue: Callable[[str], Catalogue]
    catalogues: dict[str, Catalogue] = field(default_factory=dict)
    revoked: bool = False
    report_count: int = 0
    has_outbound_2026: bool = True

    def catalogue(self, marketplace_id: str) -> Catalogue:
        """Return the catalogue of a marketplace; ValueError if the seller does not sell there."""
        if marketplace_id not in self.marketplace_ids:
            raise ValueError(
                f"seller {self.seller_id} does not sell in {marketplace_id}, only in {', '.join(self.marketplace_ids)}"
            )
        if marketplace_id not in self.catalogues:
            self.catalogues[marketplace_id] = self.make_catalogue(marketplace_id)
        return self.catalogues[marketplace_id]


def _smallest(quantities: Iterable[int | None]) -> int | None:
    numbers = [quantity for quantity in quantities if quantity is not None]
    return min(numbers) if numbers else None


def truth(
    catalogue: Catalogue,
    *,
    include_fbm_quantity: bool,
    fetch_missing_inventory: bool,
    import_deleted_skus: bool = True,
) -> dict[str, dict[str, Any]]:
    """Return what a first run with an empty pool must load for every SKU, computed from the items, not from reports.

    Returns `{sku: {"fba", "fbm", "quantity", "source"}}`. SKUs are keyed as they read after encoding in the reports'
    charsets. A SKU is left out if its quantity is only in the FBA Inventory API and the API rejects it.
    """
    listed: dict[str, list[Offer]] = {}
    for item in catalogue.items_in_report(LISTINGS):
        listed.setdefault(catalogue.rendering(LISTINGS).as_sent(item.sku), []).extend(item.offers)
    stored: dict[str, list[Stock]] = {}
    for item in catalogue.items_in_report(AFN):
        stored.setdefault(catalogue.rendering(AFN).as_sent(item.sku), []).extend(item.afn)

    expected: dict[str, dict[str, Any]] = {}
    for sku in dict.fromkeys([*listed, *stored]):
        offers = listed.get(sku, [])
        if not offers and not import_deleted_skus:
            continue
        fbm = _smallest(quantity for channel, quantity in offers if channel == "DEFAULT") or 0
        fba_quantities = [quantity for channel, quantity in offers if channel.startswith("AMAZON_")]
        listed_quantity = _smallest(fba_quantities)
        if sku in stored:
            fba = sum(quantity for condition, quantity in stored[sku] if condition == "SELLABLE")
            source = "afn_report"
        elif listed_quantity is not None:
            fba, source = listed_quantity, "listings_report"
        elif not fba_quantities:
            fba, source = 0, "listings_report"
        elif fetch_missing_inventory and sku in catalogue.refused_skus:
            continue
        else:
            api_stock = catalogue.items[sku].api_stock if fetch_missing_inventory and sku in catalogue.items else None
            fba, source = (0, "default_zero") if api_stock is None else (api_stock, "fba_api")
        quantity = fba + (fbm if include_fbm_quantity else 0)
        expected[sku] = {"fba": fba, "fbm": fbm, "quantity": quantity, "source": source}
    return expected
