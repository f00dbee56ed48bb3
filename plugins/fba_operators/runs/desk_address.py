"""Where a page of the FBA desk is, for tasks and messages, which are not on the desk themselves."""

from __future__ import annotations

from urllib.parse import urlencode

from airflow.sdk.configuration import conf


def desk_address(page: str = "", **query: str) -> str:
    """Return the address of a page, below the ``base_url`` of Airflow's section ``[api]``, a path in it included.

    :param page: its name; empty: the overview
    :param query: what it is to show; what is empty is left out
    """
    base = str(conf.get("api", "base_url", fallback="http://localhost:8080/")).rstrip("/")
    given = urlencode({name: value for name, value in query.items() if value})
    return f"{base}/fba/{page}{'?' if given else ''}{given}"
