"""Amazon's quotas: a call of a slow operation is taken from a bucket that all tasks share."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import requests

from fba_operators.amazon import transport
from fba_operators.amazon.credentials import Credentials
from fba_operators.amazon.deadline import seconds_left
from fba_operators.amazon.operations import Operation
from fba_operators.errors import ThrottledError
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.tokens_and_rates import correct_bucket, take_call


class Quota:
    """The rates of one seller and application.

    :param warehouse: where the buckets are shared; None counts on Amazon's 429 alone
    :ivar throttled_seconds: how long calls had to wait
    """

    def __init__(self, credentials: Credentials, warehouse: Warehouse | None) -> None:
        self._credentials = credentials
        self._warehouse = warehouse
        self.throttled_seconds = 0.0

    def take(self, operation: Operation[Any]) -> None:
        """Take a call, sleeping briefly where that is enough.

        :raises ThrottledError: the wait is longer than a worker may sleep
        """
        if not (operation.shared_bucket and self._warehouse):
            return
        bucket = self._credentials.bucket(operation.name)
        while (wait := take_call(self._warehouse, bucket, rate=operation.rate, burst=operation.burst)) > 0:
            if wait > transport.MAX_INLINE_SLEEP or wait >= seconds_left():
                self._refuse(operation, wait, f"{self._credentials.conn_id}: the quota of {operation.name} is used up")
            self.throttled_seconds += wait
            time.sleep(wait)

    def learn(self, operation: Operation[Any], response: requests.Response) -> None:
        """Adopt the rate that Amazon reports with an answer."""
        rate = _rate_of(response, operation)
        if operation.shared_bucket and self._warehouse and rate:
            correct_bucket(self._warehouse, self._credentials.bucket(operation.name), rate=rate)

    def refused(self, operation: Operation[Any], **facts: Any) -> NoReturn:
        """Take note that Amazon answered 429.

        :param facts: status, code and request_id, for the error
        :raises ThrottledError: always
        """
        wait = 1 / operation.rate
        if operation.shared_bucket and self._warehouse:
            told = correct_bucket(self._warehouse, self._credentials.bucket(operation.name), empty=True)
            wait = min(told or wait, operation.burst / operation.rate)
        self._refuse(operation, wait, f"{self._credentials.conn_id}: Amazon throttles {operation.name}", **facts)

    def _refuse(self, operation: Operation[Any], seconds: float, message: str, **facts: Any) -> NoReturn:
        self.throttled_seconds += seconds
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        raise ThrottledError(
            f"{message}; the next call may be made in {seconds:.0f} s", until=until, operation=operation.name, **facts
        )


def _rate_of(response: requests.Response, operation: Operation[Any]) -> float | None:
    """Calls per second that Amazon grants, not further from the documented rate than a hundred times; None if it says none.

    0 or next to nothing would stop every later call.
    """
    text = response.headers.get("x-amzn-RateLimit-Limit", "")
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or float(text) == 0:
        return None
    return min(max(float(text), operation.rate / 100), operation.rate * 100)
