"""Delivery speeds that Amazon does not list everywhere. They are sent as they are mapped all the same: Amazon decides.

The table is here and not beside the marketplaces, because the settings and the pure validation know nothing of Amazon's client.
"""

from __future__ import annotations

import warnings

from fba_operators.settings.models import Fulfillment, ShippingMethod, StoresFile

# ServiceLevel in Amazon's Fulfillment Outbound 2026-07-04 model: "PRIORITY (only available in Canada, India, and Mexico)". It has
# ScheduledDelivery only in Japan, but a feed cannot ask for that; Standard and Expedited are everywhere.
ONLY_IN: dict[ShippingMethod, tuple[str, ...]] = {"Priority": ("CA", "IN", "MX")}


class SpeedWarning(UserWarning):
    """A shipping method of stores.yaml is mapped to a speed that Amazon does not list in every marketplace."""


def doubt_about(speed: ShippingMethod, country: str | None = None) -> str | None:
    """Why Amazon may refuse a speed, or None.

    :param country: of the store's marketplace; None if it is not known
    """
    listed = ONLY_IN.get(speed)
    if listed is None or country in listed:
        return None
    where = f"{', '.join(listed[:-1])} and {listed[-1]}"
    return f"Amazon lists {speed} only in {where}; it is sent as it is, and Amazon may refuse it"


def warn_of_speeds(stores: StoresFile) -> None:
    """Issue a :class:`SpeedWarning` for every mapping to such a speed that is not the default one.

    The file does not say in which marketplace a store is.
    """
    default = Fulfillment().shipping_methods
    for name, store in stores.stores.items():
        if store.fulfillment.shipping_methods == default:
            continue
        for method, speed in store.fulfillment.shipping_methods.items():
            if doubt := doubt_about(speed):
                text = (
                    f"stores.yaml: store {name}, fulfillment.shipping_methods.{method}: {doubt} in other marketplaces"
                )
                warnings.warn(text, SpeedWarning, stacklevel=2)
