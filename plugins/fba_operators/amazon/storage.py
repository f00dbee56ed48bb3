"""Where documents may be fetched from and put: Amazon's storage, or the host that the connection names."""

from __future__ import annotations

import re

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from fba_operators.amazon.credentials import Credentials
from fba_operators.errors import CredentialsError

# Documents lie in Amazon S3. Amazon documents pre-signed S3 URLs and no host names (developer-docs.amazon.com/sp-api/docs);
# seen is tortuga-prod-na.s3-external-1.amazonaws.com (github.com/amzn/selling-partner-api-models/issues/1593). The forms of
# S3's own names: docs.aws.amazon.com/general/latest/gr/s3.html. In one account's network other names under amazonaws.com
# lead to internal hosts.
_STORAGE = re.compile(
    r"(?:[a-z0-9._-]+\.)?s3(?:-[a-z0-9-]+)?(?:\.dualstack)?(?:\.[a-z]{2,4}(?:-[a-z]+)+-[0-9]+)?\.amazonaws\.com(?:\.cn)?"
)


def check_storage(url: str, credentials: Credentials) -> None:
    """Refuse a document's URL that leads elsewhere than to Amazon's storage by https, or to the connection's own host.

    The own host counts only where the connection names one, as for a sandbox or a proxy; by http only if the connection
    says so.

    :raises CredentialsError: it leads elsewhere; nothing was sent there
    """
    try:
        place = parse_url(url)  # as requests reads it
    except LocationParseError:
        place = Url()
    if place.auth is None and "\\" not in url and (_is_amazons(place) or _is_own(place, credentials)):
        return
    where = re.sub(r"[^\w.:-]", "?", f"{place.scheme}:{place.host}")[:100]
    raise CredentialsError(
        f"Connection {credentials.conn_id}: the answer names a document that is neither in Amazon's storage nor, where the "
        "connection names an endpoint (host), there; it was not fetched, and nothing was sent. Check host, and what "
        "stands between here and Amazon. The document would be at",
        detail=where,
    )


def _is_amazons(place: Url) -> bool:
    return place.scheme == "https" and place.port in (None, 443) and bool(_STORAGE.fullmatch(place.host or ""))


def _is_own(place: Url, credentials: Credentials) -> bool:
    own = parse_url(credentials.endpoint)
    return credentials.names_endpoint and place.host == own.host and place.scheme in ("https", own.scheme)
