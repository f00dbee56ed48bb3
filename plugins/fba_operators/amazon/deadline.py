"""Time limits of calls: nothing is waited for beyond them, however few bytes come or go at a time.

The time limits of a socket begin anew with each byte. So a server that sends one byte a minute could hold a call for ever.
"""

from __future__ import annotations

import io
import math
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

CALL_SECONDS = 300.0  # a call with its token, its waits for the quota and its brief retries
DOWNLOAD_SECONDS = 1800.0
PIECE = 64 * 1024  # bytes of a request that are sent under one time limit

_end: ContextVar[float] = ContextVar("end", default=math.inf)  # on the monotonic clock


@contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    """Let the calls made in this block end after so many seconds, or with the block around it."""
    token = _end.set(min(time.monotonic() + seconds, _end.get()))
    try:
        yield
    finally:
        _end.reset(token)


def end() -> float:
    """When the present block ends, on the monotonic clock; infinite outside of one."""
    return _end.get()


def seconds_left() -> float:
    """How long the present block may still take; 0 when it should have ended, infinite outside of one."""
    return max(_end.get() - time.monotonic(), 0.0)


class _Received(io.RawIOBase):
    """What a socket receives until a moment."""

    def __init__(self, raw: socket.SocketIO, sock: socket.socket) -> None:
        super().__init__()
        self._raw = raw
        self._socket = sock
        self._pause = sock.gettimeout() or math.inf
        self._end = end()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = min(self._end - time.monotonic(), self._pause)
        if left <= 0:
            raise TimeoutError("time is up")
        self._socket.settimeout(left if left < math.inf else None)
        return self._raw.readinto(buffer)

    def fileno(self) -> int:
        return self._raw.fileno()

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Received(self.fp.detach(), sock))  # type: ignore[arg-type]


class _InPieces:
    """Sends a request in pieces, each within what is left of the time."""

    sock: Any

    def send(self, data: Any) -> None:
        pieces = [data]
        if isinstance(data, (bytes, bytearray)):
            pieces = [data[start : start + PIECE] for start in range(0, len(data), PIECE)]
        for piece in pieces:
            if seconds_left() == 0:
                raise TimeoutError("time is up")
            if self.sock is not None and (limit := self.sock.gettimeout()):
                self.sock.settimeout(min(limit, seconds_left()))
            super().send(piece)  # type: ignore[misc]


class _HTTPConnection(_InPieces, HTTPConnection):
    response_class = _Response


class _HTTPSConnection(_InPieces, HTTPSConnection):
    response_class = _Response


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class BoundedAdapter(HTTPAdapter):
    """Connects, sends and receives within :func:`ends_within`, through a proxy too."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Return the pools of connections through a proxy."""
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
        return manager
