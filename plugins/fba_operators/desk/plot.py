"""Plots as SVG: a number over time. Nothing is drawn where nothing is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from markupsafe import Markup

WIDE, NARROW = 900, 400  # units of the drawing, about as many as it has pixels on the page
HEIGHT, LEFT, BOTTOM, TOP = 200, 62, 22, 8
_TICKS = 4


def top_of(most: float) -> int:
    """A round number that is not below the largest value, so that the axis has round labels."""
    if most <= 4 * _TICKS:  # whole units at each label
        return _TICKS * max(math.ceil(most / _TICKS), 1)
    size = 10.0 ** math.floor(math.log10(most))
    return next(int(size * step) for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if size * step >= most)


def plot(
    points: Sequence[tuple[datetime, int]], *, title: str, until: datetime | None = None, width: int = WIDE
) -> Markup:
    """Draw a quantity that stays as it is until it changes.

    :param points: time and value, oldest first
    :param title: what is drawn, for who cannot see it
    :param until: up to when the last value is known to hold
    :param width: ``WIDE`` or ``NARROW``
    """
    if not points:
        return Markup("")
    first, last = points[0][0], max(until or points[-1][0], points[-1][0])
    if last <= first:
        first = last - timedelta(hours=1)
    top = top_of(max(value for _, value in points))
    across, up = width - LEFT - 8, HEIGHT - TOP - BOTTOM

    def x(at: datetime) -> float:
        return LEFT + across * ((at - first) / (last - first))

    def y(value: float) -> float:
        return TOP + up * (1 - value / top)

    path = [f"M{x(points[0][0]):.1f} {y(points[0][1]):.1f}"]
    path += [f"H{x(at):.1f}V{y(value):.1f}" for at, value in points[1:]]
    line = "".join([*path, f"H{x(last):.1f}"])
    body = [
        Markup('<path class="area" d="{}V{:.1f}H{:.1f}Z"/>').format(line, y(0), x(points[0][0])),
        Markup('<path class="line" d="{}"/>').format(line),
    ]
    grid = []
    for tick in range(_TICKS + 1):
        level = top * tick / _TICKS
        label = f"{level:,.0f}".replace(",", "\u202f")
        grid.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/><text x="{}" y="{:.1f}" text-anchor="end">{}</text>'
            ).format(LEFT, width - 8, y(level), y(level), LEFT - 6, y(level) + 4, label)
        )
    span = last - first
    written = "%H:%M" if span < timedelta(days=2) else "%d %b"
    for part, anchor in ((0, "start"), (1 / 3, "middle"), (2 / 3, "middle"), (1, "end")):
        at = (first + span * part).astimezone(UTC)
        grid.append(
            Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
                x(at), HEIGHT - 5, anchor, at.strftime(written)
            )
        )
    return Markup('<svg class="plot" viewBox="0 0 {} {}" role="img"><title>{}</title>{}{}</svg>').format(
        width, HEIGHT, title, Markup("").join(grid), Markup("").join(body)
    )


def bar(part: float, whole: float) -> Markup:
    """A bar that is filled as far as a part is of a whole."""
    share = 0 if whole <= 0 else max(0.0, min(part / whole, 1.0))
    return Markup(
        '<span class="bar"><svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true"><rect width="{:.1f}" height="1"/></svg></span>'
    ).format(share * 100)
