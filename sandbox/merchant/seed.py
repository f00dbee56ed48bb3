"""Generates a merchant's catalogue: first every edge case known from real reports, then ordinary SKUs."""

import random
from collections.abc import Iterator

from sandbox.marketplaces import MARKETPLACES
from sandbox.merchant.merchant import SHIPMENTS, Catalogue, Item, Offer, Stock
from sandbox.merchant.rendering import Rendering

S, U = "SELLABLE", "UNSELLABLE"
_EdgeCase = tuple[str, str, tuple[Offer, ...], tuple[Stock, ...], int | None]


def _edge_cases(fba: str) -> list[_EdgeCase]:
    """Return (SKU, title, offers, AFN rows, FBA Inventory stock) of each edge case; `fba` is the FBA channel."""
    blank: tuple[Offer, ...] = ((fba, None),)
    return [
        # Warehouse rows
        ("AFN-PLAIN", "Sellable only", blank, ((S, 17),), 17),
        ("AFN-BOTH", "Sellable and unsellable", blank, ((S, 9), (U, 4)), 9),
        ("AFN-TWICE", "Two sellable rows", blank, ((S, 5), (U, 1), (S, 6)), 11),
        ("AFN-TWICE-EQUAL", "Two equal sellable rows", blank, ((S, 5), (S, 5)), 10),
        ("AFN-UNSELLABLE", "Only unsellable", blank, ((U, 8),), 3),
        ("AFN-ZERO", "Sold out", blank, ((S, 0), (U, 0)), 0),
        ("AFN-UNSELLABLE-LISTED", "Only unsellable, listing has a number", ((fba, 5),), ((U, 2),), 0),
        ("AFN-NOT-LISTED", "", (), ((S, 21),), 21),
        ("AFN-NOT-LISTED-UNSELLABLE", "", (), ((U, 2),), 0),
        # Blank listing quantity and no warehouse row: the quantity is unknown, not zero
        ("FBA-KNOWN-TO-API", "Only the API knows", blank, (), 13),
        ("FBA-ZERO-IN-API", "The API says none", blank, (), 0),
        ("FBA-UNKNOWN", "Nobody knows", blank, (), None),
        ("FBA-LISTED-QUANTITY", "The listing knows", ((fba, 6),), (), 7),
        ("FBA-LISTED-ZERO", "The listing says none", ((fba, 0),), (), 2),
        ("FBA-INACTIVE", "Closed listing", blank, (), None),
        # Both channels, repeated rows
        ("BOTH-CHANNELS", "Offered twice", ((fba, None), ("DEFAULT", 4)), ((S, 3),), 3),
        ("BOTH-CHANNELS-NO-AFN", "Offered twice, not in the warehouse report", (("DEFAULT", 8), (fba, None)), (), 2),
        ("BOTH-CHANNELS-LISTED", "Offered twice with two numbers", (("DEFAULT", 2), (fba, 9)), (), None),
        ("FBM-WITH-AFN", "Merchant-fulfilled with stock at Amazon", (("DEFAULT", 5),), ((S, 7),), 7),
        ("FBM-IN-API", "Merchant-fulfilled and known to the API", (("DEFAULT", 3),), (), 40),
        ("REPEATED-EQUAL", "Listed twice alike", (("DEFAULT", 12), ("DEFAULT", 12)), (), None),
        ("REPEATED-DIFFERENT", "Listed twice unlike", (("DEFAULT", 15), ("DEFAULT", 10)), (), None),
        ("REPEATED-FBA", "Listed twice unlike, by Amazon", ((fba, 11), (fba, 14)), (), None),
        ("REPEATED-HALF-BLANK", "Listed twice, once blank", ((fba, None), (fba, 8)), (), 1),
        ("FBM-ZERO", "Merchant has none", (("DEFAULT", 0),), (), None),
        ("FBM-BLANK", "Merchant says nothing", (("DEFAULT", None),), (), None),
        # SKUs that careless parsing changes
        ("COMMA,ONE", "A comma, alone in the list it breaks", blank, (), 31),
        ("COMMA,IN,AFN", "Commas", blank, ((S, 32),), 32),
        ('QUOTE"ONE', "A quote inside", (("DEFAULT", 33),), (), None),
        ('"QUOTED"', "Quotes around", blank, ((S, 34),), 34),
        ('"OPEN', 'An open " quote', blank, (), 35),
        ("INNER SPACE", "A space", (("DEFAULT", 36),), (), None),
        (" LEADING SPACE", "A space in front", blank, ((S, 37),), 37),
        ("TRAILING SPACE ", "A space behind", (("DEFAULT", 38),), (), None),
        ("00123", "Zeros in front", blank, ((S, 39),), 39),
        ("123", "The same number without", (("DEFAULT", 41),), (), None),
        ("1e5", "Looks like a number", blank, ((S, 42),), 42),
        ("1.0", "So does this", (("DEFAULT", 43),), (), None),
        ("Case-Sku", "Case matters", blank, ((S, 44),), 44),
        ("CASE-SKU", "Case matters still", (("DEFAULT", 45),), (), None),
        ("NA", "Not a missing value", blank, ((S, 46),), 46),
        ("null", "Neither", (("DEFAULT", 47),), (), None),
        ("None", "Nor this", blank, (), 48),
        ("nan", "Nor that", (("DEFAULT", 49),), (), None),
        ("ÜNÏCÖDE-é", "Café Größe 5", blank, ((S, 51),), 51),
        ("日本-SKU", "スチームオーブン", blank, (), 52),
        ("PLUS+AND&%20=?#/", "URL characters", blank, (), 53),
        ("-MINUS", "Looks like a formula", (("DEFAULT", 54),), (), None),
        # Titles that careless parsing changes
        ("TITLE-QUOTE", '19" monitor, 27" deep', (("DEFAULT", 61),), (), None),
        ("TITLE-OPEN-QUOTE", '"Best of', blank, ((S, 62),), 62),
        ("TITLE-LINE-SEPARATOR", "One\u2028line\x85still\x0bone", (("DEFAULT", 63),), (), None),
        ("TITLE-RETURN", "A carriage\rreturn", blank, ((S, 64),), 64),
        ("TITLE-EMPTY", "", (("DEFAULT", 65),), (), None),
        ("TITLE-LONG", "Long " * 100, (("DEFAULT", 66),), (), None),
    ]  # fmt: skip


def _ordinary_item(rng: random.Random, fba: str) -> tuple[tuple[Offer, ...], tuple[Stock, ...], int | None]:
    kind, units = rng.random(), rng.randrange(0, 200)
    if kind < 0.55:
        return ((fba, None),), ((S, units),), units
    if kind < 0.65:
        return ((fba, None),), ((S, units), (U, rng.randrange(0, 9))), units
    if kind < 0.90:
        return (("DEFAULT", units),), (), None
    if kind < 0.94:
        return ((fba, None),), (), units
    if kind < 0.97:
        return ((fba, None),), (), None
    if kind < 0.98:
        return ((fba, units),), (), units
    if kind < 0.99:
        return ((fba, None), ("DEFAULT", rng.randrange(0, 50))), ((S, units),), units
    return ((fba, None),), ((U, units),), 0


def _items(listings: int, rng: random.Random, fba: str, oddities: bool) -> Iterator[Item]:
    listed = number = 0
    for sku, title, offers, afn, api in _edge_cases(fba) if oddities else ():
        if listed >= listings:
            return
        number += 1
        listed += bool(offers)
        status = "Inactive" if sku == "FBA-INACTIVE" else "Active"
        yield Item(sku, number, title, offers, afn, api, status=status)
    while listed < listings:
        number += 1
        listed += 1
        offers, afn, api = _ordinary_item(rng, fba)
        price = f"{rng.randrange(5, 300)}.{rng.randrange(0, 100):02d}"
        yield Item(f"SKU-{number:06d}", number, f"Article no. {number}", offers, afn, api, price)
        if afn and number % 50 == 0:
            yield Item(f"OLD-{number:06d}", number, "", (), ((S, rng.randrange(1, 30)),), None)


def catalogue(
    marketplace_id: str, *, listings: int, seed: int, oddities: bool = True, changed: float = 0.0
) -> Catalogue:
    """Return a catalogue of `listings` listed SKUs and some unlisted ones; equal arguments give equal catalogues.

    `oddities` False leaves the edge cases out. `changed` is the wall time of the last change of all stock.
    """
    marketplace = MARKETPLACES[marketplace_id]
    channel, is_japan = marketplace.channel, marketplace.country == "JP"
    rng = random.Random(f"{seed}/{marketplace_id}")
    items = {}
    for item in _items(listings, rng, channel, oddities):
        item.changed = changed
        items[item.sku] = item
    renderings = {SHIPMENTS: Rendering(charset="cp932")} if is_japan else {}
    return Catalogue(channel, items, renderings=renderings, has_points_column=is_japan)
