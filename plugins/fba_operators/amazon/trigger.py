"""Waiting for Amazon without holding a worker."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from typing import Any

import psycopg
from airflow.sdk import BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import SellingPartnerError, ThrottledError, UnavailableError

SOONEST, LATEST = 2.0, 30.0  # seconds between two questions
THREADS = 32  # questions under way at once in a triggerer: 2,000 reports, each asked about every half minute, of a slow Amazon
UNFINISHED = ("IN_QUEUE", "IN_PROGRESS")
FINISHED = ("DONE", "CANCELLED", "FATAL")


@cache
def _threads() -> ThreadPoolExecutor:
    # asyncio's own executor has a few threads more than there are cores, and other people's triggers use it too.
    return ThreadPoolExecutor(THREADS, thread_name_prefix="ask-amazon")


class ProcessingTrigger(BaseTrigger):
    """Fires when Amazon has finished a report or a feed, in whatever way; both pass through the same states.

    The event carries what Amazon said (``state``), or None when asking failed for good or took too long: the task
    then asks itself and meets the error with its type, which an exception here would lose.

    :param conn_id: the store
    :param warehouse_conn_id: Postgres connection where the access token is shared
    :param kind: ``report`` or ``feed``
    :param amazon_id: Amazon's id of it
    :param patience: seconds until it is given up
    :param since: when the waiting began, in seconds since the epoch; kept when a triggerer takes over from another
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
        # Wall clock, not monotonic: the waiting may go on in another process.
        self.since = since or time.time()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments, all JSON."""
        return (
            "fba_operators.amazon.trigger.ProcessingTrigger",
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
        """Ask soon, then less and less often: quick reports are seen quickly, slow ones cost few calls.

        The first pause is cut at random, so that reports that were asked for together, or that a triggerer takes over
        together, are not asked about in the same second ever after.
        """
        connections = {name: await BaseHook.aget_connection(name) for name in (self.conn_id, self.warehouse_conn_id)}
        hook = SellingPartnerHook(self.conn_id, self.warehouse_conn_id, connections=connections)
        ask = hook.get_report if self.kind == "report" else hook.get_feed
        loop = asyncio.get_running_loop()
        state, share = None, random.random()
        while (waited := time.time() - self.since) < self.patience:
            await asyncio.sleep(share * min(max(waited / 4, SOONEST), LATEST))
            share = 1.0
            try:
                state = await loop.run_in_executor(_threads(), copy_context().run, ask, self.amazon_id)
            except (ThrottledError, UnavailableError, psycopg.OperationalError):  # the warehouse may be restarted
                continue
            except SellingPartnerError:
                break
            if state.get("processingStatus") not in UNFINISHED:
                break
            state = None
        yield TriggerEvent({"id": self.amazon_id, "state": state, "calls": dict(hook.calls)})  # type: ignore[no-untyped-call]
