"""How long the package polls, sleeps and waits, changed for tests: the only place that names those constants."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest

from fba_operators.amazon import client, login, quota, transport, trigger
from fba_operators.operators import feeds, reports, shipments
from fba_operators.reports import request_once


def poll_every(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let triggers begin with this poll interval."""
    patch.setattr(trigger, "MIN_POLL_INTERVAL", seconds)


def sleep_inline_at_most(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let a call of a task sleep no longer than this between its attempts; with 0 it retries at once."""
    patch.setattr(transport, "MAX_INLINE_SLEEP", seconds)


def http_timeout(patch: pytest.MonkeyPatch, connect: float, read: float) -> None:
    """Let HTTP calls end after so many seconds."""
    patch.setattr(transport, "TIMEOUT", (connect, read))


def replace_retry_sleep(patch: pytest.MonkeyPatch, sleep: Callable[[float], None]) -> None:
    """Call this instead of sleeping between the attempts of a call."""
    patch.setattr("tenacity.nap.time", SimpleNamespace(sleep=sleep))


def replace_quota_sleep(patch: pytest.MonkeyPatch, sleep: Callable[[float], None]) -> None:
    """Call this instead of sleeping until the quota allows a call."""
    patch.setattr(quota, "time", SimpleNamespace(sleep=sleep))


def report_timeout(patch: pytest.MonkeyPatch, timeout: timedelta) -> None:
    """Give up reports that are not finished after this time."""
    patch.setattr(reports, "REPORT_TIMEOUT", timeout)


def feed_timeout(patch: pytest.MonkeyPatch, timeout: timedelta) -> None:
    """Leave feeds that are not finished after this time to the next run."""
    patch.setattr(feeds, "FEED_TIMEOUT", timeout)


def cancelled_timeout(patch: pytest.MonkeyPatch, timeout: timedelta) -> None:
    """Give up shipment reports that Amazon cancels for longer than this."""
    patch.setattr(shipments, "CANCELLED_TIMEOUT", timeout)


def clock_skew(patch: pytest.MonkeyPatch, skew: timedelta) -> None:
    """Assume that Amazon's clock differs from ours by no more than this."""
    patch.setattr(request_once, "CLOCK_SKEW", skew)


def call_limit(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let a call, a login and a download take no longer than this, retries included."""
    patch.setattr(client, "CALL_SECONDS", seconds)
    patch.setattr(client, "DOWNLOAD_SECONDS", seconds)
    patch.setattr(transport, "CALL_SECONDS", seconds)
    patch.setattr(login, "LOGIN_SECONDS", seconds)
