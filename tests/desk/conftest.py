"""The desk as the API server runs it: Airflow's whole web app, its simple auth manager, and a browser's cookie."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient


@pytest.fixture(scope="session")
def api(airflow_database):
    """Airflow's own app, with every plugin that it finds."""
    import json
    import os
    from pathlib import Path

    with pytest.MonkeyPatch.context() as patch:
        passwords = Path(os.environ["AIRFLOW_HOME"]) / "passwords.json"
        roles = {"viewer": "viewer", "user": "user", "op": "op", "admin": "admin", "nobody": None}
        passwords.write_text(json.dumps(dict.fromkeys(roles, "secret")))
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", ",".join(f"{n}:{r}" for n, r in roles.items() if r))
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
        patch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
        from airflow.api_fastapi.app import create_app, purge_cached_app

        purge_cached_app()
        yield create_app()
        purge_cached_app()


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
