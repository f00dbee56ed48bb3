"""One call: the HTTP request, the operation it is for, and strict parsing of its parameters."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from sandbox.api.answers import WRONG_REGION, Answer, Style, invalid_input, unauthorized
from sandbox.marketplaces import MARKETPLACES
from sandbox.merchant.merchant import Merchant
from sandbox.world.faults import Fault
from sandbox.world.world import World

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class IncomingRequest:
    """An HTTP request, independent of the web framework. Header names are in lower case, `query` is not decoded."""

    path: str
    path_params: dict[str, str]
    query: str
    headers: dict[str, str]
    body: bytes
    base_url: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One of Amazon's operations.

    `method` and `path` are its route, `query` the allowed query parameters, `rate` (requests per second; None: no
    limit) and `burst` its usage plan, `style` the format of its errors. `subject` returns what `Fault.report_type` is
    compared with: the type of the report or feed, the id of the fulfillment order, the number of the package, or the SKU
    of a preview's first item.
    """

    name: str
    method: str
    path: str
    handler: Callable[["Call"], Answer]
    query: frozenset[str] = frozenset()
    rate: float | None = None
    burst: int = 0
    style: Style = "sp-api"
    subject: Callable[["Call"], str | None] = lambda _: None


@dataclass(slots=True)
class Call:
    """One call in progress: the request, the calling seller (None until identified), and the fault to inject."""

    world: World
    operation: Operation
    incoming: IncomingRequest
    merchant_or_none: Merchant | None = None
    fault: Fault | None = None
    query: dict[str, str] = field(default_factory=dict)

    @property
    def merchant(self) -> Merchant:
        """The seller that the access token belongs to; 403 for a grantless token."""
        if self.merchant_or_none is None:
            raise unauthorized()
        return self.merchant_or_none

    def take_due_fault(self, *, fate: bool = False) -> Fault | None:
        """Take the scripted fault that is due for this call, or, with `fate`, that of the report or feed it creates.

        The two are independent: one call can have both, so that a feed whose answer is lost can also end FATAL.
        """
        seller_id = self.merchant_or_none.seller_id if self.merchant_or_none else None
        return self.world.faults.take_due(self.operation.name, seller_id, self.operation.subject(self), fate=fate)

    def read_query(self) -> None:
        """Parse the query string into `query`; 400 for a parameter that is unknown (if `lenient`, ignored) or repeated."""
        try:
            pairs = parse_qsl(self.incoming.query, keep_blank_values=True, strict_parsing=True, errors="strict")
        except ValueError as error:
            if self.incoming.query:
                raise invalid_input("The query string cannot be read.") from error
            pairs = []
        for name, value in pairs:
            if name not in self.operation.query and self.world.lenient:
                continue
            if name not in self.operation.query:
                raise invalid_input(f"Invalid query parameter: {name}")
            if name in self.query:
                raise invalid_input(f"Query parameter {name} is given more than once; separate its values by commas.")
            self.query[name] = value

    def query_text(self, name: str, *, required: bool = False) -> str | None:
        """Return a query parameter, or None; 400 if it is empty, or required and missing."""
        value = self.query.get(name)
        if value == "" or (value is None and required):
            raise invalid_input(f"Missing required parameter: {name}" if value is None else f"{name} is empty.")
        return value

    def query_list(self, name: str, *, max_items: int, required: bool = False) -> list[str] | None:
        """Return a comma-separated list of at most `max_items` values, or None; 400 if one is empty."""
        value = self.query_text(name, required=required)
        if value is None:
            return None
        parts = value.split(",")
        if len(parts) > max_items or "" in parts:
            raise invalid_input(f"{name} must have 1 to {max_items} values, none of them empty.")
        return parts

    def query_boolean(self, name: str) -> bool:
        """Return a boolean, False if missing. Case is ignored: Amazon's own Python client sends `True`."""
        value = self.query_text(name)
        if value is not None and value.lower() not in {"true", "false"}:
            raise invalid_input(f"{name} must be true or false.")
        return value is not None and value.lower() == "true"

    def query_integer(self, name: str, *, minimum: int, maximum: int, default: int) -> int:
        """Return an integer between `minimum` and `maximum`, or `default` if missing."""
        value = self.query_text(name)
        if value is None:
            return default
        if not re.fullmatch(r"\d{1,9}", value, re.ASCII) or not minimum <= int(value) <= maximum:
            raise invalid_input(f"{name} must be a whole number from {minimum} to {maximum}.")
        return int(value)

    def query_timestamp(self, name: str) -> float | None:
        """Return a timestamp in seconds since 1970, or None."""
        value = self.query_text(name)
        return None if value is None else parse_timestamp(name, value)

    def json_object(self) -> dict[str, Any]:
        """Parse the body; 415 for another content type, 400 if it is not a JSON object."""
        if self.incoming.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            refusal = invalid_input("The request's Content-Type must be application/json.")
            refusal.status, refusal.code = 415, "UnsupportedMediaType"
            raise refusal
        try:
            document = json.loads(self.incoming.body)
        except ValueError as error:
            raise invalid_input("The request body is not JSON.") from error
        if not isinstance(document, dict):
            raise invalid_input("The request body must be a JSON object.")
        return document

    def peek_body(self, name: str) -> str | None:
        """Return a string field of the JSON body, or None if it cannot be read; never raises."""
        try:
            value = json.loads(self.incoming.body)[name]
        except (ValueError, KeyError, TypeError):
            return None
        return value if isinstance(value, str) else None

    def json_fields(self, required: set[str], optional: set[str]) -> dict[str, Any]:
        """Parse the body; 400 if a required field is missing, or for a field that is neither required nor optional."""
        body = self.json_object()
        unknown = body.keys() - required - optional
        if unknown:
            raise invalid_input(f"Unknown field in the request body: {min(unknown)}")
        missing = required - body.keys()
        if missing:
            raise invalid_input(f"Missing required field: {min(missing)}")
        return body

    def check_marketplaces(self, marketplace_ids: list[str]) -> None:
        """Raise 400 for an unknown marketplace id, 403 for one of another region or where the seller does not sell."""
        for marketplace_id in marketplace_ids:
            if marketplace_id not in MARKETPLACES:
                raise invalid_input(f"{marketplace_id} is not a marketplace id.")
        if any(MARKETPLACES[m].region != self.merchant.region for m in marketplace_ids):
            raise unauthorized(WRONG_REGION)
        if any(m not in self.merchant.marketplace_ids for m in marketplace_ids):
            raise unauthorized()


def parse_timestamp(name: str, value: object) -> float:
    """Parse the ISO 8601 timestamp with offset of field `name` into seconds since 1970; 400 for anything else."""
    if not isinstance(value, str) or not _TIMESTAMP.fullmatch(value):
        raise invalid_input(f"{name} must be an ISO 8601 date and time with its offset.")
    try:
        return datetime.fromisoformat(value).astimezone(UTC).timestamp()
    except (ValueError, OverflowError) as error:
        raise invalid_input(f"{name} is not a date and time that exists.") from error


def require_text_list(name: str, value: object, max_items: int) -> list[str]:
    """Return `value` if it is a list of 1 to `max_items` non-empty strings, else raise 400 for field `name`."""
    if (
        not isinstance(value, list)
        or not 1 <= len(value) <= max_items
        or not all(isinstance(v, str) and v for v in value)
    ):
        raise invalid_input(f"{name} must be a list of 1 to {max_items} strings.")
    return value


def require_string_values(name: str, value: object) -> dict[str, str]:
    """Return `value` if it is an object whose values are strings, else raise 400 for field `name`."""
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise invalid_input(f"{name} must be an object whose values are strings.")
    return value
