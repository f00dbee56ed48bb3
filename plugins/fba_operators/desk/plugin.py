"""What Airflow learns about the desk when it loads plugins, which every process of Airflow does: so next to nothing is imported."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin

log = logging.getLogger(__name__)

CANNOT_START = (
    b"The FBA desk cannot start: its code does not fit this Airflow. The API server's log has the reason. "
    b"Airflow 3.3 or newer is needed."
)


class AppWhenAsked:
    """The desk's web app, imported with the first request: tasks and the scheduler load plugins too, and never need it."""

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer one request. Nothing is answered but a refusal where the app, and so its check of who asks, is missing."""
        try:
            from fba_operators.desk.app import app  # noqa: PLC0415
        except Exception:
            log.exception("The FBA desk cannot start")
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": CANNOT_START})
            return
        await app(scope, receive, send)


_APPS: list[Any] = [{"app": AppWhenAsked(), "url_prefix": "/fba", "name": "FBA desk"}]
_VIEWS: list[Any] = [
    {
        "name": "FBA",
        "href": "fba/",
        "url_route": "fba",
        "destination": "nav",
        "nav_top_level": True,
        "icon": "fba/static/icon.svg",
        "icon_dark_mode": "fba/static/icon_dark.svg",
    }
]


class FbaDesk(AirflowPlugin):
    """The page *FBA* in Airflow's navigation."""

    name = "fba_desk"
    fastapi_apps = _APPS
    external_views = _VIEWS
