"""From rows to a page: templates, and how numbers, times and texts are written in them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fba_operators.desk.notice import said
from fba_operators.desk.plot import bar
from fba_operators.desk.remedies import remedy
from fba_operators.fulfillment.request import NEEDS_APPROVAL

HERE = Path(__file__).parent
STATIC = {path.name: path.read_bytes() for path in sorted((HERE / "static").iterdir()) if path.is_file()}
_VERSION = sha256(b"".join(STATIC.values())).hexdigest()[:12]
UNKNOWN = Markup('<span class="unknown" title="unknown">–</span>')


def number(value: int | float | Decimal | None) -> str | Markup:
    """A number with its thousands apart; what is not known is a dash and never 0."""
    if value is None:
        return UNKNOWN
    return f"{value:,}".replace(",", "\u202f")


def text(value: Any) -> str | Markup:
    """A text of somebody else's: escaped, and its direction of writing does not reach its neighbours."""
    return UNKNOWN if value is None or value == "" else Markup("<bdi>{}</bdi>").format(str(value))


def when(value: datetime | None) -> str | Markup:
    """A time in UTC, to the minute."""
    if value is None:
        return UNKNOWN
    utc = value.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(utc.isoformat(timespec="seconds"), f"{utc:%Y-%m-%d %H:%M}")


def ago(value: datetime | None) -> str | Markup:
    """How long ago something was, or in how long it will be, in its largest unit."""
    if value is None:
        return UNKNOWN
    seconds = (datetime.now(UTC) - value).total_seconds()
    size = abs(seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if size >= length * 2 or (unit == "min" and size >= length):
            words = f"{size // length:.0f} {unit}"
            break
    else:
        words = "a moment"
    words = f"{words} ago" if seconds >= 0 else f"in {words}"
    utc = value.astimezone(UTC)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        utc.isoformat(timespec="seconds"), f"{utc:%Y-%m-%d %H:%M}", words
    )


def day(value: datetime | None) -> str | Markup:
    """The day of a time in UTC."""
    return UNKNOWN if value is None else f"{value.astimezone(UTC):%Y-%m-%d}"


def older(value: datetime | None, hours: float) -> bool:
    """Whether something is longer ago than so many hours; what never was is."""
    return value is None or (datetime.now(UTC) - value).total_seconds() > hours * 3600


def yes(value: bool | None) -> str | Markup:
    """Yes or no, or that it is not known."""
    return UNKNOWN if value is None else ("yes" if value else "no")


def link(page: str, **query: Any) -> str:
    """A link to a page of the desk, relative as all are; what is None or empty is left out."""
    given = {key: value for key, value in query.items() if value not in (None, "")}
    return f"{page}?{urlencode(given)}" if given else page


_templates = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined)
_templates.trim_blocks = _templates.lstrip_blocks = True
_templates.filters |= {
    "number": number,
    "text": text,
    "when": when,
    "ago": ago,
    "day": day,
    "yes": yes,
    "older": older,
    "remedy": remedy,
}
_templates.globals |= {"link": link, "version": _VERSION, "bar": bar, "NEEDS_APPROVAL": NEEDS_APPROVAL}


def page(request: Request, template: str, /, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Fill a template of the folder ``templates``.

    :param values: what the template shows
    """
    here = request.url.path.rsplit("/", 1)[-1]
    body = _templates.get_template(template).render(
        here=here, query=dict(request.query_params), notice=said(request.query_params), **values
    )
    return HTMLResponse(body, status_code=status)
