"""The trigger: waits for a report or a feed without occupying a worker."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from functools import cache, partial
from typing import Any

import psycopg
from airflow.sdk import BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent
from anyio import CapacityLimiter, move_on_after, to_thread

from fba_operators.amazon.deadline import ends_within
from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.operations import Feed, Report
from fba_operators.amazon.processing_status import UNFINISHED
from fba_operators.errors import SellingPartnerError, ThrottledError, UnavailableError

MIN_POLL_INTERVAL, MAX_POLL_INTERVAL = 2.0, 30.0  # seconds
THREADS = 32  # polls under way at once in a triggerer: 2,000 reports, each polled about every half minute
THREADS_OF_STORE = 4  # of those; Amazon's own limit is two polls a second, and one store may hang
POLL_SECONDS = 60.0
MARGIN = 15.0  # seconds


@cache
def _limiter() -> CapacityLimiter:
    # Of our own: anyio's and asyncio's default pools are shared with the triggers of others.
    return CapacityLimiter(THREADS)


@cache
def _limiter_of(store: str) -> CapacityLimiter:
    return CapacityLimiter(THREADS_OF_STORE)


class ProcessingTrigger(BaseTrigger):
    """Fires when Amazon has finished a report or a feed, whatever the result; both pass through the same states.

    The event carries Amazon's answer (``state``), or None when polling failed for good or took too long: the task
    then polls once more itself and meets the error with its type, which an exception here would lose.

    :param conn_id: the store
    :param warehouse_conn_id: Postgres connection where the access token is shared
    :param kind: ``report`` or ``feed``
    :param amazon_id: Amazon's id of it
    :param patience: seconds until the trigger gives up
    :param since: when the wait began, in seconds since the epoch; kept when another triggerer takes over
    """

    def __init__(
        self,
        *,
        conn_id: str,
        warehouse_conn_id: str,
        kind: str,
        amazon_id: str,
        patience: float,
        since: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.warehouse_conn_id = warehouse_conn_id
        if kind not in ("report", "feed"):
            raise ValueError(f"kind must be report or feed, not {kind!r}")
        self.kind = kind
        self.amazon_id = amazon_id
        self.patience = patience
        # Wall clock, not monotonic: the wait may go on in another process.
        self.since = since or time.time()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments, all JSON."""
        return (
            f"{ProcessingTrigger.__module__}.{ProcessingTrigger.__name__}",
            {
                "conn_id": self.conn_id,
                "warehouse_conn_id": self.warehouse_conn_id,
                "kind": self.kind,
                "amazon_id": self.amazon_id,
                "patience": self.patience,
                "since": self.since,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll soon, then less and less often: quick reports are seen quickly, slow ones cost few calls.

        The first interval has jitter, so that reports that were asked for together, or that a triggerer takes over
        together, are not polled in the same second ever after.
        """
        connections = {name: await BaseHook.aget_connection(name) for name in (self.conn_id, self.warehouse_conn_id)}
        hook = SellingPartnerHook(self.conn_id, self.warehouse_conn_id, connections=connections)
        poll: Callable[[str], Report | Feed] = hook.get_report if self.kind == "report" else hook.get_feed
        state, share = None, random.random()
        while (waited := time.time() - self.since) < self.patience:
            await asyncio.sleep(share * min(max(waited / 4, MIN_POLL_INTERVAL), MAX_POLL_INTERVAL))
            share = 1.0
            try:
                answer = await self._in_thread(partial(poll, self.amazon_id), self.patience - waited)
                if answer is None:
                    continue
            except ThrottledError as error:
                self.log.warning("%s. Polling of %s %s goes on.", error, self.kind, self.amazon_id)
                continue
            except (UnavailableError, psycopg.OperationalError):  # the warehouse may be restarting
                continue
            except SellingPartnerError:
                break
            state = answer.model_dump(mode="json", by_alias=True)
            if answer.processing_status not in UNFINISHED:  # an undocumented status is the task's to report
                break
            state = None
        calls, throttled_seconds = hook.take_statistics()
        payload = {"id": self.amazon_id, "state": state, "calls": calls, "throttled_seconds": throttled_seconds}
        yield TriggerEvent(payload)  # type: ignore[no-untyped-call]

    async def _in_thread(self, poll: Callable[[], Report | Feed], patience: float) -> Report | Feed | None:
        """Poll in a thread: a store whose calls or whose login hang keeps few of them, and none for long.

        :return: None when the poll's turn did not come in time
        """

        def within_a_minute() -> Report | Feed:
            with ends_within(POLL_SECONDS):
                return poll()

        with move_on_after(patience):
            async with _limiter_of(self.conn_id), _limiter():
                with move_on_after(POLL_SECONDS + MARGIN):  # calls end by themselves, the warehouse may not
                    return await to_thread.run_sync(within_a_minute, limiter=CapacityLimiter(1), abandon_on_cancel=True)
        return None
