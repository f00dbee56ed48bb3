"""The FastAPI application: routes for Amazon's operations and the control API, and 403 for every other path."""

import json
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from sandbox.api import (
    feeds,
    inventory,
    lwa,
    outbound,
    outbound_2026,
    outbound_preview,
    reports,
    sellers,
    storage,
    tracking,
)
from sandbox.api.answers import ConnectionDroppedError
from sandbox.api.calls import IncomingRequest, Operation
from sandbox.server import control, gate
from sandbox.world.world import World

OPERATIONS = (
    *lwa.OPERATIONS,
    *reports.OPERATIONS,
    *feeds.OPERATIONS,
    *storage.OPERATIONS,
    *inventory.OPERATIONS,
    *sellers.OPERATIONS,
    *outbound.OPERATIONS,
    *outbound_preview.OPERATIONS,
    *tracking.OPERATIONS,
    *outbound_2026.OPERATIONS,
)
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
Endpoint = Callable[[Request], Awaitable[Response]]


class DroppedConnection(Response):
    """Sends no answer: resets the TCP connection with `drop(scope)`, then waits until it is closed."""

    def __init__(self, drop: Callable[[Scope], None]) -> None:
        super().__init__()
        self._drop = drop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reset the connection of the request."""
        self._drop(scope)
        while (await receive())["type"] != "http.disconnect":
            pass


def _endpoint(world: World, operation: Operation, drop: Callable[[Scope], None]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        incoming = IncomingRequest(
            path=request.url.path,
            path_params=dict(request.path_params),
            query=request.scope["query_string"].decode("latin-1"),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.body(),
            base_url=str(request.base_url).rstrip("/"),
        )
        try:
            answer = await run_in_threadpool(gate.serve, world, operation, incoming)
        except ConnectionDroppedError:
            return DroppedConnection(drop)
        date = formatdate(world.clock.wall(), usegmt=True)
        return Response(answer.body, status_code=answer.status, headers={**answer.headers, "Date": date})

    return endpoint


def _control_endpoint(action: control.Action) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            body = await request.body()
            arguments: Any = json.loads(body) if body else dict(request.query_params)
            if not isinstance(arguments, dict):
                raise ValueError("the body must be a JSON object")
            result = await run_in_threadpool(control.call_action, action, arguments)
        except (ValueError, TypeError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse(result if result is not None else {"done": True})

    return endpoint


def _truth_endpoint(world: World) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            flags = {name: control.parse_boolean(value) for name, value in request.query_params.items()}
            truth = await run_in_threadpool(control.call_action, world.truth, {**request.path_params, **flags})
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse(truth)

    return endpoint


def create_app(world: World, drop: Callable[[Scope], None]) -> FastAPI:
    """Build the application that serves `world`; `drop` resets the TCP connection of an ASGI scope."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    def route(path: str, endpoint: Endpoint, methods: list[str]) -> None:
        app.add_api_route(path, endpoint, methods=methods, response_model=None)

    for operation in OPERATIONS:
        route(operation.path, _endpoint(world, operation, drop), [operation.method])
    for (method, path), action in control.actions(world).items():
        route(path, _control_endpoint(action), [method])
    route("/control/truth/{seller_id}/{marketplace_id}", _truth_endpoint(world), ["GET"])
    route("/control", _control_endpoint(lambda: control.describe(world)), ["GET"])
    route(gate.UNKNOWN.path, _endpoint(world, gate.UNKNOWN, drop), METHODS)
    return app
