"""What Amazon is asked before a request is sent: whether its wishes can be had, what it costs, when it arrives."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.operations import Fee, Preview
from fba_operators.errors import RequestRefusedError, UnavailableError
from fba_operators.fulfillment.claim import MAX_ORDERS, Ready
from fba_operators.fulfillment.ledger import FeedLedger
from fba_operators.fulfillment.left_out import MOST_IN_A_ROW, LeftOut, UnansweredError
from fba_operators.fulfillment.order_json import preview_json
from fba_operators.fulfillment.order_ledger import OrderLedger
from fba_operators.fulfillment.quote import Quote
from fba_operators.settings.models import CHEAPEST, Fulfillment
from fba_operators.settings.speeds import ONLY_IN
from fba_operators.words import MOST_OF_A_NAME, words

SPEEDS = ("Standard", "Expedited")  # which Amazon has everywhere
_NAMES = (*SPEEDS, *ONLY_IN, "ScheduledDelivery")  # ShippingSpeedCategory of Amazon's Fulfillment Outbound 2020-07-01


def ask_features(hook: SellingPartnerHook, ledger: FeedLedger, requests: Iterable[Ready], left_out: LeftOut) -> None:
    """Ask Amazon about the wishes of requests, for the seller and for each SKU, each once a day.

    What Amazon does not answer is not known, and Amazon decides when it gets the order.

    :param left_out: collects what Amazon fails for
    :raises UnavailableError: Amazon does not answer other questions either
    """
    known = {(row["feature"], row["sku"]): row["eligible"] for row in ledger.run_alone("fulfillment.features")}
    wanted: dict[str, set[str]] = {}
    for each in requests:
        for feature in each.features:
            wanted.setdefault(feature, set()).update(item.sku for item in each.request.items)
    try:
        if any((feature, "") not in known for feature in wanted):
            with left_out.asking(hook, "", "list of features"):
                told = hook.get_features()
            eligible = {each.feature_name: each.seller_eligible for each in told if each}
            # What a whole list does not have, the marketplace does not have.
            missing = set(wanted) - eligible.keys() if told and None not in told else set()
            for feature, may in (eligible | dict.fromkeys(missing, False)).items():
                if may is not None:
                    known[feature, ""] = may
                    _remember(ledger, feature, "", may, None)
    except (RequestRefusedError, UnansweredError):
        return
    for feature, skus in sorted(wanted.items()):
        for sku in sorted(sku for sku in skus if (feature, sku) not in known and known.get((feature, ""), True)):
            if left_out.in_a_row["SKU"] >= MOST_IN_A_ROW:
                return
            try:
                with left_out.asking(hook, sku, "SKU"):
                    answer = hook.get_feature_sku(feature, sku)
            except (RequestRefusedError, UnansweredError):
                continue
            reasons = ", ".join(words(reason, MOST_OF_A_NAME) for reason in answer.ineligible_reasons or ())
            _remember(ledger, feature, sku, answer.is_eligible, reasons or None)


def _remember(ledger: FeedLedger, feature: str, sku: str, eligible: bool, reasons: str | None) -> None:
    values = {"feature": feature, "sku": sku, "eligible": eligible, "reasons": reasons}
    ledger.run_alone("fulfillment.set_feature", **values)


def ask_quotes(
    hook: SellingPartnerHook,
    ledger: FeedLedger,
    settings: Fulfillment,
    requests: Sequence[Ready],
    left_out: LeftOut,
) -> str:
    """Ask for a preview of each request, of as many as one run sends, and keep what Amazon says for each speed.

    :param left_out: collects those for which Amazon fails
    :return: a sentence about those that Amazon did not answer, which wait; empty if there are none
    :raises ThrottledError: the quota is used up; what was asked is kept
    """
    unanswered = False
    # In another order each time: many of which Amazon fails, as of one SKU, must not always come before the others.
    for each in random.sample(requests[:MAX_ORDERS], min(len(requests), MAX_ORDERS)):
        method = settings.shipping_methods[each.request.shipping_method or ""]
        country = hook.marketplace.country
        speeds = [*SPEEDS, *(speed for speed, places in ONLY_IN.items() if country in places or speed == method)]
        question = preview_json(each.request, each.features, speeds, marketplace_id=hook.marketplace.id)
        try:
            with left_out.asking(hook, each.request.fr_number, "quote"):
                previews = hook.get_fulfillment_preview(question)
        except RequestRefusedError as error:
            if error.status != 400 or error.code is None:
                raise
            _refuse(ledger, each, f"Amazon cannot quote it: {error.code}: {error.detail}")
            continue
        except UnansweredError:
            unanswered = True
            continue
        except UnavailableError as error:
            if error.operation is None:
                raise
            unanswered = True  # an outage: the rest waits too
            break
        asked = [method] if method != CHEAPEST else speeds
        _keep(ledger, each, _quotes(previews, asked))
    return "Amazon did not answer every question for a quote; those requests wait." if unanswered else ""


def _quotes(previews: Sequence[Preview | None], asked: Sequence[str]) -> list[Quote]:
    """One quote for each speed that Amazon names.

    Where all could be read, a speed that is asked for and missing cannot be had. Where not, there is no quote for it; and
    none at all where there is a choice and the missing one may be all that can be had.
    """
    quotes = {quote.speed: quote for quote in (read_quote(preview) for preview in previews if preview)}
    missing = [speed for speed in asked if speed not in quotes]
    if previews and None not in previews and quotes.keys() <= set(_NAMES):
        for speed in missing:
            why = {"sku": None, "reason": "Amazon does not offer this speed"}
            quotes[speed] = Quote(speed, fulfillable=False, unfulfillable=[why])
    elif missing and len(asked) > 1 and not any(quote.fulfillable for quote in quotes.values()):
        return []
    return list(quotes.values())


def read_quote(preview: Preview) -> Quote:
    """Read one of Amazon's previews; what it leaves out is not known."""
    fee, currency, fees = _fees(preview.estimated_fees)
    shipments = preview.fulfillment_preview_shipments or []
    dates: dict[str, datetime | None] = {}
    for ours, theirs, pick in (
        ("ship_earliest", "earliest_ship_date", min),
        ("ship_latest", "latest_ship_date", max),
        ("arrive_earliest", "earliest_arrival_date", min),
        ("arrive_latest", "latest_arrival_date", max),
    ):
        told = [moment for shipment in shipments if shipment and (moment := getattr(shipment, theirs))]
        dates[ours] = pick(told) if told and len(told) == len(shipments) else None
    unfulfillable: list[dict[str, Any]] = [
        {"sku": None, "reason": words(reason, MOST_OF_A_NAME)} for reason in preview.order_unfulfillable_reasons or ()
    ]
    unfulfillable += [
        {"sku": item.seller_sku, "reason": words(reason, MOST_OF_A_NAME)}
        for item in preview.unfulfillable_preview_items or ()
        if item
        for reason in item.item_unfulfillable_reasons or ["no reason given"]
    ]
    speed = words(preview.shipping_speed_category, MOST_OF_A_NAME)
    return Quote(
        next((name for name in _NAMES if name.casefold() == speed.casefold()), speed),
        preview.is_fulfillable,
        fee,
        currency,
        fees,
        shipments=len(shipments),
        unfulfillable=unfulfillable,
        **dates,
    )


def _fees(told: Sequence[Fee | None] | None) -> tuple[Decimal | None, str | None, list[dict[str, Any]]]:
    """The sum of all fees, None where one of them is not known; its currency; and each kind."""
    fees = [
        {
            "kind": words(fee.name, MOST_OF_A_NAME) if fee else None,
            "amount": str(fee.amount.value) if fee and fee.amount and fee.amount.value is not None else None,
            "currency": fee.amount.currency_code if fee and fee.amount else None,
        }
        for fee in told or ()
    ]
    currencies = {fee["currency"] for fee in fees}
    currency = currencies.pop() if len(currencies) == 1 else None
    amounts = [fee["amount"] for fee in fees]
    if not fees or None in amounts or currency is None:
        return None, currency, fees
    return sum((Decimal(amount) for amount in amounts if amount), Decimal(0)), currency, fees


def _keep(ledger: FeedLedger, one: Ready, quotes: Sequence[Quote]) -> None:
    """Keep the quotes of a request, unless it was edited while Amazon was asked."""
    number = one.request.fr_number
    with ledger.connect() as db:
        if not ledger.run(db, "fulfillment.lock_content", number=number):
            return
        if OrderLedger(ledger).contents_in(db, [number])[number] != one.request:
            return
        ledger.run(db, "fulfillment.remove_quote", number=number)
        for quote in quotes:
            values = asdict(quote) | {
                "fees": Jsonb(list(quote.fees)),
                "unfulfillable": Jsonb(list(quote.unfulfillable)),
            }
            ledger.run(db, "fulfillment.add_quote", number=number, features=list(one.features), **values)
        ledger.run(db, "fulfillment.record_quoted", number=number)


def _refuse(ledger: FeedLedger, one: Ready, reason: str) -> None:
    """Record that Amazon refuses a request, unless it was edited while Amazon was asked."""
    number = one.request.fr_number
    with ledger.connect() as db:
        locked = ledger.run(db, "fulfillment.lock_content", number=number)
        if locked and OrderLedger(ledger).contents_in(db, [number])[number] == one.request:
            ledger.run(db, "fulfillment.set_invalid", numbers=[number], reasons=[reason])
