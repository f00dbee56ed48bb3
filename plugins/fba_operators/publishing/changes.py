"""Changes of what can be sold: recorded once, and delivered to each destination at its own pace."""

from __future__ import annotations

import time
from collections.abc import Collection

from fba_operators.publishing.batch import Batch
from fba_operators.publishing.destinations import Deliver
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.lock import locked, take_lock
from fba_operators.warehouse.statements import execute


def record_changes(warehouse: Warehouse, store: str, destinations: Collection[str], *, everything: bool = False) -> int:
    """Record what of a store's ``fba.available_to_sell`` is other than what was recorded last; returns how many SKUs are.

    :param destinations: all that stores.yaml has; what others have taken is forgotten
    :param everything: record every SKU, so that all are delivered again
    """
    with warehouse.connect() as db:
        take_lock(db, "fba.available_change", store)  # so that n grows in the order of commits
        execute(db, "publishing.forget_destinations", destinations=list(destinations))
        return execute(db, "publishing.record_changes", store=store, everything=everything).rowcount


def deliver_changes(
    warehouse: Warehouse, destination: str, store: str, deliver: Deliver, at_once: int, *, until: float
) -> tuple[int, int]:
    """Deliver what a destination has not taken yet, oldest first.

    The cursor is moved after each batch that was taken. A process that dies in between delivers that batch again.

    :param at_once: changes in a batch, at most
    :param until: when to leave the rest to the next run, on the monotonic clock
    :return: how many changes were delivered, and how many are left
    :raises UnavailableError: the destination took no more; what it took stays taken
    :raises ThrottledError: another task delivers to it
    """
    key = {"destination": destination, "store": store}
    delivered = 0
    with locked(warehouse, f"fba.publication {destination}", store) as lock:
        while True:
            with warehouse.connect() as db:
                execute(db, "publishing.begin", **key)
                changes = execute(db, "publishing.next_changes", **key, most=at_once).fetchall()
                if not changes or time.monotonic() > until:
                    (left,) = execute(db, "publishing.count_left", **key).fetchall()
                    return delivered, left["count"]
            batch = Batch(store, changes)
            lock.check()
            deliver(batch)
            with warehouse.connect() as db:
                execute(db, "publishing.record_delivered", **key, n=batch.last)
            delivered += len(changes)
