"""Whether a fulfillment request is fit to be sent: Amazon's limits, the address, the items, the store's rules.

No message made here repeats a name, an address, an e-mail or a comment: reasons are stored and logged.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

import pycountry

from fba_operators.fulfillment.release import Waiting
from fba_operators.fulfillment.request import FR_NUMBER, FulfillmentRequest, RequestItem, capitals, clean, iso_country
from fba_operators.fulfillment.wishes import wish_problems
from fba_operators.runs.summary import listed
from fba_operators.settings.models import Fulfillment, Rules
from fba_operators.settings.speeds import doubt_about

MAX_LINES = 100  # Fulfillment Outbound 2020-07-01, like all limits below that the feed's own schema does not have
MAX_UNITS = 250
MAX_SKU, MAX_EMAIL, MAX_COMMENT, MAX_DISPLAYED, MAX_GIFT = 40, 64, 750, 40, 512
SHOWN = 10  # SKUs in a reason

EMAIL = re.compile(r"[\w.+-]+@([\w-]+\.)+\w+", re.ASCII)
# ISO 8859-1 without two spaces in a row: displayableOrderId of Fulfillment Outbound 2020-07-01.
_DISPLAYED = re.compile(r"[!-~\xa1-\xac\xae-\xff]+( [!-~\xa1-\xac\xae-\xff]+)*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_XML_ILLEGAL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# Only certain matches: a false positive would stop a good order, a false negative is refused by Amazon.
_PO_BOX = re.compile(
    r"\b(p[.\s-]*o[.\s-]*box(?![^\W\d_])|p\.?\s*o\.?\s*b\.?\s*#?\s*\d|post[\s-]*office[\s-]*box(?![^\W\d_])|postfach\b|postbus\b|apartado\s+(de\s+correos|postal)"
    r"|casella\s+postale|caixa\s+postal|bo[iî]te\s+postale)",
    re.IGNORECASE,
)
_MILITARY_STATES = frozenset({"AA", "AE", "AP"})

# Column, name in messages, characters allowed, required everywhere. Amazon states no length for city, state and postal
# code; 200 keeps nonsense from filling a feed.
_TEXTS = (
    ("ship_to_name", "ship-to name", 50, True),
    ("ship_to_address_1", "ship-to address line 1", 60, True),
    ("ship_to_address_2", "ship-to address line 2", 60, False),
    ("ship_to_address_3", "ship-to address line 3", 60, False),
    ("ship_to_city", "ship-to city", 200, False),
    ("ship_to_state", "ship-to state", 200, False),
    ("ship_to_postal_code", "ship-to postal code", 200, True),
    ("ship_to_phone", "ship-to phone", 50, False),
)


@dataclass(frozen=True)
class Validation:
    """What was found in a request: ``reasons`` make it invalid, ``waiting`` holds it back, ``warnings`` do neither."""

    reasons: tuple[str, ...] = ()
    waiting: Waiting | None = None
    warnings: tuple[str, ...] = ()


def _subdivisions(country: str) -> list[Any]:
    return list(pycountry.subdivisions.get(country_code=country))  # type: ignore[no-untyped-call]


@cache
def _states(country: str) -> frozenset[str]:
    found = frozenset(part.code.partition("-")[2] for part in _subdivisions(country))
    return found | _MILITARY_STATES if country == "US" else found


def validate(
    request: FulfillmentRequest,
    settings: Fulfillment,
    *,
    country: str,
    stock: Mapping[str, int],
    inventory_as_of: datetime | None,
    near_skus: Mapping[str, Sequence[str]],
) -> Validation:
    """Decide whether a request can be sent to Amazon, and report all of its problems at once.

    :param country: of the store's marketplace, in Amazon's code
    :param stock: quantity of every SKU the store knows (pool and AFN copy); at least those of this request
    :param inventory_as_of: when the inventory reports of the pool were asked for; None before the first
    :param near_skus: SKU that the store does not know → SKUs it has that may have been meant
    """
    if not request.items:
        return Validation(waiting=Waiting("no items yet"))
    reasons = problems(request, settings)
    if settings.transport == "outbound" and country == "IN":
        reasons.append("Amazon wants payment details of orders in India, which only the transport feed does without")
    unknown = list(dict.fromkeys(item.sku for item in request.items if item.sku and item.sku not in stock))
    waiting = None
    if unknown and inventory_as_of is not None and inventory_as_of > request.created_at:
        reasons.append(f"{_skus(unknown, near_skus)}: Amazon's inventory reports made after the request do not have it")
    elif unknown:
        waiting = Waiting(f"{_skus(unknown, near_skus)}: not in the pool yet")
    return Validation(tuple(reasons), None if reasons else waiting, tuple(_warnings(request, settings, country, stock)))


def _warnings(
    request: FulfillmentRequest, settings: Fulfillment, country: str, stock: Mapping[str, int]
) -> Iterator[str]:
    if empty := list(dict.fromkeys(item.sku for item in request.items if stock.get(item.sku) == 0)):
        yield f"{_skus(empty)}: the pool has a quantity of 0"
    speed = settings.shipping_methods.get(request.shipping_method or "")
    if speed and (doubt := doubt_about(speed, country)):
        yield doubt


def problems(request: FulfillmentRequest, settings: Fulfillment) -> list[str]:
    """List what is wrong with a request in itself, whatever the stock; one with problems must not be sent.

    Source: the limits of Amazon's FulfillmentOrderRequest schema and of its Fulfillment Outbound 2020-07-01 API.
    """
    return [
        *_header_problems(request, settings),
        *_address_problems(request, settings),
        *_item_problems(request.items),
        *wish_problems(request, settings),
        *_rule_problems(request, settings.rules),
    ]


def _header_problems(request: FulfillmentRequest, settings: Fulfillment) -> list[str]:
    found = []
    if not FR_NUMBER.fullmatch(request.fr_number) or request.fr_number in (".", ".."):  # dots would change the URL
        found.append(
            "fr_number: allowed are 1 to 40 of the characters A-Z a-z 0-9 . _ - (but not only one or two dots)"
        )
    mapped = ", ".join(settings.shipping_methods)
    if not request.shipping_method:
        found.append(f"shipping_method is missing; allowed: {mapped}")
    elif request.shipping_method not in settings.shipping_methods:
        found.append(f"shipping_method has no mapping in the store's fulfillment.shipping_methods; allowed: {mapped}")
    shown = clean(request.displayable_order_number)
    if shown and (len(shown) > MAX_DISPLAYED or not _DISPLAYED.fullmatch(shown)):
        found.append(
            f"displayable_order_number: allowed are 1 to {MAX_DISPLAYED} printable characters of ISO 8859-1 (Western European), "
            "without two spaces in a row"
        )
    comment = clean(request.order_comment)
    if len(comment) > MAX_COMMENT:
        found.append(f"order_comment is {len(comment)} characters long; allowed: {MAX_COMMENT}")
    if _XML_ILLEGAL.search(comment):
        found.append("order_comment has control characters; allowed: printable text")
    email = clean(request.ship_to_email)
    if settings.notify_customer and email and (len(email) > MAX_EMAIL or not EMAIL.fullmatch(email)):
        found.append(
            f"ship_to_email: allowed is one address like name@example.com of at most {MAX_EMAIL} characters "
            "(letters and digits without accents, and . _ + -)"
        )
    return found


def _address_problems(request: FulfillmentRequest, settings: Fulfillment) -> list[str]:
    found = []
    country = iso_country(request.ship_to_country)
    for column, name, longest, required in _TEXTS:
        text = clean(getattr(request, column))
        if required and not _is_visible(text):
            found.append(f"{name} ({column}) is missing")
        if len(text) > longest:
            found.append(f"{name} ({column}) is {len(text)} characters long; allowed: {longest}")
        if _CONTROL.search(text) or _XML_ILLEGAL.search(text):
            found.append(
                f"{name} ({column}) has control characters or line breaks; allowed: printable text on one line"
            )
    if not _is_visible(request.ship_to_city or "") and country not in (None, "JP"):
        found.append("ship-to city (ship_to_city) is missing")  # Amazon: required everywhere but in Japan
    if not clean(request.ship_to_country):
        found.append("ship-to country (ship_to_country) is missing")
    elif country is None:
        found.append("ship-to country (ship_to_country): allowed is a two-letter ISO 3166 code such as US, GB or DE")
    elif country in ("US", "CA"):
        state = capitals(request.ship_to_state)
        kind = "state or territory of the US" if country == "US" else "province or territory of Canada"
        if state not in _states(country):
            fault = "is not one" if clean(request.ship_to_state) else "is missing"
            found.append(f"ship-to state (ship_to_state) {fault}; allowed: the two-letter code of a {kind}")
    lines = [clean(line) for line in (request.ship_to_address_1, request.ship_to_address_2, request.ship_to_address_3)]
    if not settings.allow_po_boxes and any(_PO_BOX.search(line) for line in lines):
        found.append("the ship-to address is a PO box, which this store does not allow (fulfillment.allow_po_boxes)")
    return found


def _is_visible(text: str) -> bool:
    """Whether a text has a character that is no blank, no control character and none without a shape (U+200B)."""
    return any(unicodedata.category(each)[0] not in "CZ" for each in text)


def _item_problems(items: tuple[RequestItem, ...]) -> list[str]:
    found = []
    if not items:
        found.append("it has no items")
    if len(items) > MAX_LINES:
        found.append(f"it has {len(items)} lines; allowed: {MAX_LINES}")
    units = sum(item.quantity for item in items)
    if units > MAX_UNITS:
        found.append(f"it has {units} units; allowed: {MAX_UNITS}")
    lines = [item.line for item in items]
    if len(set(lines)) < len(lines):
        found.append("two lines have the same number; allowed: each line number once")
    for item in items:
        if item.line < 1:
            found.append(f"line {item.line}: allowed are line numbers from 1")
        if item.quantity < 1:
            found.append(f"line {item.line}: the quantity is {item.quantity}; allowed: at least 1")
        if item.unit_price is not None and item.unit_price < 0:
            found.append(f"line {item.line}: unit_price is {item.unit_price}; allowed: at least 0, or null")
        if not clean(item.sku):
            found.append(f"line {item.line}: the SKU is missing")
        elif len(item.sku) > MAX_SKU:
            found.append(f"line {item.line}: the SKU is {len(item.sku)} characters long; allowed: {MAX_SKU}")
        if _CONTROL.search(item.sku) or _XML_ILLEGAL.search(item.sku):
            found.append(f"line {item.line}: the SKU has control characters; allowed: printable text on one line")
        gift = clean(item.gift_message)
        if len(gift) > MAX_GIFT:
            found.append(f"line {item.line}: gift_message is {len(gift)} characters long; allowed: {MAX_GIFT}")
        if _XML_ILLEGAL.search(gift):
            found.append(f"line {item.line}: gift_message has control characters; allowed: printable text")
    return found


def _rule_problems(request: FulfillmentRequest, rules: Rules) -> list[str]:
    found = []
    units = sum(item.quantity for item in request.items)
    if rules.minimum_units is not None and units < rules.minimum_units:
        found.append(f"it has {units} units, and the store's rules.minimum_units is {rules.minimum_units}")
    prices = [item.unit_price for item in request.items]
    if rules.minimum_value is not None and prices and None not in prices:
        value = sum((item.unit_price or Decimal(0)) * item.quantity for item in request.items)
        if value < rules.minimum_value:
            found.append(f"its value is {value}, and the store's rules.minimum_value is {rules.minimum_value}")
    country = iso_country(request.ship_to_country)
    if rules.ship_to_countries is not None and country is not None and country not in rules.ship_to_countries:
        found.append(f"the store's rules.ship_to_countries allows only {', '.join(rules.ship_to_countries)}")
    if excluded := [sku for sku in rules.exclude_skus if sku in {item.sku for item in request.items}]:
        found.append(f"{_skus(excluded)}: named in the store's rules.exclude_skus")
    return found


def _skus(skus: Sequence[str], near: Mapping[str, Sequence[str]] | None = None) -> str:
    return f"SKU {listed([_shown(sku, (near or {}).get(sku, ())) for sku in skus], SHOWN)}"


def _shown(sku: str, meant: Sequence[str]) -> str:
    if meant:  # in quotes, because the difference may be a blank
        *others, last = map(repr, meant)
        either = f"{', '.join(others)} or {last}" if others else last
        return f"{sku!r} (did you mean {either}?)"
    return sku[:MAX_SKU] if sku.isprintable() else ascii(sku[:MAX_SKU])
