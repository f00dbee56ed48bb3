"""A merchant as he really is: listings, warehouse stock, and the quantities a correct reader must arrive at."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

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
    quantity), `api_stock` what the FBA Inventory API calls fulfillable (None: the API does not know the SKU).
    `number` makes ASIN, FNSKU and listing id; `changed` is the wall time of the last change of stock.
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

    @property
    def asin(self) -> str:
        """A made-up ASIN."""
        return f"B0{self.number:08d}"

    @property
    def fnsku(self) -> str:
        """A made-up fulfilment network SKU."""
        return f"X00{self.number:07d}"


@dataclass(slots=True)
class Catalogue:
    """What a seller has in one marketplace, and how Amazon shows it.

    `mode` and `hidden` bend a report (see `World.shape_report`), `renderings` say how it is written, `refused` are the
    SKUs the FBA Inventory API answers with 400. `points`: shipments reports have Japan's column for them.
    """

    channel: str
    items: dict[str, Item] = field(default_factory=dict)
    shipments: list[dict[str, str]] = field(default_factory=list)
    mode: dict[str, str] = field(default_factory=dict)
    hidden: dict[str, frozenset[str]] = field(default_factory=dict)
    renderings: dict[str, Rendering] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    points: bool = False

    def rendering(self, report_type: str) -> Rendering:
        """How a report of this type is written."""
        return self.renderings.get(report_type, Rendering())

    def reported(self, report_type: str) -> list[Item]:
        """Copies of the items a report of this type has rows for, its mode and its hidden SKUs applied."""
        mode = self.mode.get(report_type, "normal")
        if mode in {"empty", "no_data"}:
            return []
        hidden = self.hidden.get(report_type, frozenset())
        shown = [
            item
            for item in self.items.values()
            if item.sku not in hidden and (item.offers if report_type == LISTINGS else item.afn)
        ]
        if mode == "zero":
            return [_zeroed(item) for item in shown]
        return [replace(item) for item in shown]

    def shipped(self, start: float, end: float) -> list[dict[str, str]]:
        """The shipment rows reported from `start` to `end` (wall times, both included)."""
        if self.mode.get(SHIPMENTS, "normal") in {"empty", "no_data"}:
            return []
        return [
            row for row in self.shipments if start <= datetime.fromisoformat(row["reporting-date"]).timestamp() <= end
        ]

    def set_stock(self, sku: str, *, fba: int | None, fbm: int | None, api: int | None, now: float) -> Item:
        """Change the stock of a SKU and return it; None leaves a number as it is, an unknown SKU is created.

        `fba` becomes the one SELLABLE row (UNSELLABLE rows stay) and what the API knows, `fbm` the quantity of the
        one merchant-fulfilled listing row, `api` only what the API knows.
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
    """A seller: his credentials for one application, his region, and his marketplaces with their catalogues.

    A catalogue is made by `make` (from a marketplace id) when it is first needed.
    """

    seller_id: str
    client_id: str
    refresh_token: str
    region: str
    store_name: str
    marketplace_ids: tuple[str, ...]
    make: Callable[[str], Catalogue]
    catalogues: dict[str, Catalogue] = field(default_factory=dict)
    revoked: bool = False
    report_count: int = 0

    def catalogue(self, marketplace_id: str) -> Catalogue:
        """The catalogue of one marketplace; ValueError names the ones there are."""
        if marketplace_id not in self.marketplace_ids:
            raise ValueError(
                f"seller {self.seller_id} does not sell in {marketplace_id}, only in {', '.join(self.marketplace_ids)}"
            )
        if marketplace_id not in self.catalogues:
            self.catalogues[marketplace_id] = self.make(marketplace_id)
        return self.catalogues[marketplace_id]


def _smallest(quantities: Iterable[int | None]) -> int | None:
    known = [quantity for quantity in quantities if quantity is not None]
    return min(known) if known else None


def truth(
    catalogue: Catalogue,
    *,
    include_fbm_quantity: bool,
    fetch_missing_inventory: bool,
    import_deleted_skus: bool = True,
) -> dict[str, dict[str, Any]]:
    """What a first run with an empty pool must find for every SKU, from the items themselves.

    Returns `{sku: {"fba", "fbm", "quantity", "source"}}`. SKUs are keyed as the reports' charsets can say them. A SKU
    that only the API could decide and that it refuses is not there: no quantity of it is known.
    """
    listed: dict[str, list[Offer]] = {}
    for item in catalogue.reported(LISTINGS):
        listed.setdefault(catalogue.rendering(LISTINGS).as_sent(item.sku), []).extend(item.offers)
    stored: dict[str, list[Stock]] = {}
    for item in catalogue.reported(AFN):
        stored.setdefault(catalogue.rendering(AFN).as_sent(item.sku), []).extend(item.afn)

    found: dict[str, dict[str, Any]] = {}
    for sku in dict.fromkeys([*listed, *stored]):
        offers = listed.get(sku, [])
        if not offers and not import_deleted_skus:
            continue
        fbm = _smallest(quantity for channel, quantity in offers if channel == "DEFAULT") or 0
        by_amazon = [quantity for channel, quantity in offers if channel.startswith("AMAZON_")]
        by_listing = _smallest(by_amazon)
        if sku in stored:
            fba = sum(quantity for condition, quantity in stored[sku] if condition == "SELLABLE")
            source = "afn_report"
        elif by_listing is not None:
            fba, source = by_listing, "listings_report"
        elif not by_amazon:
            fba, source = 0, "listings_report"
        elif fetch_missing_inventory and sku in catalogue.refused:
            continue
        else:
            known = catalogue.items[sku].api_stock if fetch_missing_inventory and sku in catalogue.items else None
            fba, source = (0, "default_zero") if known is None else (known, "fba_api")
        quantity = fba + (fbm if include_fbm_quantity else 0)
        found[sku] = {"fba": fba, "fbm": fbm, "quantity": quantity, "source": source}
    return found
