"""How each store behaves: ``include/stores.yaml``, read and checked.

A store is one Airflow connection (one seller account in one marketplace). Everything that can be wrong in the file is
reported at once, with line, store, key, what was found and what is allowed.
"""

from __future__ import annotations

import os
import re
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from zoneinfo import ZoneInfo

import pycountry
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from yaml.constructor import SafeConstructor

from fba_operators import INCLUDE

PoolColumn = Literal[
    "title", "description", "brand", "price", "category1", "category2", "category3", "asin", "listing_status"
]
# Amazon's REST API knows ScheduledDelivery too, but the feed has no place for its delivery window; any other text would
# only be found wrong by Amazon's rejection of the order.
DeliverySLA = Literal["Standard", "Expedited", "Priority"]
FulfillmentPolicy = Literal["FillOrKill", "FillAll", "FillAllAvailable"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
NotificationEvent = Literal["failure", "attention", "change", "always"]

_ID = re.compile(r"[\w#!()\-.:/\\]{1,250}")  # Airflow's rule for connection ids


class StoresError(ValueError):
    """The stores file cannot be used as it is; the message lists every problem in it."""


def _section(value: Any) -> Any:
    return {} if value is None else value  # a section whose keys are all commented out


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # ZoneInfoNotFoundError is a KeyError, which pydantic lets through
        raise ValueError("no such time zone") from error
    return name


def _day(value: Any) -> Any:
    if isinstance(value, str):
        return date.fromisoformat(value)
    if isinstance(value, datetime) or not isinstance(value, date):
        raise ValueError("not a date")
    return value


def _money(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("not a number")
    return Decimal(str(value))


def _country(code: str) -> str:
    iso = "GB" if code == "UK" else code
    if len(iso) != 2 or not iso.isupper() or pycountry.countries.get(alpha_2=iso) is None:
        raise ValueError("no such country")
    return iso


def _connection_id(name: str) -> str:
    if not _ID.fullmatch(name):
        raise ValueError("not a connection id")
    return name


Text = Annotated[str, StringConstraints(min_length=1)]
ConnectionId = Annotated[str, AfterValidator(_connection_id)]
Share = Annotated[StrictFloat, Field(ge=0, le=1, allow_inf_nan=False)]
Days = Annotated[StrictInt, Field(ge=1, le=540)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_alias=True, validate_by_name=False)


class BusinessHours(_Model):
    """When a store lets orders go out, by the clock on its own wall."""

    timezone: Annotated[str, AfterValidator(_time_zone)] = Field(description="a time zone, e.g. America/New_York")
    days: tuple[Weekday, ...] = Field(
        default=("mon", "tue", "wed", "thu", "fri"),
        min_length=1,
        description="a list of mon, tue, wed, thu, fri, sat, sun",
    )
    opens: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] = Field(
        alias="from", description='a time in quotes from "00:00" to "23:59"'
    )
    closes: Annotated[str, Field(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")] = Field(
        alias="to", description='a time in quotes from "00:01" to "24:00"'
    )
    holidays: tuple[Annotated[date, BeforeValidator(_day)], ...] = Field(
        default=(), description="a list of dates such as 2026-12-25"
    )

    @model_validator(mode="after")
    def _opens_before_it_closes(self) -> BusinessHours:
        if self.opens >= self.closes:
            raise ValueError(
                'from must be earlier than to on the same day, such as from: "09:00", to: "17:00" (midnight is "24:00")'
            )
        return self


class Rules(_Model):
    """Which requests a store refuses to send; what is not set does not restrict."""

    minimum_units: StrictInt | None = Field(default=None, ge=1, description="a whole number of units, at least 1")
    minimum_value: Annotated[Decimal, BeforeValidator(_money)] | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="an amount of money, at least 0, without currency"
    )
    ship_to_countries: tuple[Annotated[str, AfterValidator(_country)], ...] | None = Field(
        default=None,
        min_length=1,
        description="a list of two-letter ISO 3166 country codes in capitals, such as US or GB",
    )
    exclude_skus: tuple[Text, ...] = Field(
        default=(), description="a list of SKUs, in quotes when they look like numbers"
    )


class Inventory(_Model):
    """How a store's stock is read."""

    include_fbm_quantity: StrictBool = Field(default=False, description="true or false")
    fetch_missing_inventory: StrictBool = Field(default=False, description="true or false")
    import_deleted_skus: StrictBool = Field(default=True, description="true or false")
    fields: Annotated[dict[PoolColumn, Text], BeforeValidator(_section)] = Field(
        default_factory=dict,
        description=f"pool column: report column, where the pool column is one of {', '.join(get_args(PoolColumn))}",
    )
    max_zeroed_share: Share = Field(default=0.5, description="a share from 0 to 1")
    max_rejected_share: Share = Field(default=0.01, description="a share from 0 to 1")


class Fulfillment(_Model):
    """When and how a store's orders are sent to Amazon."""

    send_automatically: StrictBool = Field(default=False, description="true or false")
    hold_hours: Annotated[StrictFloat, Field(ge=0, le=8760, allow_inf_nan=False)] = Field(
        default=0.0, description="a number of hours from 0 to 8760"
    )
    business_hours: BusinessHours | None = None
    shipping_methods: Annotated[dict[Text, DeliverySLA], BeforeValidator(_section)] = Field(
        default_factory=lambda: {name: name for name in get_args(DeliverySLA)},
        description=f"your shipping method: one of {', '.join(get_args(DeliverySLA))}",
    )
    fulfillment_policy: FulfillmentPolicy = Field(
        default="FillOrKill", description=f"one of {', '.join(get_args(FulfillmentPolicy))}"
    )
    notify_customer: StrictBool = Field(default=False, description="true or false")
    rules: Annotated[Rules, BeforeValidator(_section)] = Rules()
    allow_po_boxes: StrictBool = Field(default=False, description="true or false")


class Shipments(_Model):
    """How far back a store's shipments are asked for."""

    lookback_days: Annotated[StrictInt, Field(ge=1, le=540)] = Field(
        default=15, description="a whole number from 1 to 540"
    )


class Store(_Model):
    """Everything that can be set for one store."""

    inventory: Annotated[Inventory, BeforeValidator(_section)] = Inventory()
    fulfillment: Annotated[Fulfillment, BeforeValidator(_section)] = Fulfillment()
    shipments: Annotated[Shipments, BeforeValidator(_section)] = Shipments()


class Retention(_Model):
    """How many days what Amazon sent, and where orders went, is kept."""

    raw_documents_days: Days = Field(default=30, description="a whole number of days from 1 to 540")
    addresses_days: Days = Field(default=30, description="a whole number of days from 1 to 540")


class Notification(_Model):
    """Who is told about what."""

    connection: ConnectionId = Field(description="the id of an Apprise connection")
    on: tuple[NotificationEvent, ...] = Field(
        default=("failure", "attention"), min_length=1, description="a list of failure, attention, change, always"
    )


class StoresFile(_Model):
    """The whole file."""

    stores: dict[ConnectionId, Annotated[Store, BeforeValidator(_section)]] = Field(
        min_length=1, description="at least one store, by the id of its Airflow connection (letters, digits, . _ -)"
    )
    retention: Annotated[Retention, BeforeValidator(_section)] = Retention()
    notifications: Annotated[tuple[Notification, ...], BeforeValidator(lambda value: value or ())] = Field(
        default=(),
        description="a list of {connection: an Apprise connection id, on: [failure, attention, change, always]}",
    )

    def store(self, store_id: str) -> Store:
        """Find a store's settings by the id of its connection.

        :raises StoresError: the file does not name this store; the message lists those it names
        """
        found = self.stores.get(store_id)
        if found is None:
            raise StoresError(f"The stores file names no store {store_id!r}. It names: {', '.join(self.stores)}")
        return found


def stores_path() -> Path:
    """Where the stores file is: what ``FBA_STORES_FILE`` names, else the project's ``include/stores.yaml``."""
    named = os.environ.get("FBA_STORES_FILE")
    return Path(named) if named else INCLUDE / "stores.yaml"


def load_stores(path: Path | None = None) -> StoresFile:
    """Read and check the stores file.

    :param path: the file; None is :func:`stores_path`
    :raises StoresError: it cannot be read or something in it is wrong; the message has a line for every problem
    """
    path = path or stores_path()
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StoresError(f"{path}: the stores file cannot be read as UTF-8 text: {error}") from error
    try:
        root = loader.get_single_node()
        traps = _traps(root)
        data = None if root is None else loader.construct_document(root)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise StoresError(f"{path}: the stores file is not YAML that can be read: {error}") from error
    finally:
        loader.dispose()
    problems = [(node.start_mark.line + 1, text) for node, text in traps]
    stores = None
    try:
        stores = StoresFile.model_validate({} if data is None else data)
    except ValidationError as error:
        trapped = {id(node) for node, _ in traps}
        for detail in error.errors():
            node = _node_at(root, detail["loc"])
            # A list whose entries are all wrong is reported for them, and once more as too short: that is no news.
            repeated = detail["type"] == "too_short" and isinstance(node, yaml.SequenceNode) and node.value
            if id(node) not in trapped and not repeated:
                problems.append((node.start_mark.line + 1 if node else 1, _explain(detail, node)))
    if stores is None or problems:
        lines = "".join(f"\n  line {line}: {text}" for line, text in sorted(problems))
        raise StoresError(f"{path}: {len(problems)} thing(s) to put right in the stores file:{lines}")
    return stores


_PLAIN_NUMBER = re.compile(
    r"[-+]?(0|[1-9][0-9]*)|[-+]?[0-9]*\.[0-9]*([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_STR, _NULL, _MERGE, _DATE = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "null", "merge", "timestamp"))
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def _traps(root: yaml.Node | None) -> list[tuple[yaml.Node, str]]:
    """Find what YAML itself would silently read otherwise than it is written, and make it text.

    Those are a key given twice (the last would win), keys that are no text, numbers such as 17:00 (1020) or 010 (8).
    """
    found: list[tuple[yaml.Node, str]] = []
    seen: set[int] = set()
    todo: list[tuple[yaml.Node | None, tuple[str, ...]]] = [(root, ())]
    while todo:
        node, where = todo.pop()
        if node is None or id(node) in seen:  # an alias brings a node back
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                name = str(key.value)
                if isinstance(key, yaml.ScalarNode) and key.tag not in (_STR, _MERGE):
                    if name != "on":  # our own key, which YAML 1.1 reads as true
                        found.append((key, f"{_place(where)}found the key {name}, {_put_in_quotes(key)}"))
                    key.tag = _STR
                if name in keys:
                    found.append((key, f"{_place(where)}found the key {name} twice; allowed: once"))
                keys.add(name)
                todo.append((value, (*where, name)))
        elif isinstance(node, yaml.SequenceNode):
            todo += [(value, (*where, str(index))) for index, value in enumerate(node.value)]
        elif isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and not _PLAIN_NUMBER.fullmatch(node.value):
            text = f"{_place(where)}found {node.value}, {_put_in_quotes(node)}, or write a plain decimal number"
            found.append((node, text))
            node.tag = _STR
        elif node.tag == _DATE:
            try:
                SafeConstructor().construct_object(node)
            except ValueError:
                found.append((node, f"{_place(where)}found {node.value}; allowed: a date that exists"))
                node.tag = _STR
    return found


def _put_in_quotes(node: yaml.ScalarNode) -> str:
    kind = node.tag.rpartition(":")[2]
    reading = {
        "bool": "true or false",
        "int": "a number",
        "float": "a number",
        "timestamp": "a date",
        "null": "nothing",
    }
    return f'which YAML reads as {reading.get(kind, kind)}: put it in quotes, "{node.value}"'


def _place(loc: tuple[int | str, ...]) -> str:
    """Where in the file, for a person: ``store amazon_us, fulfillment.hold_hours: ``."""
    path = [str(part) for part in loc if part != "[key]"]
    if not path:
        return ""
    if path[0] == "stores" and len(path) > 1:
        return ", ".join(filter(None, (f"store {path[1]}", ".".join(path[2:])))) + ": "
    return ".".join(path) + ": "


def _node_at(root: yaml.Node | None, loc: tuple[int | str, ...]) -> yaml.Node | None:
    """Follow pydantic's path as far as the file goes: the wrong value, the wrong key, or what a key is missing from."""
    node = root
    for depth, part in enumerate(loc):
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: (key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)}
            if part not in pairs:
                return node
            key, node = pairs[str(part)]
            if loc[depth + 1 :] == ("[key]",):
                return key
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
    return node


def _keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _rule_at(loc: tuple[int | str, ...]) -> tuple[Any, FieldInfo | None]:
    """Follow pydantic's path through the models: the type it ends in, and the last field on the way."""
    kind: Any = StoresFile
    field: FieldInfo | None = None
    for part in loc:
        if part == "[key]":
            return str, field
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = _keys(kind)[str(part)]
            kind = field.annotation
        else:
            kind = get_args(kind)[0 if get_origin(kind) is tuple else -1]  # an entry of a list or of a mapping
        while get_origin(kind) in (Annotated, Union, UnionType):
            kind = get_args(kind)[0]
    return kind, field


def _explain(detail: ErrorDetails, node: yaml.Node | None) -> str:
    """One of pydantic's errors in words: store, key, what was found, what is allowed."""
    loc, error = detail["loc"], detail["type"]
    if error == "extra_forbidden":
        kind, _ = _rule_at(loc[:-1])
        return f"{_place(loc[:-1])}found the key {loc[-1]}; allowed: {', '.join(_keys(kind))}"
    kind, field = _rule_at(loc)
    is_section = isinstance(kind, type) and issubclass(kind, BaseModel)
    if error == "value_error" and is_section:
        return f"{_place(loc)}{detail['ctx']['error']}"
    allowed = f"a section with {', '.join(_keys(kind))}" if is_section else field.description if field else None
    if error == "missing":
        return f"{_place(loc)}it is missing; allowed: {allowed}"
    if isinstance(node, yaml.ScalarNode):
        found = (node.value if len(node.value) <= 60 else node.value[:60] + "…") or "nothing"
        if error in ("string_type", "literal_error") and not node.style and node.tag not in (_STR, _NULL):
            found += f", {_put_in_quotes(node)}"
    else:
        found = "a list" if isinstance(node, yaml.SequenceNode) else "a section"
        if isinstance(node, yaml.CollectionNode) and not node.value:
            found += " without entries"
    return f"{_place(loc)}found {'the key ' if loc[-1:] == ('[key]',) else ''}{found}; allowed: {allowed}"
