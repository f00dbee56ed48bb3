"""A sandbox as good as new for each test, and clients for it."""

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.server.server import Sandbox
from tests.sandbox.sandbox_client import US, Client


@pytest.fixture(scope="session")
def running() -> Iterator[Sandbox]:
    with Sandbox(listings=200, seed=1, processing_seconds=60) as one:
        yield one


@pytest.fixture
def amazon(running: Sandbox) -> Sandbox:
    running.world.reset()
    return running


@pytest.fixture
def client(amazon: Sandbox) -> Iterator[Client]:
    one = Client(amazon).login()
    yield one
    one.session.close()


@pytest.fixture
def seller(amazon: Sandbox) -> Iterator[Any]:
    """Make a further seller; returns his logged-in client."""
    made: list[Client] = []

    def make(seller_id: str = "A2OTHERSELLER", marketplaces: tuple[str, ...] = (US,), **more: Any) -> Client:
        made.append(Client(amazon, amazon.world.add_merchant(seller_id, marketplaces, **more)).login())
        return made[-1]

    yield make
    for one in made:
        one.session.close()
