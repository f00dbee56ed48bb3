"""nextTokens: given out for a page, good once they are younger than their life."""

import secrets
from typing import Any

from sandbox.api.answers import invalid_input
from sandbox.api.calls import Call
from sandbox.world.grants import PageToken


def give_out(call: Call, state: dict[str, Any], seconds: float) -> str:
    """A nextToken that continues this call from `state` for `seconds` real seconds."""
    token = secrets.token_urlsafe(48)
    expires_at = call.world.clock.wall() + seconds
    call.world.page_tokens[token] = PageToken(call.operation.name, call.merchant.seller_id, state, expires_at)
    return token


def take_in(call: Call, token: str) -> dict[str, Any]:
    """The state a nextToken continues; 400 for one that is foreign, of another operation, or expired."""
    page = call.world.page_tokens.get(token)
    if page is None or (page.operation, page.seller_id) != (call.operation.name, call.merchant.seller_id):
        raise invalid_input("The nextToken is not valid.")
    if page.expires_at <= call.world.clock.wall():
        raise invalid_input("The nextToken has expired.")
    return page.state
