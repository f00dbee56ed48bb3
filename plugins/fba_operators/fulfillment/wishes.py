"""How a request wishes to be sent: its own wishes, those of its channel, and which transport can say them."""

from __future__ import annotations

from collections.abc import Iterator

from fba_operators.fulfillment.request import FulfillmentRequest
from fba_operators.settings.models import Channel, Fulfillment

# Wish → the value that is one, and Amazon's name of the feature: FeatureSettings of Fulfillment Outbound 2020-07-01.
FEATURES = {
    "packaging": ("unbranded", "BLANK_BOX"),
    "block_amazon_logistics": (True, "BLOCK_AMZL"),
    "signature": (True, "SIGNATURE_CONFIRMATION"),
    "deliver_together": (True, "DELIVER_TOGETHER"),
}


def features_of(request: FulfillmentRequest, settings: Fulfillment) -> tuple[str, ...]:
    """Amazon's names of the features that a request wishes for; where it says nothing, its channel does."""
    return tuple(feature for _, feature in _wished(request, settings))


def wish_problems(request: FulfillmentRequest, settings: Fulfillment) -> list[str]:
    """List what is wrong with a request's channel and wishes."""
    if request.channel is not None and request.channel not in settings.channels:
        known = ", ".join(settings.channels) or "none"
        return [f"channel is not one of the store's fulfillment.channels; there are: {known}"]
    wished = [wish for wish, _ in _wished(request, settings)]
    if not wished or settings.transport == "outbound":
        return []
    verb = "is a wish" if len(wished) == 1 else "are wishes"
    return [
        f"{', '.join(wished)} {verb} that the transport feed cannot say; it takes fulfillment.transport: outbound in stores.yaml"
    ]


def _wished(request: FulfillmentRequest, settings: Fulfillment) -> Iterator[tuple[str, str]]:
    of_channel = settings.channels.get(request.channel or "") or Channel()
    for wish, (wished, feature) in FEATURES.items():
        own = getattr(request, wish)
        if (getattr(of_channel, wish) if own is None else own) == wished:
            yield wish, feature
