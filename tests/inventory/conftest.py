"""A merchant of a test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.inventory.shop import Shop


@pytest.fixture
def shop(amazon, warehouse_url, tmp_path, monkeypatch) -> Iterator[Shop]:
    made = Shop(amazon, warehouse_url, tmp_path, monkeypatch)
    yield made
    made.db.close()
