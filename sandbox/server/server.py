"""Runs the sandbox on a local port, in a background thread."""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from types import TracebackType
from typing import Any

import uvicorn
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from sandbox.connection import store_connection
from sandbox.server.app import create_app
from sandbox.world.world import DEFAULT_MERCHANT, World

START_SECONDS = 20.0


class Connections:
    """The open TCP connections by client address, so that a scripted fault can reset the one of a request."""

    def __init__(self) -> None:
        self._transports: dict[tuple[str, int], asyncio.Transport] = {}

    def protocol(self) -> type[H11Protocol]:
        """Return a subclass of uvicorn's HTTP protocol that registers each connection while it is open."""
        transports = self._transports

        class TrackingProtocol(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                if self.client is not None:
                    transports[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                if self.client is not None:
                    transports.pop(self.client, None)
                super().connection_lost(exc)

        return TrackingProtocol

    def reset(self, scope: Scope) -> None:
        """Reset the TCP connection of an ASGI scope (RST, not FIN), so that the client gets a connection error."""
        transport = self._transports[tuple(scope["client"])]
        connection: Any = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


class _Server(uvicorn.Server):
    """Uvicorn that stops when it is told to; its own looks for that ten times a second, and then pauses once or twice."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = threading.Event()
        self._wake: Callable[[], object] = self._told.set

    def stop(self) -> None:
        """Stop, from any thread."""
        self.should_exit = True
        self._told.set()
        with suppress(RuntimeError):  # it has stopped already
            self._wake()

    async def main_loop(self) -> None:
        """Wait for :meth:`stop`."""
        await self.on_tick(0)
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(stopped.set)
        if not self._told.is_set():
            await stopped.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is under way, for a second at most, and close all connections."""
        for server in self.servers:
            server.close()
        for each in sockets or []:
            each.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if tasks := set(self.server_state.tasks):
            _, late = await asyncio.wait(tasks, timeout=self.config.timeout_graceful_shutdown)
            for task in late:
                task.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)


def _lacks_its_body(connection: Any) -> bool:
    """Whether the request that a connection carries has begun, and has not come to its end."""
    request = connection.cycle
    return request is not None and request.more_body and not request.response_complete


class Sandbox:
    """A sandbox that listens while the `with` block runs.

    `url` is its base address, `token_url` its token endpoint, `world` its state. `host` is the IPv4 address to listen
    on; with 0.0.0.0, `url` has 127.0.0.1. `port` 0 means any free port; OSError if the port is in use. For the other
    arguments see `World`.
    """

    def __init__(
        self,
        listings: int = 200,
        seed: int = 1,
        speed: float = 1.0,
        processing_seconds: float = 0.5,
        port: int = 0,
        host: str = "127.0.0.1",
        *,
        lenient: bool = False,
    ) -> None:
        self.world = World(listings, seed, speed, processing_seconds, lenient=lenient)
        connections = Connections()
        # asyncio sets TCP_NODELAY only if the protocol is IPPROTO_TCP; without it, each answer takes 40 ms more.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            self.world.close()
            raise
        address, bound_port = self._socket.getsockname()
        self.url = f"http://{'127.0.0.1' if ip_address(address).is_unspecified else address}:{bound_port}"
        self.token_url = f"{self.url}/auth/o2/token"
        config = uvicorn.Config(
            create_app(self.world, connections.reset),
            http=connections.protocol(),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            date_header=False,  # Amazon's clock may be another than this machine's
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="sandbox-amazon", daemon=True
        )

    def __enter__(self) -> "Sandbox":
        self._thread.start()
        started = threading.Event()
        waited = 0.0
        while not self._server.started:
            if waited >= START_SECONDS or not self._thread.is_alive():
                self.close()
                raise RuntimeError(f"the sandbox did not start to listen on {self.url}")
            started.wait(0.01)
            waited += 0.01
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def credentials(self) -> dict[str, Any]:
        """Client id, client secret, refresh token, seller id, marketplace ids and region of the default merchant."""
        return self.world.credentials(DEFAULT_MERCHANT.seller_id)

    def airflow_connection(self, **extra: str) -> str:
        """Return a merchant as the value of a variable AIRFLOW_CONN_{ID}; see `store_connection`."""
        return store_connection(self.url, **extra)

    def settle(self) -> None:
        """Wait until every request received so far is processed, even if its client has disconnected.

        A request whose body is still to come is not received: its client may be stopped.
        """
        while len(self._server.server_state.tasks) > sum(
            map(_lacks_its_body, list(self._server.server_state.connections))
        ):
            time.sleep(0.01)

    def close(self) -> None:
        """Stop the server and its thread and free the port."""
        self._server.stop()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._socket.close()
        self.world.close()
