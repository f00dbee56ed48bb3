"""An Amazon that repeats everything it was sent, and what of it must reach nobody."""

from __future__ import annotations

from typing import Any

from sandbox.world.world import DEFAULT_MERCHANT

SECRET_PARTS = (
    DEFAULT_MERCHANT.client_secret,
    DEFAULT_MERCHANT.refresh_token,
    *("Atza|", "Atzr|", "X-Amz-Signature", "77 Hidden Lane", "hidden@buyer.example", "206 555 0177", "\x1b["),
)
HOSTILE = (
    "\x1b[31mInvalid request\x1b[0m:\r\n\r\n refresh_token="
    f"{DEFAULT_MERCHANT.refresh_token} client_secret: {DEFAULT_MERCHANT.client_secret}\n"
    "https://tortuga.s3.amazonaws.com/doc?X-Amz-Expires=300&X-Amz-Signature=0123456789abcdef0123456789abcdef\n"
    "ship to A Buyer, 77 Hidden Lane, Springfield, IL 62704, hidden@buyer.example, tel. 206 555 0177 Atza|IwEBIExample"
)


def hostile_body(length: int = 100_000) -> dict[str, Any]:
    """An error body of Amazon's form whose every text is hostile, and long."""
    text = (HOSTILE + "\n") * (length // len(HOSTILE) + 1)
    return {"errors": [{"code": f"InvalidInput {HOSTILE}", "message": text, "details": HOSTILE}]}
