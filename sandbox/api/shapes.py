"""The shapes of JSON bodies, as Amazon's models describe them: a shape checks one value, or raises 400 with a reason."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.api.answers import invalid_input
from sandbox.api.calls import parse_timestamp

Shape = Callable[[str, Any], Any]


def text(max_length: int | None = None, *, pattern: str | None = None, what: str = "") -> Shape:
    """Return the shape of a text of at least one character; `what` words the `pattern` for the reason."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, str) or not value:
            raise invalid_input(f"{name} must be a text that is not empty.")
        if max_length is not None and len(value) > max_length:
            raise invalid_input(f"{name} must have at most {max_length} characters.")
        if pattern is not None and not re.fullmatch(pattern, value, re.ASCII):
            raise invalid_input(f"{name} must be {what}.")

    return check


def any_text(name: str, value: Any) -> None:
    """Check a text that may be empty."""
    if not isinstance(value, str):
        raise invalid_input(f"{name} must be a text.")


def one_of(*values: str) -> Shape:
    """Return the shape of a text that is one of `values`."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, str) or value not in values:
            raise invalid_input(f"{name} must be one of {', '.join(values)}.")

    return check


def whole_number(name: str, value: Any) -> None:
    """Check an int32."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**31:
        raise invalid_input(f"{name} must be a whole number.")


def boolean(name: str, value: Any) -> None:
    """Check true or false."""
    if not isinstance(value, bool):
        raise invalid_input(f"{name} must be true or false.")


def moment(name: str, value: Any) -> None:
    """Check an ISO 8601 date and time with its offset."""
    parse_timestamp(name, value)


def list_of(shape: Shape, max_items: int | None = None, *, min_items: int = 0) -> Shape:
    """Return the shape of a list whose items all have `shape`."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, list):
            raise invalid_input(f"{name} must be a list.")
        if len(value) < min_items or (max_items is not None and len(value) > max_items):
            raise invalid_input(f"{name} must have {min_items} to {max_items or 'any number of'} entries.")
        for number, item in enumerate(value):
            shape(f"{name}[{number}]", item)

    return check


def map_of(shape: Shape) -> Shape:
    """Return the shape of an object with any names, whose values all have `shape`."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise invalid_input(f"{name} must be an object.")
        for key, item in value.items():
            shape(f"{name}.{key}", item)

    return check


def fields(required: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None) -> Shape:
    """Return the shape of an object with these fields and no others."""
    shapes = {**required, **(optional or {})}

    def check(name: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise invalid_input(f"{name} must be an object.")
        unknown = value.keys() - shapes.keys()
        if unknown:
            raise invalid_input(f"Unknown field in {name}: {min(unknown)}")
        missing = required.keys() - value.keys()
        if missing:
            raise invalid_input(f"Missing required field in {name}: {min(missing)}")
        for key, item in value.items():
            shapes[key](key if name == BODY else f"{name}.{key}", item)

    return check


BODY = "the request body"
COUNTRY = text(pattern="[A-Z]{2}", what="a country code of two letters")
DECIMAL = text(20, pattern=r"-?\d+(\.\d+)?", what="a decimal number written as a text")
ADDRESS: dict[str, Shape] = {
    "addressLine2": any_text,
    "addressLine3": any_text,
    "city": any_text,
    "districtOrCounty": any_text,
    "stateOrRegion": any_text,
    "phone": any_text,
}
ADDRESS_REQUIRED: dict[str, Shape] = {
    "name": text(),
    "addressLine1": text(),
    "postalCode": text(),
    "countryCode": COUNTRY,
}
