"""The desk's web app: what holds for every page, whichever it is.

Who asks is checked by the app itself, so a route that forgets to ask is closed. Files are a route too, because what is
mounted into an app is not checked by it.
"""

import logging

import psycopg
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from fba_operators.desk import actions, fulfillment, overview, runs, stock
from fba_operators.desk.access import MAY_READ
from fba_operators.desk.reading import Trouble, WarehouseMissingError, trouble_of
from fba_operators.desk.view import STATIC, page

log = logging.getLogger(__name__)

KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with less, a browser does not say where a form came from
    "Cache-Control": "no-store",
}
# No page of the API's own: they would be open to everybody.
app = FastAPI(dependencies=MAY_READ, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)


@app.middleware("http")
async def with_headers(request: Request, call_next):  # type: ignore[no-untyped-def]
    """Let nothing but the desk's own files run in its pages, and let nobody else show them."""
    answer = await call_next(request)
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer


@app.get("/static/{name}")
def static(name: str) -> Response:
    """A file of the folder ``static``."""
    if name not in STATIC:
        raise HTTPException(404, "There is no such file.")
    headers = {"Cache-Control": "private, max-age=604800"}  # pages name its version
    return Response(STATIC[name], media_type=KINDS[name.rsplit(".", 1)[-1]], headers=headers)


@app.exception_handler(AnyHTTPException)
async def refused(request: Request, error: AnyHTTPException) -> HTMLResponse:
    """A page instead of JSON; who is not logged in gets a link, and no word of what is here."""
    if error.status_code == 401:  # without the desk's files, which are closed as well
        return HTMLResponse(
            '<!doctype html><html lang="en"><title>FBA</title><p>You are not logged in. '
            '<a href="../auth/login">Log in to Airflow</a>, then open FBA again.</p></html>',
            status_code=401,
        )
    if error.status_code == 403:
        trouble = Trouble(
            "You may not see this." if error.detail == "Forbidden" else str(error.detail),
            "The desk is for who may read the runs of the FBA DAGs; acting is for who may trigger them. Ask Airflow's administrator.",
        )
        if error.detail == "Forbidden":
            return HTMLResponse(
                f'<!doctype html><html lang="en"><title>FBA</title><p>{trouble.what} {trouble.remedy}</p></html>',
                status_code=403,
            )
        return page(request, "trouble.html", status=403, trouble=trouble)
    return page(
        request,
        "trouble.html",
        status=error.status_code,
        trouble=Trouble(
            "There is nothing here." if error.detail == "Not Found" else str(error.detail), "Go back to the overview."
        ),
    )


@app.exception_handler(RequestValidationError)
async def not_understood(request: Request, error: RequestValidationError) -> HTMLResponse:
    """A link that was cut, or typed wrongly."""
    wrong = ", ".join(str(each["loc"][1]) for each in error.errors())
    return page(
        request,
        "trouble.html",
        status=422,
        trouble=Trouble(f"The address of this page is incomplete or wrong ({wrong}).", "Go back to the overview."),
    )


@app.exception_handler(WarehouseMissingError)
async def missing(request: Request, error: WarehouseMissingError) -> HTMLResponse:
    """The warehouse is not there."""
    return page(request, "trouble.html", status=503, trouble=error.trouble)


@app.exception_handler(psycopg.Error)
async def unreadable(request: Request, error: psycopg.Error) -> HTMLResponse:
    """The warehouse is there, but not as it should be. Its message may quote a row, so only its kind is logged."""
    log.warning(
        "The desk could not read the warehouse for %s: %s (%s)", request.url.path, type(error).__name__, error.sqlstate
    )
    return page(request, "trouble.html", status=503, trouble=trouble_of(error))


for room in (overview, stock, fulfillment, runs, actions):
    app.include_router(room.router)
