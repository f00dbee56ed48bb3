"""Who may read and who may act: Airflow's own permissions on the DAGs' runs, asked of its auth manager."""

from __future__ import annotations

from urllib.parse import urlsplit

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.configuration import conf
from fastapi import Depends, HTTPException, Request, status

DAGS = (
    "fba_get_inventory",
    "fba_send_fulfillment_requests",
    "fba_track_orders",
    "fba_get_shipments",
    "fba_publish_stock",
)
_ACTS_ON = "fba_send_fulfillment_requests"

# The desk shows what all of these DAGs brought, so who reads it must be allowed to read the runs of each.
MAY_READ = [Depends(requires_access_dag("GET", DagAccessEntity.RUN, param_dag_id=dag)) for dag in DAGS]
_trigger = requires_access_dag("POST", DagAccessEntity.RUN, param_dag_id=_ACTS_ON)


def may_act(request: Request, user: GetUserDep) -> bool:
    """Whether the user may trigger the DAG that sends requests, and so act in the desk; for pages that offer forms."""
    try:
        _trigger(request, user)
    except HTTPException:
        return False
    return True


def same_origin(request: Request) -> None:
    """Refuse a form that another site made the browser send: Airflow's cookie goes with it.

    :raises HTTPException: 403, when the browser does not say that the form came from this Airflow
    """
    if request.headers.get("authorization", "").lower().startswith("bearer "):
        return  # no browser adds that by itself, and it wins over the cookie
    site = request.headers.get("sec-fetch-site")
    if site == "same-origin":
        return
    ours = {request.headers.get("host"), urlsplit(conf.get("api", "base_url", fallback="")).netloc} - {"", None}
    if site is None and urlsplit(request.headers.get("origin", "")).netloc in ours:
        return  # an older browser, or one that reaches Airflow without https
    raise HTTPException(
        status.HTTP_403_FORBIDDEN, "This form was not sent from a page of this Airflow; nothing was done."
    )


# For every page that offers a form, and for every route that writes: `@router.post("/approve", dependencies=MAY_ACT)`.
MAY_TRIGGER = [Depends(_trigger)]
MAY_ACT = [Depends(same_origin), *MAY_TRIGGER]
