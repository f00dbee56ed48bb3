"""Fulfillment requests on their way to Amazon, whatever carries them: settle, claim, summarise.

Each task finds its place in the warehouse, so it can be retried, cleared or overtaken by another run. Only the id of a claim
passes from task to task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import Any, NoReturn

import psycopg
from airflow.sdk import Asset, AssetAlias, Context
from airflow.sdk.exceptions import AirflowSkipException

from fba_operators.assets import REQUESTS
from fba_operators.errors import DecisionNeededError, ThrottledError, UnavailableError
from fba_operators.fulfillment.ask_first import ask_features, ask_quotes
from fba_operators.fulfillment.cancel import cancel_orders
from fba_operators.fulfillment.claim import Claim, Selection, claim_requests, survey, until_next_feed
from fba_operators.fulfillment.held import release_held
from fba_operators.fulfillment.ledger import FeedLedger
from fba_operators.fulfillment.memory import Doubt, adopt_orders, ask_again, examine, look_up
from fba_operators.fulfillment.order_ledger import OrderLedger
from fba_operators.fulfillment.request import counts_by_status, listed_numbers
from fba_operators.fulfillment.settle import Outcome, settle_feed
from fba_operators.fulfillment.settle_orders import settle_orders
from fba_operators.operators.base import SellingPartnerOperator, run_type_of
from fba_operators.operators.links import DeskLink
from fba_operators.operators.run import PrepareRunOperator, SummariseRunOperator
from fba_operators.operators.switch import is_on
from fba_operators.runs.log import Outcome as RunOutcome
from fba_operators.runs.log import RunLog
from fba_operators.runs.summary import counted
from fba_operators.settings.models import Fulfillment
from fba_operators.settings.stores_file import load_stores
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.statements import execute

MAX_WAIT_FOR_TURN = timedelta(minutes=5)  # so that a run some seconds early need not give its turn up
NO_STORE = "(none)"
STRAY = "stores.yaml has no store of this id, so no run sends or settles this"


class SendingOperator(SellingPartnerOperator):
    """Base of the tasks that send requests. A task with nothing left to do ends skipped, and with it those after it."""

    @cached_property
    def ledger(self) -> FeedLedger:
        """The store's feeds."""
        return FeedLedger(self.warehouse, self.conn_id)

    @cached_property
    def orders(self) -> OrderLedger:
        """The store's requests that go out one by one."""
        return OrderLedger(self.ledger)

    @property
    def settings(self) -> Fulfillment:
        """The store's section of stores.yaml."""
        return load_stores().store(self.conn_id).fulfillment

    def skip(self) -> NoReturn:
        """End the task skipped; what was done is in ``fba.run``."""
        raise AirflowSkipException(f"{self.conn_id}: nothing is left to do here; the lines above say why.")

    def add_to_summary(
        self,
        context: Context,
        sentence: str,
        *,
        outcome: RunOutcome | None = None,
        moved: Counter[str] | None = None,
        rows_in: int = 0,
        attention: Mapping[str, int] | None = None,
    ) -> None:
        """Log a sentence and add it to the run's summary.

        :param outcome: how the run ended for this store, if this was its last task
        :param moved: how many requests came to each status
        :param rows_in: how many requests were read
        :param attention: what needs a person besides invalid and rejected requests: code and count
        """
        moved = moved or Counter()
        if sentence:
            self.log.info("%s: %s", self.conn_id, sentence)
        with self.warehouse.connect() as db:
            self.run_log(context).add(
                db,
                self.task_id,
                sentence,
                outcome=outcome,
                rows_in=rows_in,
                rows_rejected=moved["invalid"] + moved["rejected"],
                rows_changed=moved.total(),
                attention={"invalid": moved["invalid"], "rejected": moved["rejected"], **(attention or {})},
            )

    @contextmanager
    def summarised(self, context: Context) -> Iterator[Outcome]:
        """Add to the summary what settling records, also if Amazon fails in the middle: a retry does not find it again."""
        found = Outcome()
        try:
            yield found
        finally:
            sentences = "\n".join((*found.sentences, *found.waiting, *found.left_out.sentences()))
            attention = {"not_cancelled": found.not_cancelled}
            self.add_to_summary(context, sentences, moved=found.moved, attention=attention)

    def publish(self, context: Context, moved: Counter[str]) -> None:
        """Put the counts on the task's asset event; an alias makes an event only if something changed."""
        events = context.get("outlet_events")
        if events is None:
            return
        extra: dict[str, Any] = {
            "store": self.conn_id,
            **{status: number for status, number in moved.items() if number},
        }
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                events[outlet].extra = extra
            elif isinstance(outlet, AssetAlias) and moved.total():
                events[outlet].add(REQUESTS, extra=extra)


class SettleFeedsOperator(SendingOperator):
    """Find out what became of open feeds and orders, whichever run made them; then cancel the orders to be cancelled.

    :param offline: if true, nothing in this run calls Amazon, and feeds, orders and cancellations wait for the next one (templated)
    :return: how many requests came to each status
    :raises DecisionNeededError: requests were sent three times and Amazon has no order of them
    """

    template_fields = (*SendingOperator.template_fields, "offline")

    def __init__(self, *, offline: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.offline = offline

    def work(self, context: Context) -> dict[str, int]:
        """Settle, then cancel."""
        if self.offline is None:
            raise ValueError(f"{self.conn_id}: offline must be true or false, not null; nothing was done")
        if is_on("offline", self.offline):
            self.log.info("Nothing in this run calls Amazon; feeds, orders and cancellations wait for the next one.")
            return {}
        with self.ledger.exclusively(), self.summarised(context) as outcome:
            self._do_all(
                *(partial(settle_feed, self.hook, self.ledger, feed, outcome) for feed in self.ledger.open_feeds()),
                partial(settle_orders, self.hook, self.orders, outcome),
                partial(cancel_orders, self.hook, self.ledger, outcome),
            )
        self.add_to_summary(context, "", attention={"stuck": self.ledger.count_stuck()})
        self.publish(context, outcome.moved)
        if outcome.stuck:
            raise DecisionNeededError(
                f"{self.conn_id}: {counted(len(outcome.stuck), 'request was', 'requests were')} sent, and whether Amazon "
                "makes an order of it cannot be found out (status_reason says why): look in Seller Central under each number, "
                "then set status in fba.fulfillment_request to pending (to send again), accepted or rejected. Until then it "
                "stays unknown; the next run goes on with the others",
                detail=listed_numbers(outcome.stuck),
            )
        return dict(outcome.moved)

    def _do_all(self, *steps: Callable[[], None]) -> None:
        """Do every step, although Amazon may fail in one of them; then raise the first of its failures."""
        failures = []
        for step in steps:
            try:
                step()
            except UnavailableError as error:
                if error.operation is None:  # the warehouse, or the store's lock
                    raise
                failures.append(error)
        if failures:
            raise failures[0]


class ClaimRequestsOperator(SendingOperator):
    """Validate every pending request of a store, and claim those that are ready for one feed, or as orders.

    Before that, orders that Amazon holds and that are due are released, and Amazon is asked for quotes and features where
    stores.yaml or a request wants it.

    :param fulfillment_request_numbers: a list of FR numbers; empty is all (templated)
    :param ignore_hold: send although ``hold_hours`` are not over (templated)
    :param ignore_business_hours: send outside business hours (templated)
    :param validate_only: a dry run: report what would be sent; Amazon is not called (templated)
    :return: the claim
    """

    operator_extra_links = (DeskLink("requests"),)

    template_fields = (
        *SendingOperator.template_fields,
        "fulfillment_request_numbers",
        "ignore_hold",
        "ignore_business_hours",
        "validate_only",
    )

    def __init__(
        self,
        *,
        fulfillment_request_numbers: Sequence[str] | None = None,
        ignore_hold: bool = False,
        ignore_business_hours: bool = False,
        validate_only: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.fulfillment_request_numbers = fulfillment_request_numbers
        self.ignore_hold = ignore_hold
        self.ignore_business_hours = ignore_business_hours
        self.validate_only = validate_only

    def work(self, context: Context) -> str:
        """Wait for the store's turn if it is near, then claim."""
        if self.validate_only is None:
            raise ValueError(f"{self.conn_id}: validate_only must be true or false, not null; nothing was sent")
        selection = Selection(
            numbers=_checked_numbers(self.fulfillment_request_numbers),
            manual=run_type_of(context) == "manual",
            ignore_hold=is_on("ignore_hold", self.ignore_hold),
            ignore_business_hours=is_on("ignore_business_hours", self.ignore_business_hours),
            dry_run=is_on("validate_only", self.validate_only),
        )
        settings = self.settings
        by_feed = settings.transport == "feed" and not selection.manual and not selection.dry_run
        wait = until_next_feed(self.ledger) if by_feed else None
        if (
            wait
            and timedelta(0) < wait <= MAX_WAIT_FOR_TURN
            and all(feed["set_aside_at"] for feed in self.ledger.open_feeds())
        ):
            raise ThrottledError(f"{self.conn_id}: the next feed's turn is near", until=datetime.now(UTC) + wait)
        doubt = None
        if not selection.dry_run:
            doubt = self._look_for_forgotten(context, selection)
            self._release_held(context, selection)
            self._ask_first(context, selection, doubt or Doubt())
        claim = claim_requests(
            self.ledger,
            settings,
            selection,
            destination=self.hook.destination,
            run_id=context["run_id"],
            doubt=doubt,
        )
        moved = Counter(invalid=len(claim.invalid))
        sentence = self._describe(claim, selection)
        self.add_to_summary(
            context,
            sentence,
            outcome=None if claim.claim_id else "success",
            moved=moved,
            rows_in=claim.seen,
            attention={"needs_approval": len(claim.newly_asks)},
        )
        for number, warning in claim.warnings.items():
            if warning and number in claim.claimed:
                self.log.warning("%s: request %s: %s", self.conn_id, number, warning)
        if claim.claim_id is None:
            self.skip()
        return claim.claim_id

    def _look_for_forgotten(self, context: Context, selection: Selection) -> Doubt | None:
        """Find out about requests that Amazon may have although the ledger says that they were never sent."""
        (pending,) = self.ledger.run_alone("fulfillment.has_pending", numbers=list(selection.numbers))
        if not pending["yes"]:
            return None
        with self.ledger.exclusively(), self.summarised(context) as outcome:
            doubt = examine(self.hook, self.ledger, outcome.left_out)
            # It may have been sent and forgotten; then its order is to be cancelled.
            to_cancel = [row["fr_number"] for row in self.ledger.run_alone("fulfillment.pending_to_cancel")]
            look_up(self.hook, self.ledger, to_cancel, outcome.left_out)
            ask_again(self.hook, self.ledger, outcome.left_out)
            moves = adopt_orders(self.hook, self.ledger, outcome.left_out)
            if moves:
                outcome.add_moves(moves)
                was = counted(len(moves), "pending request was", "pending requests were")
                outcome.sentences.append(f"{was} at Amazon already: {counts_by_status(outcome.moved)}.")
        return doubt

    def _release_held(self, context: Context, selection: Selection) -> None:
        """Let Amazon ship what it holds and what is due."""
        if any(row["held"] and row["status"] == "submitted" for row in self.orders.open_orders()):
            with self.ledger.exclusively(), self.summarised(context) as outcome:
                release_held(self.hook, self.orders, self.settings, selection, outcome)

    def _ask_first(self, context: Context, selection: Selection, doubt: Doubt) -> None:
        """Ask Amazon for features and quotes of the requests that would be sent now."""
        settings = self.settings
        if settings.transport == "feed" and not any(map(settings.quotes, settings.shipping_methods)):
            return  # a feed has no wishes
        ready, unquoted = survey(self.ledger, settings, selection, self.hook.destination, doubt)
        with self.summarised(context) as outcome:
            ask_features(self.hook, self.ledger, [*ready, *unquoted], outcome.left_out)
            if unquoted and (sentence := ask_quotes(self.hook, self.ledger, settings, unquoted, outcome.left_out)):
                outcome.sentences.append(sentence)

    def _describe(self, claim: Claim, selection: Selection) -> str:
        parts = []
        if claim.claimed:
            verb = "would be sent (dry run)" if selection.dry_run else "claimed"
            parts.append(f"{counted(len(claim.claimed), 'request')} {verb}: {listed_numbers(claim.claimed)}.")
        if claim.invalid:
            parts.append(f"{len(claim.invalid)} invalid: {listed_numbers(list(claim.invalid))}.")
        if claim.asks:
            parts.append(
                f"{counted(len(claim.asks), 'request needs', 'requests need')} approval: {listed_numbers(sorted(claim.asks))}."
            )
        waiting = len(claim.waiting.keys() - set(claim.claimed) - claim.asks)
        if waiting:
            parts.append(f"{counted(waiting, 'request waits', 'requests wait')}; waiting_reason says why.")
        if selection.numbers:
            seen = {*claim.claimed, *claim.invalid, *claim.waiting}
            parts += self._not_pending([number for number in selection.numbers if number not in seen])
        if selection.dry_run and not claim.claimed:
            parts.insert(0, "Dry run: no request is ready to be sent.")
        return "\n".join(parts) or "No request is pending."

    def _not_pending(self, numbers: list[str]) -> list[str]:
        if not numbers:
            return []
        with self.warehouse.connect() as db:
            rows = self.ledger.run(db, "fulfillment.statuses", numbers=numbers)
        found = {row["fr_number"]: row["status"] for row in rows}
        by_status: dict[str, list[str]] = {}
        for number in numbers:
            by_status.setdefault(found.get(number, "not known to this store"), []).append(number)
        return [f"Asked for, but {status}: {listed_numbers(requests)}." for status, requests in by_status.items()]


class ClaimedOperator(SendingOperator):
    """A task that goes on with a claim.

    :param claim_id: what :class:`ClaimRequestsOperator` returned (templated)
    """

    template_fields = (*SendingOperator.template_fields, "claim_id")

    def __init__(self, *, claim_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.claim_id = claim_id

    def skip_overtaken(self, context: Context) -> NoReturn:
        """End skipped, because another run has gone on with this claim."""
        self.add_to_summary(context, "Another run has taken over this claim.", outcome="success")
        self.skip()


class PrepareRequestsOperator(PrepareRunOperator):
    """Begin a run, and return the stores that have something to do; of the others the run says so, and no task is made.

    A store has something to do while a request of it is pending or in flight, is to be cancelled, or a feed is not settled.

    :param fulfillment_request_numbers: if there are any, every store has something to do: to say what became of them
        (templated)
    :return: connection ids; those of all stores of the run are pushed as ``stores``
    """

    template_fields = (*PrepareRunOperator.template_fields, "fulfillment_request_numbers")

    def __init__(self, *, fulfillment_request_numbers: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fulfillment_request_numbers = fulfillment_request_numbers

    def execute(self, context: Context) -> list[str]:
        """Prepare, then look for work."""
        stores = super().execute(context)
        context["ti"].xcom_push(key="stores", value=stores)
        if self.fulfillment_request_numbers:
            return stores
        with Warehouse(self.warehouse_conn_id).connect() as db:
            busy = {row["store"] for row in execute(db, "fulfillment.stores_with_work", stores=stores)}
            for store in stores:
                if store not in busy:
                    self.run_log(context, store).finish(db, "success", "No request is pending.")
        return [store for store in stores if store in busy]


class SummariseRequestsOperator(SummariseRunOperator):
    """Summarise as every DAG does, and report requests that wait for hours, orders that need somebody, and requests of no store.

    The store of the latter is not shown: it is a text of another system, and could be anything.
    """

    def execute(self, context: Context) -> dict[str, str]:
        """Look for such requests, then summarise."""
        if self.stores:
            self._look_for_strays(context)
        return super().execute(context)

    def check(self, db: psycopg.Connection[Any], context: Context) -> None:
        """Add what waits or is held for long, is ``unknown`` for six hours, or went by a blocked carrier."""
        execute(db, "runs.add_waiting", dag_id=self.dag_id, run_id=str(context["run_id"]))

    def _look_for_strays(self, context: Context) -> None:
        with Warehouse(self.warehouse_conn_id).connect() as db:
            known = list(load_stores().stores)
            (found,) = execute(db, "fulfillment.of_no_store", known=known, reason=STRAY).fetchall()
            if number := found["count"]:
                waiting = counted(number, "request waits", "requests wait")
                RunLog(self.dag_id, str(context["run_id"]), NO_STORE).finish(
                    db,
                    "skipped",
                    f"{waiting} for ever: {STRAY}.",
                    rows_in=number,
                    attention={"of_no_store": number},
                )
                self.stores = [*self.stores, NO_STORE]


def _checked_numbers(given: Sequence[str] | None) -> tuple[str, ...]:
    given = [] if given is None else given
    if not isinstance(given, (list, tuple)) or not all(isinstance(number, str) for number in given):
        raise ValueError(
            f"fulfillment_request_numbers must be a list of FR numbers (texts), not {type(given).__name__}"
        )
    return tuple(dict.fromkeys(given))
