"""Fixtures: a sandbox that is reset for each test, and clients for it."""

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.server.server import Sandbox
from sandbox.world.world import DEFAULT_MERCHANT
from tests.sandbox.client import US, Client


@pytest.fixture(scope="session")
def running() -> Iterator[Sandbox]:
    with Sandbox(listings=200, seed=1, processing_seconds=60) as sandbox:
        yield sandbox


@pytest.fixture
def amazon(running: Sandbox) -> Sandbox:
    running.world.reset()
    return running


@pytest.fixture
def client(amazon: Sandbox) -> Iterator[Client]:
    logged_in = Client(amazon).login()
    yield logged_in
    logged_in.session.close()


@pytest.fixture
def seller(amazon: Sandbox) -> Iterator[Any]:
    """A function that adds a seller and returns its client, with an access token."""
    clients: list[Client] = []

    def make(seller_id: str = "A2OTHERSELLER", marketplaces: tuple[str, ...] = (US,), **more: Any) -> Client:
        clients.append(Client(amazon, amazon.world.add_merchant(seller_id, marketplaces, **more)).login())
        return clients[-1]

    yield make
    for one in clients:
        one.session.close()


@pytest.fixture
def api_client(amazon: Sandbox) -> Any:
    """Amazon's official client, for the default seller."""
    from spapi import SPAPIClient, SPAPIConfig

    config = SPAPIConfig(
        client_id=DEFAULT_MERCHANT.client_id,
        client_secret=DEFAULT_MERCHANT.client_secret,
        refresh_token=DEFAULT_MERCHANT.refresh_token,
        region="NA",
    )
    return SPAPIClient(config, oauth_endpoint=amazon.token_url, endpoint=amazon.url).api_client
