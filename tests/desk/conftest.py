"""The desk as the API server runs it: Airflow's whole web app, its simple auth manager, and a browser's cookie."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient


@pytest.fixture
def browse(api, warehouse_url):
    """A browser in which this user is logged in: ``browse("viewer").get("/fba/")``; with None nobody is."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    def browser(role: str | None) -> TestClient:
        client = TestClient(api, base_url="http://testserver", follow_redirects=False)
        if role:
            user = SimpleAuthManagerUser(username=role, role=None if role == "nobody" else role)
            client.cookies.set("_token", get_auth_manager().generate_jwt(user))
        return client

    return browser
