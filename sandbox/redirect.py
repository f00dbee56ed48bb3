"""Requests to Amazon's addresses go to the sandbox, in a process whose program has those addresses built in."""

from importlib.util import find_spec
from typing import Any, Protocol
from urllib.parse import urlsplit


class Patch(Protocol):
    """What changes an attribute for a while, such as pytest's monkeypatch."""

    def setattr(self, target: Any, name: str, value: Any) -> None:
        """Change it."""


def redirected(url: str, sandbox_url: str) -> str:
    """Return the sandbox's address for one of Amazon's, any other as it is."""
    parts, there = urlsplit(url), urlsplit(sandbox_url)
    host = parts.hostname or ""
    if host == "api.amazon.com" or (host.startswith("sellingpartnerapi") and host.endswith(".amazon.com")):
        return parts._replace(scheme=there.scheme, netloc=there.netloc).geturl()
    return url


def redirect(sandbox_url: str, patch: Patch) -> None:
    """Redirect the libraries `requests` and `httpx`, as far as they are installed."""
    if find_spec("requests"):
        _redirect_requests(sandbox_url, patch)
    if find_spec("httpx"):
        _redirect_httpx(sandbox_url, patch)


def _redirect_requests(sandbox_url: str, patch: Patch) -> None:
    from requests.adapters import HTTPAdapter  # noqa: PLC0415 - may be missing

    original: Any = HTTPAdapter.send

    def send(adapter: Any, request: Any, *arguments: Any, **options: Any) -> Any:
        request.url = redirected(request.url, sandbox_url)
        return original(adapter, request, *arguments, **options)

    patch.setattr(HTTPAdapter, "send", send)


def _redirect_httpx(sandbox_url: str, patch: Patch) -> None:
    import httpx  # noqa: PLC0415 - may be missing

    synchronous: Any = httpx.HTTPTransport.handle_request
    asynchronous: Any = httpx.AsyncHTTPTransport.handle_async_request

    def handle(transport: Any, request: Any) -> Any:
        request.url = httpx.URL(redirected(str(request.url), sandbox_url))
        return synchronous(transport, request)

    async def handle_async(transport: Any, request: Any) -> Any:
        request.url = httpx.URL(redirected(str(request.url), sandbox_url))
        return await asynchronous(transport, request)

    patch.setattr(httpx.HTTPTransport, "handle_request", handle)
    patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async)
