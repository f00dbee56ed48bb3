"""What can be set in stores.yaml: every key, its default, its rule, and the rule in words (``description``)."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

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
    model_validator,
)
from pydantic_extra_types.country import CountryAlpha2
from pydantic_extra_types.timezone_name import TimeZoneName

PoolColumn = Literal[
    "title", "description", "brand", "price", "category1", "category2", "category3", "asin", "listing_status"
]
# Amazon's REST API knows ScheduledDelivery too, but the feed has no place for its delivery window; any other text would
# only be found wrong by Amazon's rejection of the order.
DeliverySLA = Literal["Standard", "Expedited", "Priority"]
CHEAPEST = "Cheapest"  # no speed of Amazon's: the cheapest that arrives in time, by its quote
ShippingMethod = Literal["Standard", "Expedited", "Priority", "Cheapest"]
Transport = Literal["feed", "outbound"]
Packaging = Literal["any", "unbranded"]
FulfillmentPolicy = Literal["FillOrKill", "FillAll", "FillAllAvailable"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
NotificationEvent = Literal["failure", "attention", "change", "always"]

_ID = re.compile(r"[\w#!()\-.:/\\]{1,250}")  # Airflow's rule for connection ids


class StoresError(ValueError):
    """The stores file cannot be used as it is; the message lists every problem in it."""


def _section(value: Any) -> Any:
    return {} if value is None else value  # a section whose keys are all commented out


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


def _iso_country(code: Any) -> Any:
    return "GB" if code == "UK" else code  # Amazon's code for Britain


def _connection_id(name: str) -> str:
    if not _ID.fullmatch(name):
        raise ValueError("not a connection id")
    return name


Text = Annotated[str, StringConstraints(min_length=1)]
ConnectionId = Annotated[str, AfterValidator(_connection_id)]
Money = Annotated[Decimal, BeforeValidator(_money)]
Share = Annotated[StrictFloat, Field(ge=0, le=1, allow_inf_nan=False)]
Days = Annotated[StrictInt, Field(ge=1, le=540)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_alias=True, validate_by_name=False)


class BusinessHours(_Model):
    """When a store lets orders go out, in its local time."""

    timezone: TimeZoneName = Field(description="a time zone, e.g. America/New_York")
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
    minimum_value: Money | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="an amount of money, at least 0, without currency"
    )
    ship_to_countries: tuple[Annotated[CountryAlpha2, BeforeValidator(_iso_country)], ...] | None = Field(
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
    max_vanished_share: Share = Field(default=0.05, description="a share from 0 to 1")
    confirm_vanished: StrictBool = Field(default=True, description="true or false")
    max_stock_age_hours: Annotated[StrictFloat, Field(gt=0, le=720, allow_inf_nan=False)] = Field(
        default=6.0, description="a number of hours above 0, at most 720"
    )
    max_rejected_share: Share = Field(default=0.01, description="a share from 0 to 1")
    breakdown: StrictBool = Field(default=False, description="true or false")
    buffer_units: StrictInt = Field(default=0, ge=0, le=10**9, description="a whole number of units, at least 0")
    low_stock_days: Annotated[StrictFloat, Field(gt=0, le=365, allow_inf_nan=False)] | None = Field(
        default=None, description="a number of days above 0, at most 365"
    )


class Channel(_Model):
    """What requests of a channel wish for where they say nothing themselves; null is Amazon's default."""

    packaging: Packaging | None = Field(default=None, description="any or unbranded")
    block_amazon_logistics: StrictBool | None = Field(default=None, description="true or false")
    signature: StrictBool | None = Field(default=None, description="true or false")
    deliver_together: StrictBool | None = Field(default=None, description="true or false")


class Approval(_Model):
    """Which requests wait for a person before they are sent."""

    always: StrictBool = Field(default=False, description="true or false")
    above_fee: Money | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="an amount of money, at least 0, in the store's currency"
    )
    above_value: Money | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="an amount of money, at least 0, in the store's currency"
    )
    late: StrictBool = Field(default=False, description="true or false")

    @model_validator(mode="after")
    def _asks_for_something(self) -> Approval:
        if not (self.always or self.late) and self.above_fee is None and self.above_value is None:
            raise ValueError(
                "it names nothing that needs approval: set always, above_fee, above_value or late, or leave approval out"
            )
        return self


class Fulfillment(_Model):
    """When and how a store's orders are sent to Amazon."""

    send_automatically: StrictBool = Field(default=False, description="true or false")
    hold_hours: Annotated[StrictFloat, Field(ge=0, le=8760, allow_inf_nan=False)] = Field(
        default=0.0, description="a number of hours from 0 to 8760"
    )
    business_hours: BusinessHours | None = None
    transport: Transport = Field(default="feed", description=f"one of {', '.join(get_args(Transport))}")
    shipping_methods: Annotated[dict[Text, ShippingMethod], BeforeValidator(_section)] = Field(
        default_factory=lambda: {name: name for name in get_args(DeliverySLA)},
        description=f"your shipping method: one of {', '.join(get_args(ShippingMethod))}",
    )
    channels: Annotated[dict[Text, Annotated[Channel, BeforeValidator(_section)]], BeforeValidator(_section)] = Field(
        default_factory=dict,
        description="your channel: {packaging, block_amazon_logistics, signature, deliver_together}",
    )
    quote: StrictBool = Field(default=False, description="true or false")
    reserve: StrictBool = Field(default=False, description="true or false")
    approval: Approval | None = None
    fulfillment_policy: FulfillmentPolicy = Field(
        default="FillOrKill", description=f"one of {', '.join(get_args(FulfillmentPolicy))}"
    )
    notify_customer: StrictBool = Field(default=False, description="true or false")
    rules: Annotated[Rules, BeforeValidator(_section)] = Rules()
    allow_po_boxes: StrictBool = Field(default=False, description="true or false")

    @model_validator(mode="after")
    def _reserves_where_it_can(self) -> Fulfillment:
        if self.reserve and self.transport != "outbound":
            raise ValueError(
                "reserve: true works only with transport: outbound, because a feed cannot release what it holds"
            )
        return self

    def quotes(self, method: str | None) -> bool:
        """Whether requests of a shipping method are quoted before they are sent."""
        return self.quote or self.approval is not None or self.shipping_methods.get(method or "") == CHEAPEST


class Shipments(_Model):
    """How a store's shipments are read."""

    lookback_days: Annotated[StrictInt, Field(ge=1, le=540)] = Field(
        default=15, description="a whole number from 1 to 540"
    )
    max_rejected_share: Share = Field(default=0.01, description="a share from 0 to 1")


class Store(_Model):
    """Everything that can be set for one store."""

    inventory: Annotated[Inventory, BeforeValidator(_section)] = Inventory()
    fulfillment: Annotated[Fulfillment, BeforeValidator(_section)] = Fulfillment()
    shipments: Annotated[Shipments, BeforeValidator(_section)] = Shipments()


class Retention(_Model):
    """Retention periods: of Amazon's documents, of ship-to addresses, and of everything else.

    Amazon's Data Protection Policy (text of November 2025): data that is not personal at most 18 months, logs, which runs
    and reports are too, at least 12 months.
    """

    raw_documents_days: Days = Field(default=30, description="a whole number of days from 1 to 540")
    addresses_days: Days = Field(default=30, description="a whole number of days from 1 to 540")
    data_months: Annotated[StrictInt, Field(ge=12, le=18)] = Field(
        default=18, description="a whole number of months from 12 to 18"
    )


class Notification(_Model):
    """A recipient of notifications, and the events it wants."""

    connection: ConnectionId = Field(description="the id of an Apprise connection")
    on: tuple[NotificationEvent, ...] = Field(
        default=("failure", "attention"), min_length=1, description="a list of failure, attention, change, always"
    )


class Destination(_Model):
    """Who is told of every change of what can be sold: a folder of files, or a webhook."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")] = Field(
        description="a name of your own of letters, digits, . _ -; it stands for what was delivered already"
    )
    file: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*://.+")] | None = Field(
        default=None, description="the address of a folder, such as file:///srv/stock or s3://bucket/stock"
    )
    connection: ConnectionId | None = Field(
        default=None, description="the id of the Airflow connection of the folder's storage"
    )
    webhook: ConnectionId | None = Field(
        default=None, description="the id of an Airflow connection with the receiver's URL and, as password, the secret"
    )
    stores: tuple[ConnectionId, ...] | None = Field(
        default=None, min_length=1, description="a list of stores of this file"
    )

    @model_validator(mode="after")
    def _is_one_thing(self) -> Destination:
        if (self.file is None) == (self.webhook is None):
            raise ValueError(f"{self.name} must have either file or webhook, one of them")
        if self.connection and not self.file:
            raise ValueError(
                f"{self.name} has a connection, which only a file can have; webhook is itself a connection"
            )
        return self


class StoresFile(_Model):
    """The file."""

    stores: dict[ConnectionId, Annotated[Store, BeforeValidator(_section)]] = Field(
        min_length=1, description="at least one store, by the id of its Airflow connection (letters, digits, . _ -)"
    )
    retention: Annotated[Retention, BeforeValidator(_section)] = Retention()
    notifications: Annotated[tuple[Notification, ...], BeforeValidator(lambda value: value or ())] = Field(
        default=(),
        description="a list of {connection: an Apprise connection id, on: [failure, attention, change, always]}",
    )

    publish: Annotated[tuple[Destination, ...], BeforeValidator(lambda value: value or ())] = Field(
        default=(),
        description="a list of {name: a name, file: a folder's address, connection: its Airflow connection} or "
        "{name: a name, webhook: an Airflow connection}",
    )

    @model_validator(mode="after")
    def _destinations_are_told_apart(self) -> StoresFile:
        seen: set[str] = set()
        for each in self.publish:
            if each.name in seen:
                raise ValueError(f"publish has two destinations named {each.name}; allowed: a name of its own for each")
            seen.add(each.name)
            if unknown := sorted(set(each.stores or ()) - set(self.stores)):
                raise ValueError(
                    f"publish: {each.name} names the store {unknown[0]}; allowed: {', '.join(self.stores)}"
                )
        return self

    @model_validator(mode="after")
    def _shipments_stay_as_long_as_they_are_read(self) -> StoresFile:
        days = self.retention.data_months * 30
        for name, store in self.stores.items():
            if store.shipments.lookback_days > days:
                raise ValueError(
                    f"shipments.lookback_days of {name} is {store.shipments.lookback_days}, but after retention.data_months: "
                    f"{self.retention.data_months} shipments are removed; at most {days} days can be read"
                )
        return self

    def store(self, store_id: str) -> Store:
        """Find a store's settings by the id of its connection.

        :raises StoresError: the file does not name this store; the message lists those it names
        """
        found = self.stores.get(store_id)
        if found is None:
            raise StoresError(f"The stores file names no store {store_id!r}. It names: {', '.join(self.stores)}")
        return found

    def destination(self, name: str) -> Destination:
        """Find a destination of ``publish``.

        :raises StoresError: the file does not name it; the message lists those it names
        """
        for each in self.publish:
            if each.name == name:
                return each
        known = ", ".join(each.name for each in self.publish) or "none"
        raise StoresError(f"The stores file has no destination {name!r} below publish. It has: {known}")
