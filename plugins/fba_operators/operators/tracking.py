"""Tracking: what Amazon's orders have told since the last time, kept for each request until its parcels are delivered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
from airflow.sdk import Asset, AssetAlias, Context

from fba_operators.amazon.operations import FulfillmentOrder, ListedOrder, OrderItem
from fba_operators.assets import PACKAGES
from fba_operators.errors import CredentialsError, RequestRefusedError, UnavailableError
from fba_operators.fulfillment.amazon_orders import SHIPPED, compare_with_request, documented, end_of_request
from fba_operators.fulfillment.left_out import LeftOut, UnansweredError
from fba_operators.fulfillment.memory import take_down
from fba_operators.fulfillment.request import Move, counts_by_status
from fba_operators.operators.base import SellingPartnerOperator
from fba_operators.operators.links import DeskLink
from fba_operators.operators.run import SummariseRunOperator
from fba_operators.runs.summary import counted
from fba_operators.shipments.order_answers import packages_to_track, told_by_fulfillment_order, told_by_order
from fba_operators.shipments.parcels import ENDED, ToldOrder
from fba_operators.shipments.track import NAMED_WITHIN, OVERLAP, Changes, Kept, Request, Tracking
from fba_operators.shipments.windows import moment
from fba_operators.warehouse.lock import Lock, locked
from fba_operators.warehouse.statements import execute

MAX_ASKED = 500  # orders asked for one by one in a run, about four minutes at Amazon's 2 a second
ASKED_AGAIN = timedelta(hours=1)  # after an answer that says nothing
MOST_NAMED = 500  # request numbers in an asset event
NOT_SENT = ("pending", "invalid", "rejected")
AT_AMAZON = ("accepted", "submitted", "unknown", "cancelled", "rejected")


@dataclass
class Reading:
    """What a run has read.

    :param orders: orders that were told
    :param others: those of no request of this store
    :param unreadable: those that cannot be read, or for which Amazon fails
    :param asked: orders asked for one by one
    :param sentences: for the run's summary
    :param left_out: orders and packages for which Amazon fails
    """

    orders: int = 0
    others: int = 0
    unreadable: int = 0
    asked: int = 0
    changes: Changes = field(default_factory=Changes)
    sentences: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)


class TrackOrdersOperator(SellingPartnerOperator):
    """Read every order of a store that changed since the last reading, and keep its parcels and their states.

    The cursor of the list moves in the transaction that keeps the list's last page. Then orders are asked for one by one that
    are under way and of which nothing was told for a day. An account without Fulfillment Outbound 2026-07-04 has no such
    list: there all orders under way are asked for, the oldest question first.

    :param since: read from this time, ISO 8601, instead of where the last reading ended (templated)
    :return: counts: ``orders``, ``others``, ``unreadable``, ``asked``, ``new`` parcels, ``requests`` with a change
    :raises CredentialsError: the account has neither version of the API, or the role is missing
    :raises UnavailableError: Amazon does not answer, or its list does not end; the cursor stays where it was
    """

    operator_extra_links = (DeskLink("requests"),)

    template_fields: Sequence[str] = (*SellingPartnerOperator.template_fields, "since")

    def __init__(self, *, since: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.since = since

    def work(self, context: Context) -> dict[str, int]:
        """Read the list, ask for what it has not told, compare with the shipments report."""
        since = moment("since", self.since)
        tracking = Tracking(self.warehouse, self.conn_id)
        with locked(self.warehouse, "fba.track", self.conn_id) as lock, self._summarised(context) as reading:
            listed = self._read_list(tracking, lock, since, reading)
            self._ask(tracking, lock, listed, reading)
            tracking.compare_witnesses()
        with self.warehouse.connect() as db:
            self.run_log(context).add(db, self.task_id, "", outcome="success")
        return {
            **{name: getattr(reading, name) for name in ("orders", "others", "unreadable", "asked")},
            **{"new": reading.changes.new, "requests": len(reading.changes.requests)},
        }

    # The list

    def _read_list(self, tracking: Tracking, lock: Lock, since: datetime | None, reading: Reading) -> bool:
        """Read and keep every page; returns False where the account has no list."""
        cursor, begun = tracking.begin_of_reading()
        pages = self.hook.list_orders(updated_after=since or cursor)
        try:
            read_at = _now(lock)
            page = next(pages, None)
        except (CredentialsError, RequestRefusedError) as error:
            if error.status not in (403, 404):
                raise
            if tracking.record_without_list():
                reading.sentences.append(
                    "This account does not have Fulfillment Outbound 2026-07-04 (or its role is missing), so each order is "
                    "asked for by itself. This is told once."
                )
            self.log.info("%s: there is no list of changed orders: %s", self.conn_id, error)
            return False
        # By the later of the two clocks the list could end before an order that Amazon has dated earlier.
        until = begun + min(self.hook.amazon_now() - _now(lock), timedelta(0)) - OVERLAP
        while page is not None:
            told = [told_by_order(order) if order else None for order in page.orders]
            following = next_at = None
            last = not page.next_token
            with self._keeping(tracking, lock) as db:
                self._keep(db, tracking, told, read_at, reading, listed=True)
                if last and (since is None or since <= cursor):
                    tracking.move_cursor(db, until, begun)
            if not last:
                next_at = _now(lock)
                following = next(pages, None)
            page, read_at = following, next_at or read_at
        return True

    # One by one

    def _ask(self, tracking: Tracking, lock: Lock, listed: bool, reading: Reading) -> None:
        ask = self._order if listed else self._fulfillment_order
        unheard_for = NAMED_WITHIN if listed else timedelta(0)
        for number in tracking.to_ask(self.hook.seller_id, unheard_for, MAX_ASKED):
            read_at = next_turn = _now(lock)
            told = None
            try:
                with reading.left_out.asking(self.hook, number):
                    told = ask(tracking, number, reading.left_out)
            except RequestRefusedError as error:
                self.log.warning("%s: Amazon does not show the order of request %s: %s", self.conn_id, number, error)
                next_turn -= max(unheard_for - ASKED_AGAIN, timedelta(0))
            except UnavailableError as error:
                if error.status != 200 and not isinstance(error, UnansweredError):
                    raise
                reading.unreadable += 1  # one for which Amazon fails, or an answer that is not as documented
                next_turn -= max(unheard_for - ASKED_AGAIN, timedelta(0))
            reading.asked += 1
            if told is None:
                tracking.record_not_shown(number, next_turn)
                continue
            with self._keeping(tracking, lock) as db:
                self._keep(db, tracking, [told], read_at, reading)

    def _order(self, tracking: Tracking, number: str, left_out: LeftOut) -> ToldOrder | None:
        order = self.hook.find_order(number)
        return told_by_order(order) if order and order.order_id == number else None

    def _fulfillment_order(self, tracking: Tracking, number: str, left_out: LeftOut) -> ToldOrder | None:
        order = self.hook.find_fulfillment_order(number)
        if order is None or order.fulfillment_order.seller_fulfillment_order_id != number:
            return None
        with self.warehouse.connect() as db:
            request = tracking.requests(db, [number]).get(number)
        ended = {
            parcel.package_id for parcel in (request.packages if request else {}).values() if parcel.status in ENDED
        }
        found = {}
        for package in packages_to_track(order):
            if str(package) in ended:
                continue
            try:
                with left_out.asking(self.hook, str(package), "package"):
                    found[package] = self.hook.get_package_tracking_details(package)
            except (RequestRefusedError, UnansweredError) as error:  # the order says the rest
                self.log.warning("%s: Amazon does not show where package %d is: %s", self.conn_id, package, error)
        return told_by_fulfillment_order(order, found)

    # Keeping

    @contextmanager
    def _keeping(self, tracking: Tracking, lock: Lock) -> Iterator[psycopg.Connection[Any]]:
        """A transaction that may write: not in a process that has lost the store's lock."""
        lock.check()
        with self.warehouse.connect() as db:
            tracking.lock(db)
            yield db

    def _keep(
        self,
        db: psycopg.Connection[Any],
        tracking: Tracking,
        told: Iterable[ToldOrder | None],
        read_at: datetime,
        reading: Reading,
        *,
        listed: bool = False,
    ) -> None:
        """Keep the orders of this store's requests; count the others.

        :param listed: whether they are of the list, which may tell again what it told before
        """
        orders: dict[str, ToldOrder] = {}
        for each in told:
            reading.orders += 1
            if each is None:
                reading.unreadable += 1
            else:
                known = orders.get(each.fr_number)
                orders[each.fr_number] = _both(known, each) if known else each
        requests = tracking.requests(db, list(orders)) if orders else {}
        kept: list[Kept] = []
        moves: list[Move] = []
        forgotten: list[ToldOrder] = []
        for number, order in orders.items():
            request = requests.get(number)
            verdict = self._judge(order, request) if request else None
            if request is None or verdict is None:
                reading.others += 1
                if request and request.status in NOT_SENT:  # it was sent, and that was forgotten
                    forgotten.append(order)
            elif (request.read_at is None or request.read_at <= read_at) and not (
                listed and _is_outdated(order, request, read_at)
            ):
                if request.status == "rejected":  # the same, after it had been set right
                    forgotten.append(order)
                kept.append(verdict)
                moves += self._proof(verdict)
        tracking.keep(db, kept, read_at, reading.changes)
        if forgotten:
            numbers = [order.fr_number for order in forgotten]
            ended = [end_of_request(documented(order.status)) is not None for order in forgotten]
            take_down(db, self.conn_id, self.hook.seller_id, numbers, ended)
        self._settle(db, moves, reading)

    def _judge(self, order: ToldOrder, request: Request) -> Kept | None:
        """What an order means for the request of its number; None where it is another's, or the request is not at Amazon."""
        if request.status not in AT_AMAZON or request.seller_id not in (self.hook.seller_id, None):
            return None
        if request.status not in ("accepted", "cancelled") and self._compare(order, request).status == "invalid":
            return None
        status = documented(order.status)
        end = end_of_request(status)
        if end and request.lapsed and not _is_since(order.updated_at, request.sent_at):
            return None  # the end of the order that lapsed
        return Kept(order, request, status, end, nothing_more_ships=bool(end) or status in SHIPPED)

    def _compare(self, order: ToldOrder, request: Request) -> Move:
        items = None if order.lines is None else [_item(*line) if line else None for line in order.lines]
        answer = FulfillmentOrder.model_construct(
            fulfillment_order=ListedOrder.model_construct(
                seller_fulfillment_order_id=order.fr_number,
                marketplace_id=None,
                fulfillment_order_status=order.status,
            ),
            fulfillment_order_items=items,
        )
        return compare_with_request(answer, order.fr_number, Counter(request.ordered), self.hook.marketplace.id)

    def _proof(self, kept: Kept) -> list[Move]:
        """What an order proves about a request of which it is not known yet whether Amazon has it."""
        if kept.request.status not in ("submitted", "unknown") or kept.request.held:
            return []  # whether one on hold was released, the list of orders does not say
        move = self._compare(kept.told, kept.request)
        updated, sent = kept.told.updated_at, kept.request.sent_at
        is_earlier = kept.end and updated and sent and updated < sent - timedelta(hours=1)
        return [] if move.status == "unknown" or is_earlier else [move]

    def _settle(self, db: psycopg.Connection[Any], moves: list[Move], reading: Reading) -> None:
        if not moves:
            return
        rows = execute(
            db,
            "fulfillment.move",
            store=self.conn_id,
            claim_id=None,
            numbers=[move.fr_number for move in moves],
            statuses=[move.status for move in moves],
            reasons=[move.reason for move in moves],
            order_statuses=[move.order_status for move in moves],
            moved_from=["submitted", "unknown"],
            sent_at=None,
        )
        for row in rows:
            reading.changes.moved[row["status"]] = reading.changes.moved.get(row["status"], 0) + 1
            reading.changes.requests.add(row["fr_number"])

    # What is told

    @contextmanager
    def _summarised(self, context: Context) -> Iterator[Reading]:
        """Add to the run's summary what was kept, also if Amazon fails in the middle; then make the asset's event."""
        reading = Reading()
        try:
            yield reading
        finally:
            changes = reading.changes
            with self.warehouse.connect() as db:
                self.run_log(context).add(
                    db,
                    self.task_id,
                    "\n".join((*_sentences(reading), *reading.sentences, *reading.left_out.sentences())),
                    rows_in=reading.orders + reading.asked,
                    rows_rejected=reading.unreadable,
                    rows_changed=sum(changes.parcels.values()) + sum(changes.moved.values()),
                    attention={
                        "unreadable_orders": reading.unreadable,
                        **{status: changes.moved.get(status, 0) for status in ("rejected",)},
                    },
                )
            self._publish(context, changes)

    def _publish(self, context: Context, changes: Changes) -> None:
        events = context.get("outlet_events")
        if events is None or not changes.requests:
            return
        extra: dict[str, Any] = {
            "store": self.conn_id,
            "new_packages": changes.new,
            "packages": dict(changes.parcels),
            "requests": dict(changes.moved),
            "fr_numbers": sorted(changes.requests)[:MOST_NAMED],
            "more": max(len(changes.requests) - MOST_NAMED, 0),
        }
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                events[outlet].extra = extra
            elif isinstance(outlet, AssetAlias):
                events[outlet].add(PACKAGES, extra=extra)


def _now(lock: Lock) -> datetime:
    """The time by the database's clock, over the session that holds the lock.

    :raises UnavailableError: that session was cut
    """
    try:
        (row,) = execute(lock.session, "fulfillment.now").fetchall()
    except psycopg.Error:
        raise lock.cut() from None
    moment_now: datetime = row["now"]
    return moment_now


def _both(one: ToldOrder, other: ToldOrder) -> ToldOrder:
    """An order that is told twice: as Amazon dates it later, or what both say where the dates do not tell."""
    if one.updated_at and other.updated_at and one.updated_at != other.updated_at:
        return one if one.updated_at > other.updated_at else other
    return replace(other, parcels=(*one.parcels, *other.parcels))


def _is_outdated(order: ToldOrder, request: Request, read_at: datetime) -> bool:
    """Whether Amazon dates an order earlier than what is known of it; a date that is still to come is not believed."""
    known = request.updated_at
    return bool(order.updated_at and known and order.updated_at < known <= read_at)


def _is_since(updated_at: datetime | None, sent_at: datetime | None) -> bool:
    return bool(updated_at and sent_at and updated_at > sent_at)


def _item(sku: str | None, quantity: int | None) -> OrderItem:
    return OrderItem.model_construct(seller_sku=sku, quantity=quantity)


def _sentences(reading: Reading) -> Iterator[str]:
    changes = reading.changes
    if reading.orders or reading.asked:
        of_requests = reading.orders - reading.others - reading.unreadable
        yield (
            f"{counted(reading.orders, 'order')} changed at Amazon or asked for, {of_requests} of this store's requests; "
            f"{counted(changes.new, 'new parcel')}, {counted(sum(changes.parcels.values()) - changes.new, 'changed parcel')}."
        )
    for number, one, several in (
        (reading.others, "order of others", "orders of others"),
        (reading.unreadable, "order could not be read", "orders could not be read"),
        (reading.asked, "order was asked for by itself", "orders were asked for by themselves"),
    ):
        if number:
            yield f"{counted(number, one, several)}."
    if changes.moved:
        yield f"Requests: {counts_by_status(Counter(changes.moved))}."


class SummariseTrackingOperator(SummariseRunOperator):
    """Summarise as every DAG does, and report parcels that are late, undeliverable, or do not move."""

    def check(self, db: psycopg.Connection[Any], context: Context) -> None:
        """Add ``late``, ``undeliverable``, ``no_movement``, ``claim_due`` and ``witnesses_differ`` to what needs a person."""
        execute(db, "runs.add_undelivered", dag_id=self.dag_id, run_id=str(context["run_id"]))
