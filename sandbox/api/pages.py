"""Page tokens (nextToken): issued with a page of results, valid for one operation and seller until they expire."""

import secrets
from typing import Any

from sandbox.api.answers import invalid_input
from sandbox.api.calls import Call
from sandbox.world.grants import PAGE_TOKEN_SECONDS, PageToken


def issue_page_token(call: Call, state: dict[str, Any], seconds: float = PAGE_TOKEN_SECONDS) -> str:
    """Issue a nextToken that stores `state` and expires after `seconds` of wall time."""
    token = secrets.token_urlsafe(48)
    expires_at = call.world.clock.wall() + seconds
    call.world.page_tokens[token] = PageToken(call.operation.name, call.merchant.seller_id, state, expires_at)
    return token


def read_page_token(call: Call, token: str) -> dict[str, Any]:
    """Return the state stored with a nextToken; 400 if it is another seller's or operation's, or expired."""
    page = call.world.page_tokens.get(token)
    if page is None or (page.operation, page.seller_id) != (call.operation.name, call.merchant.seller_id):
        raise invalid_input("The nextToken is not valid.")
    if page.expires_at <= call.world.clock.wall():
        raise invalid_input("The nextToken has expired.")
    return page.state
