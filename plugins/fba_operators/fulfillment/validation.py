"""Rules for a fulfillment request: is it fit to be sent, and when.

Pure: no Airflow, no database, no network. No text made here repeats a name, an address, an e-mail or a comment: reasons
are stored and logged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import pycountry

from fba_operators.settings.stores_file import BusinessHours, Fulfillment, Rules

MAX_LINES = 100  # Fulfillment Outbound 2020-07-01, like all limits below that the feed's own schema does not have
MAX_UNITS = 250
MAX_SKU, MAX_EMAIL, MAX_COMMENT = 40, 64, 750

FR_NUMBER = re.compile(r"[A-Za-z0-9._-]{1,40}")  # Amazon loses spaces and + in an id
EMAIL = re.compile(r"[\w.+-]+@([\w-]+\.)+\w+", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_XML_ILLEGAL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# Only what is surely a box: a wrong hit would stop a good order, a miss is refused by Amazon.
_PO_BOX = re.compile(
    r"\b(p\.?\s*o\.?\s*box|p\.?\s*o\.?\s*b\.?\s*#?\s*\d|post\s*office\s*box|postfach\b|postbus\b|apartado\s+(de\s+correos|postal)"
    r"|casella\s+postale|caixa\s+postal|bo[iî]te\s+postale)",
    re.IGNORECASE,
)
_MILITARY_STATES = frozenset({"AA", "AE", "AP"})

# Column, name for people, characters allowed, required everywhere. Amazon states no length for city, state and postal
# code; 200 keeps nonsense from filling a feed.
_TEXTS = (
    ("ship_to_name", "ship-to name", 50, True),
    ("ship_to_address_1", "ship-to address line 1", 60, True),
    ("ship_to_address_2", "ship-to address line 2", 60, False),
    ("ship_to_city", "ship-to city", 200, False),
    ("ship_to_state", "ship-to state", 200, False),
    ("ship_to_postal_code", "ship-to postal code", 200, True),
    ("ship_to_phone", "ship-to phone", 50, False),
)


@dataclass(frozen=True)
class RequestItem:
    """One line of a request, as in ``fba.fulfillment_request_item``."""

    line: int
    sku: str
    quantity: int
    unit_price: Decimal | None = None
    title: str | None = None
    upc: str | None = None


@dataclass(frozen=True)
class FulfillmentRequest:
    """An order for Amazon to fulfil, as in ``fba.fulfillment_request``; its repr leaves out whatever is personal."""

    store: str
    fr_number: str
    created_at: datetime
    items: tuple[RequestItem, ...]
    shipping_method: str | None = None
    ship_to_name: str | None = field(default=None, repr=False)
    ship_to_address_1: str | None = field(default=None, repr=False)
    ship_to_address_2: str | None = field(default=None, repr=False)
    ship_to_city: str | None = field(default=None, repr=False)
    ship_to_state: str | None = field(default=None, repr=False)
    ship_to_postal_code: str | None = field(default=None, repr=False)
    ship_to_country: str | None = field(default=None, repr=False)
    ship_to_email: str | None = field(default=None, repr=False)
    ship_to_phone: str | None = field(default=None, repr=False)
    order_comment: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Waiting:
    """Why a request is not sent now, and when it can be (UTC; None where no time is set)."""

    reason: str
    until: datetime | None = None

    def __str__(self) -> str:
        return f"{self.reason}; until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else self.reason


@dataclass(frozen=True)
class Validation:
    """What was found in a request: ``reasons`` make it invalid, ``waiting`` holds it back, ``warnings`` do neither."""

    reasons: tuple[str, ...] = ()
    waiting: Waiting | None = None
    warnings: tuple[str, ...] = ()


def clean(text: str | None) -> str:
    """A text as it is sent: without white space around it, "" for none."""
    return (text or "").strip()


def iso_country(code: str | None) -> str | None:
    """The ISO 3166 alpha-2 code of a country, ``GB`` also for ``UK``; None where there is no such country."""
    wanted = clean(code).upper()
    wanted = "GB" if wanted == "UK" else wanted
    return wanted if wanted in _countries() else None


@cache
def _countries() -> frozenset[str]:
    return frozenset(country.alpha_2 for country in pycountry.countries)


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
    stock: Mapping[str, int],
    inventory_as_of: datetime | None,
) -> Validation:
    """Judge whether a request can be sent to Amazon, all of its problems at once.

    :param stock: quantity of every SKU the store knows (pool and AFN copy); at least those of this request
    :param inventory_as_of: when the newest inventory run that was applied had begun; None before the first
    """
    if not request.items:
        return Validation(waiting=Waiting("no items yet"))
    reasons = problems(request, settings)
    unknown = list(dict.fromkeys(item.sku for item in request.items if item.sku and item.sku not in stock))
    waiting = None
    if unknown and inventory_as_of is not None and inventory_as_of > request.created_at:
        reasons.append(f"{_skus(unknown)}: Amazon's inventory reports made after the request do not have it")
    elif unknown:
        waiting = Waiting(f"{_skus(unknown)}: not in the pool yet")
    empty = list(dict.fromkeys(item.sku for item in request.items if stock.get(item.sku) == 0))
    warnings = (f"{_skus(empty)}: the pool has a quantity of 0",) if empty else ()
    return Validation(tuple(reasons), None if reasons else waiting, warnings)


def problems(request: FulfillmentRequest, settings: Fulfillment) -> list[str]:
    """List what is wrong with a request in itself, whatever the stock; one with problems is never built into a feed.

    Source: the limits of Amazon's FulfillmentOrderRequest schema and of its Fulfillment Outbound 2020-07-01 API.
    """
    return [
        *_header_problems(request, settings),
        *_address_problems(request, settings),
        *_item_problems(request.items),
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
        if required and not text:
            found.append(f"{name} ({column}) is missing")
        if len(text) > longest:
            found.append(f"{name} ({column}) is {len(text)} characters long; allowed: {longest}")
        if _CONTROL.search(text) or _XML_ILLEGAL.search(text):
            found.append(
                f"{name} ({column}) has control characters or line breaks; allowed: printable text on one line"
            )
    if not clean(request.ship_to_city) and country not in (None, "JP"):
        found.append("ship-to city (ship_to_city) is missing")  # Amazon: required everywhere but in Japan
    if not clean(request.ship_to_country):
        found.append("ship-to country (ship_to_country) is missing")
    elif country is None:
        found.append("ship-to country (ship_to_country): allowed is a two-letter ISO 3166 code such as US, GB or DE")
    elif country in ("US", "CA"):
        state = clean(request.ship_to_state).upper()
        kind = "state or territory of the US" if country == "US" else "province or territory of Canada"
        if state not in _states(country):
            fault = "is not one" if state else "is missing"
            found.append(f"ship-to state (ship_to_state) {fault}; allowed: the two-letter code of a {kind}")
    lines = (clean(request.ship_to_address_1), clean(request.ship_to_address_2))
    if not settings.allow_po_boxes and any(_PO_BOX.search(line) for line in lines):
        found.append("the ship-to address is a PO box, which this store does not allow (fulfillment.allow_po_boxes)")
    return found


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
        if not clean(item.sku):
            found.append(f"line {item.line}: the SKU is missing")
        elif len(item.sku) > MAX_SKU:
            found.append(f"line {item.line}: the SKU is {len(item.sku)} characters long; allowed: {MAX_SKU}")
        if _CONTROL.search(item.sku) or _XML_ILLEGAL.search(item.sku):
            found.append(f"line {item.line}: the SKU has control characters; allowed: printable text on one line")
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


def _skus(skus: list[str]) -> str:
    shown = ", ".join(sku[:MAX_SKU] if sku.isprintable() else ascii(sku[:MAX_SKU]) for sku in skus[:10])
    return f"SKU {shown}" + (f" and {len(skus) - 10} more" if len(skus) > 10 else "")


def due(
    request: FulfillmentRequest,
    settings: Fulfillment,
    now: datetime,
    *,
    manual: bool,
    ignore_hold: bool = False,
    ignore_business_hours: bool = False,
) -> Waiting | None:
    """Decide whether a request may be sent now: None, or why not and the first moment at which nothing holds it back.

    :param now: the clock at claiming, with a time zone
    :param manual: the run was triggered by hand
    """
    if not settings.send_automatically and not manual:
        return Waiting("this store sends only in runs triggered by hand (fulfillment.send_automatically is false)")
    now = now.astimezone(UTC)
    free = now
    reasons = []
    if settings.hold_hours and not ignore_hold:
        free = max(now, request.created_at.astimezone(UTC) + timedelta(hours=settings.hold_hours))
        if free > now:
            reasons.append(f"on hold for {settings.hold_hours:g} h after it was created")
    opening: datetime | None = free
    if settings.business_hours and not ignore_business_hours:
        opening = next_opening(settings.business_hours, free)
        if opening != free:
            reasons.append(f"outside business hours ({describe(settings.business_hours)})")
    return Waiting(" and ".join(reasons), opening) if reasons else None


def describe(hours: BusinessHours) -> str:
    """Business hours in a few words, e.g. ``mon, tue 09:00-17:00 America/New_York``."""
    return f"{', '.join(hours.days)} {hours.opens}-{hours.closes} {hours.timezone}"


def is_open(hours: BusinessHours, moment: datetime) -> bool:
    """Whether the store is open, by what a clock on its wall shows at that moment."""
    local = moment.astimezone(ZoneInfo(hours.timezone))
    return _is_business_day(hours, local.date()) and hours.opens <= f"{local:%H:%M}" < hours.closes


def _is_business_day(hours: BusinessHours, day: date) -> bool:
    return ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[day.weekday()] in hours.days and day not in hours.holidays


@lru_cache(maxsize=256)  # thousands of requests wait for the same opening
def _first_open_minute(hours: BusinessHours, minute: datetime) -> datetime | None:
    zone = ZoneInfo(hours.timezone)
    end = minute + timedelta(days=3 * 366)
    while minute < end:
        if is_open(hours, minute):
            return minute
        day = minute.astimezone(zone).date()
        midnight = datetime.combine(day + timedelta(days=1), time.min, zone).astimezone(UTC)
        # Minute by minute inside a business day: near a change of the clocks a wall time can be missing or come twice.
        minute = minute + timedelta(minutes=1) if _is_business_day(hours, day) or midnight <= minute else midnight
    return None


def next_opening(hours: BusinessHours, moment: datetime) -> datetime | None:
    """The first moment (UTC) from the given one on at which the store is open; None when it is over three years off."""
    moment = moment.astimezone(UTC)
    if is_open(hours, moment):
        return moment
    whole = moment.replace(second=0, microsecond=0)
    return _first_open_minute(hours, whole + timedelta(minutes=1) if whole < moment else whole)
