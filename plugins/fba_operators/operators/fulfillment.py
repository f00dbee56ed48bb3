"""Fulfillment requests on their way to Amazon: settle, claim, upload, submit, wait, record.

Each task finds its place in the ledger ``fba.feed``, so it can be retried, cleared or overtaken by another run. Only the
id of a claim passes from task to task.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NoReturn

import psycopg
from airflow.sdk import Asset, AssetAlias, Context
from airflow.sdk.exceptions import AirflowSkipException

from fba_operators.amazon.operations import Feed
from fba_operators.assets import REQUESTS
from fba_operators.errors import (
    CredentialsError,
    DecisionNeededError,
    LostAnswerError,
    RequestRefusedError,
    ThrottledError,
    UnavailableError,
)
from fba_operators.fulfillment.cancel import cancel_orders
from fba_operators.fulfillment.claim import Claim, Selection, claim_requests, until_next_feed
from fba_operators.fulfillment.feed_xml import CONTENT_TYPE, FEED_TYPE, FeedError, build_order_feed
from fba_operators.fulfillment.ledger import MAY_SUBMIT, FeedLedger
from fba_operators.fulfillment.memory import Doubt, adopt_orders, compare_feeds, examine, look_up
from fba_operators.fulfillment.request import counts_by_status, listed_numbers
from fba_operators.fulfillment.settle import Outcome, settle_feed
from fba_operators.operators.base import SellingPartnerOperator, run_type_of
from fba_operators.operators.run import PrepareRunOperator, SummariseRunOperator
from fba_operators.operators.switch import is_on
from fba_operators.runs.log import Outcome as RunOutcome
from fba_operators.runs.log import RunLog
from fba_operators.runs.summary import counted
from fba_operators.settings.models import Fulfillment
from fba_operators.settings.stores_file import load_stores
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.statements import execute

FEED_TIMEOUT = timedelta(hours=4)  # then the next run settles the feed
MAX_WAIT_FOR_TURN = timedelta(minutes=5)  # so that a run some seconds early need not give its turn up
NO_STORE = "(none)"
STRAY = "stores.yaml has no store of this id, so no run sends or settles this"


class FeedOperator(SellingPartnerOperator):
    """Base of the tasks that send requests. A task with nothing left to do ends skipped, and with it those after it."""

    @cached_property
    def ledger(self) -> FeedLedger:
        """The store's feeds."""
        return FeedLedger(self.warehouse, self.conn_id)

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
            sentences = "\n".join((*found.sentences, *found.waiting))
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


class SettleFeedsOperator(FeedOperator):
    """Find out what became of the open feed, whichever run made it; then cancel the orders to be cancelled.

    :param offline: if true, nothing in this run calls Amazon, and feeds and cancellations wait for the next one (templated)
    :return: how many requests came to each status
    :raises DecisionNeededError: requests were sent three times and Amazon has no order of them
    """

    template_fields = (*FeedOperator.template_fields, "offline")

    def __init__(self, *, offline: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.offline = offline

    def work(self, context: Context) -> dict[str, int]:
        """Settle, then cancel."""
        if self.offline is None:
            raise ValueError(f"{self.conn_id}: offline must be true or false, not null; nothing was done")
        if is_on("offline", self.offline):
            self.log.info("Nothing in this run calls Amazon; feeds and cancellations wait for the next one.")
            return {}
        with self.ledger.exclusively(), self.summarised(context) as outcome:
            for feed in self.ledger.open_feeds():
                settle_feed(self.hook, self.ledger, feed, outcome)
            cancel_orders(self.hook, self.ledger, outcome)
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


class ClaimRequestsOperator(FeedOperator):
    """Validate every pending request of a store, and claim those that are ready for one feed.

    :param fulfillment_request_numbers: a list of FR numbers; empty is all (templated)
    :param ignore_hold: send although ``hold_hours`` are not over (templated)
    :param ignore_business_hours: send outside business hours (templated)
    :param validate_only: a dry run: report what would be sent; Amazon is not called (templated)
    :return: the claim
    """

    template_fields = (
        *FeedOperator.template_fields,
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
        wait = None if selection.manual or selection.dry_run else until_next_feed(self.ledger)
        if (
            wait
            and timedelta(0) < wait <= MAX_WAIT_FOR_TURN
            and all(feed["set_aside_at"] for feed in self.ledger.open_feeds())
        ):
            raise ThrottledError(f"{self.conn_id}: the next feed's turn is near", until=datetime.now(UTC) + wait)
        doubt = None if selection.dry_run else self._look_for_forgotten(context, selection)
        claim = claim_requests(
            self.ledger,
            self.settings,
            selection,
            destination=self.hook.destination,
            run_id=context["run_id"],
            doubt=doubt,
        )
        moved = Counter(invalid=len(claim.invalid))
        sentence = self._describe(claim, selection)
        self.add_to_summary(
            context, sentence, outcome=None if claim.claim_id else "success", moved=moved, rows_in=claim.seen
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
        with self.ledger.exclusively():
            doubt = examine(self.hook, self.ledger)
            # It may have been sent and forgotten; then its order is to be cancelled.
            to_cancel = [row["fr_number"] for row in self.ledger.run_alone("fulfillment.pending_to_cancel")]
            look_up(self.hook, self.ledger, to_cancel)
            moves = adopt_orders(self.hook, self.ledger)
        if moves:
            moved = Counter(move.status for move in moves)
            was = counted(len(moves), "pending request was", "pending requests were")
            found = f"{was} at Amazon already: {counts_by_status(moved)}."
            self.add_to_summary(context, found, moved=moved)
        return doubt

    def _describe(self, claim: Claim, selection: Selection) -> str:
        parts = []
        if claim.claimed:
            verb = "would be sent (dry run)" if selection.dry_run else "claimed"
            parts.append(f"{counted(len(claim.claimed), 'request')} {verb}: {listed_numbers(claim.claimed)}.")
        if claim.invalid:
            parts.append(f"{len(claim.invalid)} invalid: {listed_numbers(list(claim.invalid))}.")
        waiting = len(claim.waiting.keys() - set(claim.claimed))
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


class _ClaimedOperator(FeedOperator):
    """A task that goes on with a claim.

    :param claim_id: what :class:`ClaimRequestsOperator` returned (templated)
    """

    template_fields = (*FeedOperator.template_fields, "claim_id")

    def __init__(self, *, claim_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.claim_id = claim_id

    def skip_overtaken(self, context: Context) -> NoReturn:
        """End skipped, because another run has settled this feed or gone on with it."""
        self.add_to_summary(context, "Another run has taken over this feed.", outcome="success")
        self.skip()


class UploadFeedOperator(_ClaimedOperator):
    """Write the claimed requests as XML and upload them.

    Creating the document, uploading it and recording that are one task, because the upload URL expires after five
    minutes. If the task dies before the last step, it begins with a new document.

    :return: the claim
    """

    def work(self, context: Context) -> str:
        """Build, upload, record."""
        feed = self.ledger.get(self.claim_id)
        if feed["settled_at"] or feed["submit_started_at"]:
            self.skip_overtaken(context)
        if feed["uploaded_at"]:
            return self.claim_id
        requests = self.ledger.requests(self.claim_id)
        claimed = {row["message_id"]: row["fr_number"] for row in requests}
        content = self.ledger.content(self.claim_id)
        built = build_order_feed(self.hook.seller_id, content, self.settings) if content else None
        there = self.hook.destination
        if (
            built is None
            or built.messages != claimed
            or any(row["status"] != "sending" or row["claim_id"] != row["feed_claim_id"] for row in requests)
            or (feed["seller_id"], feed["marketplace_id"], feed["endpoint"])
            != (there.seller_id, there.marketplace_id, there.endpoint)
        ):
            raise FeedError(
                f"{self.conn_id}: the feed would not hold what was claimed, because stores.yaml, the connection or a request "
                "has changed. The next run claims again"
            )
        document_id, url = self.hook.create_feed_document(CONTENT_TYPE)
        self.hook.upload_feed_document(url, built.document, CONTENT_TYPE)
        if not self.ledger.record_upload(self.claim_id, document_id, hashlib.sha256(built.document).digest()):
            self.skip_overtaken(context)
        self.log.info("%s: uploaded %s, %d bytes.", self.conn_id, counted(len(claimed), "request"), len(built.document))
        return self.claim_id


class SubmitFeedOperator(_ClaimedOperator):
    """Submit the uploaded feed, once: only the task that recorded the intent calls createFeed, within a minute of it.

    Before that, Amazon's feeds are compared with the ledger: see :mod:`fba_operators.fulfillment.memory`.

    :return: the claim
    :raises RequestRefusedError: Amazon refused it; the requests are pending again
    """

    def work(self, context: Context) -> str:
        """Compare, record the intent, call createFeed, record its id."""
        with self.ledger.exclusively():
            feed = self.ledger.get(self.claim_id)
            if feed["settled_at"] or feed["submit_started_at"]:
                return self._go_on(context, feed)
            token = self._compare(context)
            digest = self._digest(context)
            intent: datetime | None = None
            started = 0.0

            def fence() -> None:
                # First called when token and quota are there; then between connecting and writing the body.
                nonlocal intent, started
                if intent is None:
                    started = time.monotonic()
                    intent = self.ledger.record_intent(self.claim_id, digest=digest, token=token)
                    if intent is None:
                        raise _NotIntendedError
                passed = time.monotonic() - started
                if passed > MAY_SUBMIT.total_seconds() or not self.ledger.may_submit(self.claim_id, intent):
                    raise UnavailableError(
                        f"{self.conn_id}: the feed was not submitted, because this process was stopped for too long before "
                        "createFeed, or another task has gone on with the feed"
                    )

            try:
                feed_id = self.hook.create_feed(FEED_TYPE, str(feed["document_id"]), fence=fence)
            except _NotIntendedError:
                self._release(context, "its content, its status or the warehouse changed after it was claimed")
            except LostAnswerError:
                self._skip_lost(context)
            except (ThrottledError, UnavailableError):
                # Nothing was made: the quota was used up, there was no access token, or the fence was closed.
                if intent:
                    self.ledger.withdraw_intent(self.claim_id, intent)
                raise
            except (RequestRefusedError, CredentialsError):
                released = self.ledger.record_refused(self.claim_id)
                self.log.error("%s: %s pending again.", self.conn_id, counted(released, "request is", "requests are"))
                raise
            self.ledger.record_submitted(self.claim_id, feed_id)
        count = self.ledger.get(self.claim_id)["message_count"]
        self.add_to_summary(context, f"{counted(count, 'request')} submitted as feed {feed_id}.")
        return self.claim_id

    def _compare(self, context: Context) -> str:
        """Make sure that Amazon does not have these requests already; returns the token that proves it."""
        token, whole = compare_feeds(self.hook, self.ledger)
        if not whole:
            self._release(context, "a feed in Amazon's list cannot be read, and may hold it")
        doubt = examine(self.hook, self.ledger)
        requests = self.ledger.requests(self.claim_id)
        if why := next(filter(None, (doubt.why_held(row["inserted_at"]) for row in requests)), None):
            self._release(context, why)
        numbers = [row["fr_number"] for row in requests]
        doubtful = {
            row["fr_number"]
            for row in self.ledger.run_alone("fulfillment.sent_before", claim_id=self.claim_id, numbers=numbers)
        }
        if since := doubt.look_up_since:
            doubtful |= {
                row["fr_number"] for row in requests if not row["looked_up_at"] or row["looked_up_at"] <= since
            }
        if look_up(self.hook, self.ledger, sorted(doubtful)):
            self._release(context, "Amazon did not say whether it has an order of the number of one of these requests")
        if self.ledger.run_alone("fulfillment.at_amazon", numbers=numbers):
            self._release(
                context, "Amazon may have an order of the number of one of these requests, which is looked at first"
            )
        return token

    def _digest(self, context: Context) -> bytes:
        """SHA-256 of the document that the requests give now."""
        content = self.ledger.content(self.claim_id)
        if not content:
            self._release(context, "the requests of its feed are gone")
        return hashlib.sha256(build_order_feed(self.hook.seller_id, content, self.settings).document).digest()

    def _release(self, context: Context, reason: str) -> NoReturn:
        released = self.ledger.release(self.claim_id, f"not sent: {reason}")
        requests = counted(released, "request is", "requests are")
        self.add_to_summary(context, f"Not sent, {requests} pending again: {reason}.", outcome="success")
        self.skip()

    def _go_on(self, context: Context, feed: dict[str, Any]) -> str:
        if feed["settled_at"]:
            self.skip_overtaken(context)
        if feed["feed_id"]:
            return self.claim_id
        return self._skip_lost(context)  # an earlier attempt died before the answer

    def _skip_lost(self, context: Context) -> NoReturn:
        lost = self.ledger.record_lost_answer(self.claim_id)
        sentence = (
            f"It is not known whether createFeed reached Amazon: {counted(lost, 'request is', 'requests are')} unknown. The "
            "next runs look for their orders at Amazon, and send again only what is certainly not there."
        )
        self.add_to_summary(context, sentence if lost else "", outcome="success", moved=Counter(unknown=lost))
        self.skip()


class _NotIntendedError(Exception):
    """What was claimed must not be submitted any more."""


class WaitForFeedOperator(_ClaimedOperator):
    """Wait, deferred, until Amazon has processed the feed; one that takes longer is settled by the next run.

    :param patience: how long this run waits, by default four hours, so that one slow store does not hold up the next run
        of all others
    :return: the claim
    """

    def __init__(self, *, patience: timedelta | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patience = FEED_TIMEOUT if patience is None else patience

    def work(self, context: Context) -> str:
        """Wait, unless the feed is finished already."""
        feed = self.ledger.get(self.claim_id)
        if feed["settled_at"] or not feed["feed_id"]:
            self.skip_overtaken(context)
        if feed["finished_at"]:
            return self.claim_id
        return self.wait_for("feed", feed["feed_id"], self.patience)

    def work_after_wait(self, context: Context, event: dict[str, Any]) -> str:
        """Record the state that the trigger saw."""
        if not event.get("id"):
            return self.work(context)
        state = event.get("state")
        feed = Feed.model_validate(state) if state else self.hook.get_feed(event["id"])
        if not feed.is_documented or not self.ledger.record_state(self.claim_id, feed).finished:
            count = self.ledger.get(self.claim_id)["message_count"]
            waiting = counted(count, "request waits", "requests wait")
            self.add_to_summary(context, f"{waiting} for feed {event['id']}.", outcome="success")
            self.skip()
        return self.claim_id


class RecordFeedOperator(_ClaimedOperator):
    """Read the processing report and record what became of each request.

    :return: how many requests came to each status
    """

    def work(self, context: Context) -> dict[str, int]:
        """Settle the feed, as the next run would."""
        with self.ledger.exclusively():
            feed = self.ledger.get(self.claim_id)
            if feed["settled_at"]:
                self.skip_overtaken(context)
            with self.summarised(context) as outcome:
                settle_feed(self.hook, self.ledger, feed, outcome)
        self.add_to_summary(context, "", outcome="success")
        self.publish(context, outcome.moved)
        return {status: number for status, number in outcome.moved.items() if number}


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
    """Summarise as every DAG does, and report requests that wait for hours, and those that no run processes.

    The store of the latter is not shown: it is a text of another system, and could be anything.
    """

    def execute(self, context: Context) -> dict[str, str]:
        """Look for such requests, then summarise."""
        if self.stores:
            self._look_for_strays(context)
        return super().execute(context)

    def check(self, db: psycopg.Connection[Any], context: Context) -> None:
        """Add ``waiting_long``, ``slow_feed`` and what is ``unknown`` for six hours to what needs a person."""
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
