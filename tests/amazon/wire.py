"""A server that answers byte for byte as a test says: redirects, cookies, wrong lengths, one byte at a time."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

Answer = Iterable["bytes | float"]
"""What is sent, and pauses in seconds; the connection is closed after it."""


@dataclass(frozen=True)
class Request:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """Everything in it."""
        return f"{self.path} {self.headers} {self.body!r}"


class Wire:
    """Listens while the ``with`` block runs.

    :ivar answers: (start of a path, what answers it); the first that fits
    :ivar requests: those that came
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answers: list[tuple[str, Callable[[Request], Answer]]] = []
        self.requests: list[Request] = []
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Wire:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        with suppress(OSError):
            socket.create_connection(self._socket.getsockname(), timeout=5).close()
        for thread in self._threads:
            thread.join(10)
        self._socket.close()

    def answer(self, start: str, with_: Callable[[Request], Answer]) -> None:
        """Answer what begins so, from now on, with this."""
        self.answers.insert(0, (start, with_))

    def of(self, start: str) -> list[Request]:
        """The requests whose path begins so."""
        return [each for each in self.requests if each.path.startswith(start)]

    def _run(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed.is_set():
            connection, _ = self._socket.accept()
            self._run(lambda connection=connection: self._serve(connection))

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.settimeout(10)
            secured = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            with secured, secured.makefile("rb") as file:
                request = _read(file)
                if request is None:
                    return
                self.requests.append(request)
                answer = next((with_ for start, with_ in self.answers if request.path.startswith(start)), None)
                for part in answer(request) if answer else [response(404)]:
                    if self._closed.is_set():
                        return
                    if isinstance(part, float):
                        time.sleep(part)
                    else:
                        secured.sendall(part)


def _read(file) -> Request | None:
    start = file.readline().decode()
    if not start:
        return None
    method, path, _ = start.split(" ", 2)
    headers = {}
    while line := file.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Request(method, path, headers, file.read(int(headers.get("content-length", 0))))


def response(status: int, body: bytes = b"", *, length: int | None = None, **headers: str) -> bytes:
    """A response; ``length`` is the one that it states, if not the true one."""
    stated = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {stated}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def dripping(data: bytes, pause: float = 0.02) -> Answer:
    """The same bytes one by one."""
    for each in data:
        yield bytes([each])
        yield pause
