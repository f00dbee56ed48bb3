"""What became of a click, carried to the next page in its address: signed, so that a link of somebody else's says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from airflow.api_fastapi.auth.tokens import get_signing_key
from itsdangerous import BadSignature, URLSafeSerializer


class Notice(NamedTuple):
    """A sentence above a page.

    :param good: whether something was done
    """

    sentence: str
    good: bool


def carried(notice: Notice) -> str:
    """The value of the query's ``said``."""
    return str(_serializer().dumps(list(notice)))


def said(query: Mapping[str, str]) -> Notice | None:
    """The notice that the query carries; None, where there is none or it is not ours."""
    try:
        sentence, good = _serializer().loads(query.get("said", ""))
    except BadSignature:
        return None
    return Notice(sentence, good)


def _serializer() -> URLSafeSerializer:
    return URLSafeSerializer(get_signing_key("api", "secret_key"), salt="fba_desk.notice")
