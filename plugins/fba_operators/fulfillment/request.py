"""A fulfillment request: its content, how it is compared with others, and its next status."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cache

import pycountry

from fba_operators.runs.summary import counted, listed

FR_NUMBER = re.compile(r"[A-Za-z0-9._-]{1,40}")  # Amazon loses spaces and + in an id
SHOWN = 10  # FR numbers in a sentence
NEEDS_APPROVAL = "needs approval"  # so begins the waiting_reason of a request that waits for a person's


@dataclass(frozen=True)
class RequestItem:
    """One line of a request, as in ``fba.fulfillment_request_item``."""

    line: int
    sku: str
    quantity: int
    unit_price: Decimal | None = None
    title: str | None = None
    upc: str | None = None
    gift_message: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class FulfillmentRequest:
    """An order for Amazon to fulfil, as in ``fba.fulfillment_request``; its repr leaves out whatever is personal."""

    store: str
    fr_number: str
    created_at: datetime
    items: tuple[RequestItem, ...]
    shipping_method: str | None = None
    displayable_order_number: str | None = field(default=None, repr=False)
    ship_to_name: str | None = field(default=None, repr=False)
    ship_to_address_1: str | None = field(default=None, repr=False)
    ship_to_address_2: str | None = field(default=None, repr=False)
    ship_to_address_3: str | None = field(default=None, repr=False)
    ship_to_city: str | None = field(default=None, repr=False)
    ship_to_state: str | None = field(default=None, repr=False)
    ship_to_postal_code: str | None = field(default=None, repr=False)
    ship_to_country: str | None = field(default=None, repr=False)
    ship_to_email: str | None = field(default=None, repr=False)
    ship_to_phone: str | None = field(default=None, repr=False)
    order_comment: str | None = field(default=None, repr=False)
    channel: str | None = None
    packaging: str | None = None
    block_amazon_logistics: bool | None = None
    signature: bool | None = None
    deliver_together: bool | None = None
    deliver_by: datetime | None = None
    speed: str | None = None  # Amazon's, once it is claimed


@dataclass(frozen=True)
class Move:
    """A request's new status, the reason, and Amazon's own status of the order where Amazon has reported it."""

    fr_number: str
    status: str
    reason: str | None = None
    order_status: str | None = None


def clean(text: str | None) -> str:
    """A text as it is sent: without white space around it, "" for none."""
    return (text or "").strip()


def capitals(code: str | None) -> str:
    """A code of the letters A-Z in capitals, "" for anything else; other letters must not be folded into these."""
    text = clean(code)
    return text.upper() if text.isascii() else ""


def iso_country(code: str | None) -> str | None:
    """The ISO 3166 alpha-2 code of a country, ``GB`` also for ``UK``; None where there is no such country."""
    wanted = capitals(code)
    wanted = "GB" if wanted == "UK" else wanted
    return wanted if wanted in _countries() else None


@cache
def _countries() -> frozenset[str]:
    return frozenset(country.alpha_2 for country in pycountry.countries)


def units_by_sku(lines: Iterable[tuple[str, int]]) -> Counter[str]:
    """Units of each SKU in the lines of an order.

    :param lines: SKU and quantity of each line
    """
    units: Counter[str] = Counter()
    for sku, quantity in lines:
        units[sku] += quantity
    return units


def listed_numbers(numbers: Sequence[str]) -> str:
    """Some FR numbers for a log; one that is not of Amazon's form could be anything and is left out."""
    valid = [number for number in numbers if FR_NUMBER.fullmatch(number)]
    if numbers and not valid:
        return f"{counted(len(numbers), 'number')} not of Amazon's form"
    return listed(valid, SHOWN, len(numbers))


def counts_by_status(moved: Counter[str]) -> str:
    """How many requests came to which status: ``3 accepted, 1 rejected``."""
    return ", ".join(f"{number} {status}" for status, number in moved.items() if number)
