"""A quote: what Amazon says before an order is sent, which speed that makes, and whether a person has to approve it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from fba_operators.fulfillment.request import FulfillmentRequest
from fba_operators.runs.summary import listed
from fba_operators.settings.models import CHEAPEST, Approval

FRESH = timedelta(hours=1)  # then it is asked for again before the order goes
SHOWN = 10  # SKUs in a reason


@dataclass(frozen=True)
class Quote:
    """What Amazon says about a request with one speed, as in ``fba.fulfillment_quote``.

    :param fee: the sum of all kinds; None where Amazon names none, or one of them without an amount
    :param unfulfillable: list of ``sku`` (None for the whole order) and ``reason``
    """

    speed: str
    fulfillable: bool
    fee: Decimal | None = None
    currency: str | None = None
    fees: Sequence[Mapping[str, Any]] = ()
    ship_earliest: datetime | None = None
    ship_latest: datetime | None = None
    arrive_earliest: datetime | None = None
    arrive_latest: datetime | None = None
    shipments: int = 0
    unfulfillable: Sequence[Mapping[str, Any]] = ()

    def arrives_by(self, moment: datetime | None) -> bool:
        """Whether it says that all arrives by then; not so if it names no latest arrival."""
        return moment is None or (self.arrive_latest is not None and self.arrive_latest <= moment)

    @property
    def price(self) -> str:
        """The fee in words."""
        return "of an unknown fee" if self.fee is None else f"for {self.fee} {self.currency or ''}".rstrip()


@dataclass(frozen=True)
class Choice:
    """The speed of a request, or why it has none; neither where Amazon has not said whether it can have one.

    :param quote: of the speed it is sent with
    :param impossible: why Amazon cannot fulfil it
    :param doubts: why no program may choose
    """

    quote: Quote | None = None
    impossible: str | None = None
    doubts: tuple[str, ...] = field(default=())


def choose(method: str, quotes: Sequence[Quote], deliver_by: datetime | None) -> Choice:
    """Choose the speed of a request by its quotes.

    :param method: one of Amazon's speeds, or Cheapest: the cheapest whose latest arrival is by ``deliver_by``
    :param quotes: one for each speed of which Amazon says whether it can be had
    """
    asked = [quote for quote in quotes if method in (CHEAPEST, quote.speed)]
    possible = [quote for quote in asked if quote.fulfillable]
    if not asked:
        return Choice()
    if not possible:
        why = "; ".join(map(_why_not, asked))
        return Choice(impossible=f"Amazon cannot fulfil it: {why}")
    if method != CHEAPEST:
        return Choice(possible[0])
    in_time = [quote for quote in possible if quote.arrives_by(deliver_by)]
    priced = [quote for quote in in_time if quote.fee is not None]
    if priced and len({quote.currency for quote in priced}) == 1:
        return Choice(min(priced, key=lambda quote: (quote.fee, quote.speed)))
    soonest = min(in_time or possible, key=lambda quote: (quote.arrive_latest is None, quote.arrive_latest or 0))
    if priced:
        doubt = "Amazon names the fees of its speeds in several currencies"
    elif in_time:
        doubt = "Amazon names no fee of a speed that arrives in time"
    else:
        doubt = f"no speed arrives by {deliver_by:%Y-%m-%d %H:%M} UTC"
    return Choice(soonest, doubts=(f"{doubt}; the soonest is {soonest.speed} {soonest.price}",))


def _why_not(quote: Quote) -> str:
    reasons: dict[str, list[str]] = {}
    for each in quote.unfulfillable:
        reasons.setdefault(each["reason"], []).extend([each["sku"]] if each["sku"] else [])
    told = [f"{reason} (SKU {listed(skus, SHOWN)})" if skus else reason for reason, skus in reasons.items()]
    return f"{quote.speed}: {', '.join(told) or 'no reason given'}"


def needs_approval(
    request: FulfillmentRequest, quote: Quote, approval: Approval | None, doubts: Sequence[str] = (), *, currency: str
) -> list[str]:
    """List why a person has to approve a request before it is sent.

    :param doubts: of :func:`choose`
    :param currency: the store's, in which the amounts of ``approval`` are
    """
    found = list(doubts)
    if approval is None:
        return found
    if approval.always:
        found.append("every request of the store is approved")
    if approval.above_fee is not None:
        if quote.fee is None:
            found.append("the fee is not known")
        elif (quote.currency or "").upper() != currency:
            found.append(f"fee {quote.fee} {quote.currency} is not in the store's currency, {currency}")
        elif quote.fee > approval.above_fee:
            found.append(f"fee {quote.fee} {quote.currency or ''}".rstrip() + f" is above {approval.above_fee:.2f}")
    if approval.above_value is not None:
        prices = [item.unit_price for item in request.items]
        value = sum((item.unit_price or Decimal(0)) * item.quantity for item in request.items)
        if None in prices:
            found.append("the value is not known, because a line has no unit_price")
        elif value > approval.above_value:
            found.append(f"value {value} is above {approval.above_value}")
    if approval.late and not doubts and not quote.arrives_by(request.deliver_by):
        arrival = f"{quote.arrive_latest:%Y-%m-%d %H:%M} UTC" if quote.arrive_latest else "at an unknown time"
        found.append(f"it may arrive {arrival}, after {request.deliver_by:%Y-%m-%d %H:%M} UTC")
    return found


def is_approved(quote: Quote, *, approved_at: datetime | None, approved_fee: Decimal | None) -> bool:
    """Whether a person's approval covers a quote.

    :param approved_fee: the fee that was approved; None for an approval before any quote, 0 for one of an unknown fee
    """
    if approved_at is None:
        return False
    if approved_fee is None:
        return True
    return approved_fee == 0 if quote.fee is None else quote.fee <= approved_fee
