"""Locks that outlive a transaction's work: one task at a time for a store's feeds, its pool, its follow-up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from fba_operators.errors import ThrottledError, UnavailableError
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.statements import execute

PATIENCE = timedelta(seconds=30)
BUSY = timedelta(minutes=1)  # until a lock is tried again that another task holds
MOST = timedelta(minutes=10)  # a task waits for it in all: it may be held by a session that somebody has left open


def take_lock(db: psycopg.Connection[Any], room: str, store: str, *, patience: timedelta = PATIENCE) -> None:
    """Take a lock until the caller's transaction ends.

    :param room: what is locked, e.g. ``fba.feed``
    :raises ThrottledError: another task holds it for longer than ``patience``
    """
    execute(
        db, "warehouse.limit_lock", patience=f"{max(patience / timedelta(milliseconds=1), 1):.0f}ms"
    )  # 0 would be no limit
    try:
        execute(db, "warehouse.take_lock", room=room, store=store)
    except psycopg.errors.LockNotAvailable:
        raise ThrottledError(
            f"{store}: another task is at work on this store ({room})", until=datetime.now(UTC) + BUSY, patience=MOST
        ) from None


class Lock:
    """A lock that is held by a session of its own, whose transaction ends it.

    That works behind a pooler too. Whoever holds it and does nothing for ten minutes loses it: a worker that is frozen
    keeps its TCP connection, so nothing else would end it.
    """

    def __init__(self, store: str, session: psycopg.Connection[Any]) -> None:
        self.store = store
        self.session = session

    def check(self) -> None:
        """Make sure that it is still held, and keep it for another ten minutes.

        :raises UnavailableError: its session was cut
        """
        try:
            self.session.execute("SELECT 1")
        except psycopg.Error:  # the server names an idle session's end in a class of its own
            raise self.cut() from None

    def cut(self) -> UnavailableError:
        """The error of a process that has lost it."""
        return UnavailableError(
            f"{self.store}: the database session that held the store's lock was cut, so another task may be at work; "
            "nothing more was done"
        )


@contextmanager
def locked(warehouse: Warehouse, room: str, store: str, *, patience: timedelta = PATIENCE) -> Iterator[Lock]:
    """Hold a lock meanwhile.

    :param room: what is locked, e.g. ``fba.feed``
    :raises ThrottledError: another task holds it for longer than ``patience``
    """
    with warehouse.connect() as session:
        take_lock(session, room, store, patience=patience)
        yield Lock(store, session)
