"""Fixtures for the tests of any program that calls the Selling Partner API; pytest finds them where the package is installed.

`amazon_server` is the sandbox, new in each test. `amazon_faults` lets calls fail, `amazon_truth` tells what the merchant
really has, `amazon_clock` lets time pass. `amazon_redirect` is for a program that has Amazon's addresses built in. Override
`amazon_settings` to start the sandbox with other arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sandbox.server.server import Sandbox


class AmazonClock:
    """The clock of the sandbox; `server` is its sandbox."""

    def __init__(self, server: Sandbox) -> None:
        self._world = server.world

    def advance(self, seconds: float) -> None:
        """Skip simulated seconds: of processing, cool-downs, caches and rate limits."""
        self._world.advance(seconds)

    def set(self, *, speed: float | None = None, ahead: float | None = None) -> None:
        """Set the simulated seconds per real second, and by how many seconds Amazon's clock is ahead of this machine's."""
        self._world.set_clock(speed=speed, ahead=ahead)

    def expire(self, what: str) -> None:
        """Expire all access tokens ("tokens"), signed URLs ("urls") or nextTokens ("page_tokens")."""
        self._world.expire(what)


@pytest.fixture(scope="session")
def amazon_settings() -> dict[str, Any]:
    """Return the arguments of the sandbox: those of `Sandbox`, e.g. SKUs per marketplace, seconds until a report is done."""
    return {"listings": 200, "processing_seconds": 0.5, "lenient": True}


@pytest.fixture(scope="session")
def _running_amazon(amazon_settings: dict[str, Any]) -> Iterator[Sandbox]:
    from sandbox.server.server import Sandbox  # noqa: PLC0415 - pytest loads this file in every project

    with Sandbox(**amazon_settings) as server:
        yield server


@pytest.fixture
def amazon_server(_running_amazon: Sandbox) -> Sandbox:
    """Return a sandbox in its first state: `url`, `token_url`, `credentials`, `airflow_connection()`, and its `world`."""
    _running_amazon.settle()
    _running_amazon.world.reset()
    return _running_amazon


@pytest.fixture
def amazon_faults(amazon_server: Sandbox) -> Callable[..., None]:
    """Return what scripts a fault, e.g. `amazon_faults("createReport", "429", times=2)`; see `World.add_fault`."""
    return amazon_server.world.add_fault


@pytest.fixture
def amazon_truth(amazon_server: Sandbox) -> Callable[..., dict[str, dict[str, Any]]]:
    """Return what tells the true stock, `{sku: {fba, fbm, quantity, source}}`, of a marketplace of the default merchant."""

    def truth(marketplace_id: str = "ATVPDKIKX0DER", **rules: bool) -> dict[str, dict[str, Any]]:
        return amazon_server.world.truth(amazon_server.credentials["seller_id"], marketplace_id, **rules)

    return truth


@pytest.fixture
def amazon_clock(amazon_server: Sandbox) -> AmazonClock:
    """Return the sandbox's clock."""
    return AmazonClock(amazon_server)


@pytest.fixture
def amazon_redirect(amazon_server: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Send to the sandbox what the tested program sends to Amazon with `requests` or `httpx`; nothing in it is changed."""
    from sandbox.redirect import redirect  # noqa: PLC0415

    redirect(amazon_server.url, monkeypatch)
    return amazon_server
