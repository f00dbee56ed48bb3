"""The request for a fulfillment order, from a feed or the Fulfillment Outbound API, and its validation."""

import re
from dataclasses import dataclass, field

import pycountry

from sandbox.marketplaces import MARKETPLACES

SPEEDS = ("Standard", "Expedited", "Priority")
POLICIES = ("FillOrKill", "FillAll", "FillAllAvailable")
ACTIONS = ("Ship", "Hold")
MAX_UNITS = 250
MAX_LINES = 100
_STATES = {
    "US": frozenset(
        [
            "AL",
            "AK",
            "AZ",
            "AR",
            "CA",
            "CO",
            "CT",
            "DE",
            "FL",
            "GA",
            "HI",
            "ID",
            "IL",
            "IN",
            "IA",
            "KS",
            "KY",
            "LA",
            "ME",
            "MD",
            "MA",
            "MI",
            "MN",
            "MS",
            "MO",
            "MT",
            "NE",
            "NV",
            "NH",
            "NJ",
            "NM",
            "NY",
            "NC",
            "ND",
            "OH",
            "OK",
            "OR",
            "PA",
            "RI",
            "SC",
            "SD",
            "TN",
            "TX",
            "UT",
            "VT",
            "VA",
            "WA",
            "WV",
            "WI",
            "WY",
            "DC",
            "AS",
            "GU",
            "MP",
            "PR",
            "UM",
            "VI",
            "AA",
            "AE",
            "AP",
        ]
    ),
    "CA": frozenset(["AB", "BC", "MB", "NB", "NL", "NS", "NT", "NU", "ON", "PE", "QC", "SK", "YT"]),
}
_COUNTRIES = frozenset(country.alpha_2 for country in pycountry.countries)
_BRITISH = frozenset({"GB", "GG", "JE", "IM"})


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an order."""

    item_id: str
    sku: str
    quantity: int
    gift_message: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """A requested order; `address` has the Fulfillment Outbound API's field names, `displayable_date` is wall time.

    `features` is {name: Required or NotRequired}; `channel` is the sales channel that API 2026-07-04 can name.
    """

    order_id: str
    marketplace_id: str
    displayable_id: str
    displayable_date: float | None
    comment: str
    speed: str
    policy: str
    action: str
    emails: tuple[str, ...] = ()
    address: dict[str, str] = field(default_factory=dict)
    lines: tuple[Line, ...] = ()
    features: dict[str, str] = field(default_factory=dict)
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason to reject an order: a code (the sandbox's own), a text, and the SKU it is about, if any."""

    code: str
    text: str
    sku: str | None = None


def validate(request: OrderRequest) -> list[Refusal]:
    """Return every error of a request that does not depend on the seller's stock and orders."""
    errors = [Refusal("13010", text) for text in _header_errors(request)]
    errors += [Refusal("13020", text) for text in address_errors(request.address, request.marketplace_id)]
    return errors + line_errors(request.lines)


def line_errors(lines: tuple[Line, ...]) -> list[Refusal]:
    """Return every error of the lines of an order that does not depend on the seller's stock."""
    errors = []
    if not 1 <= len(lines) <= MAX_LINES:
        errors.append(Refusal("13010", f"An order must have 1 to {MAX_LINES} items."))
    if sum(line.quantity for line in lines) > MAX_UNITS:
        errors.append(Refusal("13010", f"An order must have at most {MAX_UNITS} units."))
    if len({line.item_id for line in lines}) != len(lines):
        errors.append(Refusal("13010", "The order item ids must be unique within the order."))
    for line in lines:
        if line.quantity < 1:
            errors.append(Refusal("13030", f"The quantity of Item Id: {line.item_id} must be at least 1.", line.sku))
        if not line.sku:
            errors.append(Refusal("13031", f"The SellerSKU for Item Id: {line.item_id} is missing."))
        if len(line.gift_message) > 512 or len(line.comment) > 250 or len(line.item_id) > 50:
            errors.append(Refusal("13032", f"A text of Item Id: {line.item_id} is too long.", line.sku))
    return errors


def _header_errors(request: OrderRequest) -> list[str]:
    errors = []
    if request.speed not in SPEEDS:
        errors.append(f"The shipping speed category {request.speed!r} is not valid.")
    if request.policy not in POLICIES:
        errors.append(f"The fulfillment policy {request.policy!r} is not valid.")
    if request.action not in ACTIONS:
        errors.append(f"The fulfillment action {request.action!r} is not valid.")
    if len(request.displayable_id) > 40 or not re.fullmatch(r"[\x00-\xff]*", request.displayable_id):
        errors.append("The displayable order id must have at most 40 characters of ISO 8859-1.")
    if len(request.comment) > 750:
        errors.append("The displayable order comment must have at most 750 characters.")
    return errors


def address_errors(address: dict[str, str], marketplace_id: str) -> list[str]:
    """Return what is wrong with an address for orders of a marketplace."""
    errors = [
        f"The destination address has no {name}."
        for name in ("name", "addressLine1", "postalCode", "countryCode")
        if not address.get(name, "").strip()
    ]
    country = address.get("countryCode", "")
    if country and country not in _COUNTRIES:
        return [*errors, f"The country code {country!r} of the destination address is not valid."]
    if country != "JP" and not address.get("city", "").strip():
        errors.append("The destination address has no city.")
    if country in _STATES and address.get("stateOrRegion", "") not in _STATES[country]:
        errors.append(f"The state or region of the destination address is missing or not valid for {country}.")
    marketplace = MARKETPLACES[marketplace_id]
    if marketplace.region == "EU" and (marketplace.country == "GB") != (country in _BRITISH):
        errors.append("Orders between the United Kingdom and other countries cannot be fulfilled.")
    return errors
