"""A call that came in, the operation it is for, and strict reading of its parameters."""

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
class Incoming:
    """The HTTP request, framework taken off. Header names are in lower case."""

    path: str
    path_params: dict[str, str]
    query: str
    headers: dict[str, str]
    body: bytes
    base_url: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One of Amazon's operations: its route, allowed query parameters and usage plan (rate per second, burst)."""

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
    """One call on its way through: the request, who makes it, and the fault that hit it."""

    world: World
    operation: Operation
    incoming: Incoming
    merchant_or_none: Merchant | None = None
    fault: Fault | None = None
    query: dict[str, str] = field(default_factory=dict)

    @property
    def merchant(self) -> Merchant:
        """The seller for whom the token speaks; 403 for a grantless token."""
        if self.merchant_or_none is None:
            raise unauthorized()
        return self.merchant_or_none

    def strike_fate(self) -> Fault | None:
        """The fate scripted for what this call makes; it may strike beside a fault that takes the answer away."""
        seller_id = self.merchant_or_none.seller_id if self.merchant_or_none else None
        return self.world.faults.strike(self.operation.name, seller_id, self.operation.subject(self), fate=True)

    def read_query(self) -> None:
        """Read the query string; 400 for a parameter that is unknown or given twice."""
        try:
            pairs = parse_qsl(self.incoming.query, keep_blank_values=True, strict_parsing=True, errors="strict")
        except ValueError as problem:
            if self.incoming.query:
                raise invalid_input("The query string cannot be read.") from problem
            pairs = []
        for name, value in pairs:
            if name not in self.operation.query:
                raise invalid_input(f"Invalid query parameter: {name}")
            if name in self.query:
                raise invalid_input(f"Query parameter {name} is given more than once; separate its values by commas.")
            self.query[name] = value

    def text(self, name: str, *, required: bool = False) -> str | None:
        """A parameter; 400 when it is empty, or missing and required."""
        value = self.query.get(name)
        if value == "" or (value is None and required):
            raise invalid_input(f"Missing required parameter: {name}" if value is None else f"{name} is empty.")
        return value

    def texts(self, name: str, *, most: int, required: bool = False) -> list[str] | None:
        """A list separated by commas, with at most `most` elements, none of them empty."""
        value = self.text(name, required=required)
        if value is None:
            return None
        parts = value.split(",")
        if len(parts) > most or "" in parts:
            raise invalid_input(f"{name} must have 1 to {most} values, none of them empty.")
        return parts

    def boolean(self, name: str) -> bool:
        """A boolean, false when missing; in any case, as Amazon's own Python client writes `True`."""
        value = self.text(name)
        if value is not None and value.lower() not in {"true", "false"}:
            raise invalid_input(f"{name} must be true or false.")
        return value is not None and value.lower() == "true"

    def integer(self, name: str, *, least: int, most: int, default: int) -> int:
        """A whole number within bounds."""
        value = self.text(name)
        if value is None:
            return default
        if not re.fullmatch(r"\d{1,9}", value, re.ASCII) or not least <= int(value) <= most:
            raise invalid_input(f"{name} must be a whole number from {least} to {most}.")
        return int(value)

    def moment(self, name: str) -> float | None:
        """A timestamp, in seconds since 1970."""
        value = self.text(name)
        return None if value is None else moment(name, value)

    def json_object(self) -> dict[str, Any]:
        """The body; 415 and 400 for one that is not a JSON object."""
        if self.incoming.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            from_client = invalid_input("The request's Content-Type must be application/json.")
            from_client.status, from_client.code = 415, "UnsupportedMediaType"
            raise from_client
        try:
            document = json.loads(self.incoming.body)
        except ValueError as problem:
            raise invalid_input("The request body is not JSON.") from problem
        if not isinstance(document, dict):
            raise invalid_input("The request body must be a JSON object.")
        return document

    def peek_body(self, name: str) -> str | None:
        """A text of the JSON body if it is there and readable; refuses nothing."""
        try:
            value = json.loads(self.incoming.body)[name]
        except (ValueError, KeyError, TypeError):
            return None
        return value if isinstance(value, str) else None

    def check_marketplaces(self, marketplace_ids: list[str]) -> None:
        """400 for an id that no marketplace has, 403 for one of another region or where the seller does not sell."""
        for marketplace_id in marketplace_ids:
            if marketplace_id not in MARKETPLACES:
                raise invalid_input(f"{marketplace_id} is not a marketplace id.")
        if any(MARKETPLACES[m].region != self.merchant.region for m in marketplace_ids):
            raise unauthorized(WRONG_REGION)
        if any(m not in self.merchant.marketplace_ids for m in marketplace_ids):
            raise unauthorized()


def moment(name: str, value: object) -> float:
    """Read an ISO 8601 timestamp with an offset into seconds since 1970; 400 for anything else."""
    if not isinstance(value, str) or not _TIMESTAMP.fullmatch(value):
        raise invalid_input(f"{name} must be an ISO 8601 date and time with its offset.")
    try:
        return datetime.fromisoformat(value).astimezone(UTC).timestamp()
    except (ValueError, OverflowError) as problem:
        raise invalid_input(f"{name} is not a date and time that exists.") from problem


def text_list(name: str, value: object, most: int) -> list[str]:
    """A list of 1 to `most` texts, none of them empty; 400 for anything else."""
    if not isinstance(value, list) or not 1 <= len(value) <= most or not all(isinstance(v, str) and v for v in value):
        raise invalid_input(f"{name} must be a list of 1 to {most} strings.")
    return value
