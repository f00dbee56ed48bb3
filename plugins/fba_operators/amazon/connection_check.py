"""Airflow's *Test Connection*: a harmless call for each thing that can be wrong, and a verdict for each.

The first line has the outcome and names what failed: Airflow shows the text in a toast that is gone in three seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fba_operators.errors import (
    ConfigurationError,
    CredentialsError,
    RequestRefusedError,
    SellingPartnerError,
    ThrottledError,
    UnavailableError,
)

if TYPE_CHECKING:
    from fba_operators.amazon.hook import SellingPartnerHook

# Both belong to the role Inventory and Order Tracking. To list them makes no report.
LISTED_TYPES = "GET_MERCHANT_LISTINGS_ALL_DATA,GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL"
FULFILLMENT, TRACKING = "Amazon Fulfillment", "Inventory and Order Tracking"
WARNED_BEFORE = timedelta(days=30)
AT_FAULT = {"invalid_grant": "Refresh token", "invalid_client": "LWA client id or LWA client secret"}  # as in the form


@dataclass(frozen=True)
class Verdict:
    """What one call has shown.

    :param short: for the first line, where it is no ``ok``
    :param state: ``ok``, ``warning`` or ``FAILED``
    """

    what: str
    state: str
    text: str = ""
    short: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.state}{': ' if self.text else ''}{self.text}"


def check_connection(hook: SellingPartnerHook) -> tuple[bool, str]:
    """Try login, marketplace and roles.

    :return: whether nothing failed, and the verdicts
    """
    first = _verdict(hook, "client and refresh token", hook.access_token)
    if first.state != "ok":
        return _told([first])
    since = datetime.now(UTC) - timedelta(hours=1)
    return _told(
        [
            first,
            _marketplace(hook),
            _verdict(hook, "FBA stock", lambda: hook.get_inventory_summaries(["connection-test"]), FULFILLMENT),
            _verdict(hook, "fulfillment orders", lambda: hook.list_all_fulfillment_orders(since=since), FULFILLMENT),
            _changed_orders(hook, since),
            _verdict(
                hook, "reports", lambda: next(hook.get_reports(LISTED_TYPES, created_since=since), None), TRACKING
            ),
            *_ages(hook),
        ]
    )


def _ages(hook: SellingPartnerHook) -> Iterator[Verdict]:
    """When what the connection says the age of will expire."""
    credentials = hook.credentials
    for what, expires in (
        ("LWA client secret", credentials.client_secret_expires),
        ("Refresh token", credentials.refresh_token_expires),
    ):
        if expires is None:
            continue
        text = f"until {expires:%Y-%m-%d}"
        if expires - datetime.now(UTC) > WARNED_BEFORE:
            yield Verdict(what, "ok", text)
        else:
            yield Verdict(what, "warning", f"{text}, then Amazon refuses it", f"{what} {text}")


def _told(verdicts: list[Verdict]) -> tuple[bool, str]:
    failed = [verdict for verdict in verdicts if verdict.state == "FAILED"]
    warned = [verdict for verdict in verdicts if verdict.state == "warning"]
    if failed:
        outcome = "FAILED: " + ", ".join(dict.fromkeys(verdict.short for verdict in failed))
    elif warned:
        outcome = "OK, with a warning: " + ", ".join(dict.fromkeys(verdict.short for verdict in warned))
    else:
        outcome = "OK: client, refresh token, marketplace and both roles"
    return not failed, "\n".join([outcome, *map(str, verdicts)])


def _verdict(hook: SellingPartnerHook, what: str, call: Callable[[], Any], role: str = "") -> Verdict:
    try:
        call()
    except ThrottledError as error:
        return Verdict(what, "warning", f"not tried, {_reason(hook, error)}", f"{what} not tried")
    except RequestRefusedError as error:
        # Sellers without any FBA SKU are known to get 400 from the inventory API; the role is there then.
        return Verdict(
            what, "warning", f"allowed, but Amazon refuses the question: {_reason(hook, error)}", f"{what} not answered"
        )
    except SellingPartnerError as error:
        denied = role if error.status in (401, 403) else ""
        return Verdict(what, "FAILED", _reason(hook, error), f"role {denied}" if denied else _at_fault(what, error))
    return Verdict(what, "ok")


def _changed_orders(hook: SellingPartnerHook, since: datetime) -> Verdict:
    """Whether the account has Fulfillment Outbound 2026-07-04; without it orders are asked for one by one."""
    what = "changed orders"
    verdict = _verdict(hook, what, lambda: next(hook.list_orders(updated_after=since), None), FULFILLMENT)
    if verdict.state != "FAILED" or not verdict.short.startswith("role"):
        return verdict
    text = f"not allowed, so each order is asked for by itself: {verdict.text}"
    return Verdict(what, "warning", text, f"{what} not allowed")


def _at_fault(what: str, error: SellingPartnerError) -> str:
    if isinstance(error, ConfigurationError):
        return "a field of the connection"
    if error.status and 300 <= error.status < 400:
        return "Endpoint or Token URL"
    if isinstance(error, UnavailableError):
        return f"no usable answer for {what}"
    return AT_FAULT.get(error.code or "", what)


def _reason(hook: SellingPartnerHook, error: SellingPartnerError) -> str:
    # Airflow tests under a connection id of its own, which would mean nothing to the reader.
    text, own = str(error), hook.conn_id
    for name, instead in ((f"Connection {own}: ", ""), (f"Connection {own}", "The connection"), (f"{own}: ", "")):
        text = text.replace(name, instead)
    return text


def _marketplace(hook: SellingPartnerHook) -> Verdict:
    here = f"{hook.marketplace.name} ({hook.marketplace.id})"
    what = f"region {hook.marketplace.region.code} and marketplace {here}"
    try:
        taking_part = hook.get_marketplace_participations()
    except CredentialsError as error:
        if error.status == 403:
            text = "not checked, the application lacks the role Selling Partner Insights"
            return Verdict("marketplace", "warning", text, "marketplace not checked")
        return Verdict(what, "FAILED", _reason(hook, error), _at_fault("marketplace", error))
    except ThrottledError as error:
        return Verdict(what, "warning", f"not tried, {_reason(hook, error)}", "marketplace not tried")
    except SellingPartnerError as error:
        return Verdict(what, "FAILED", _reason(hook, error), _at_fault("marketplace", error))
    if hook.marketplace.id in taking_part:
        return Verdict(what, "ok")
    text = f"this seller does not sell in {here}, but in {', '.join(taking_part) or 'no marketplace'}"
    return Verdict("marketplace", "FAILED", text, "Marketplace")
