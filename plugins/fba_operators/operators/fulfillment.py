"""Fulfillment requests on their way to Amazon: settle, claim, upload, submit, wait, record.

Each task finds its place in the ledger ``fba.feed``, so that it can be begun again, cleared or overtaken by another run.
What passes from task to task is only the id of a claim.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from airflow.sdk import Asset, AssetAlias, Context
from airflow.sdk.exceptions import AirflowSkipException

from fba_operators.amazon.trigger import UNFINISHED
from fba_operators.errors import (
    CredentialsError,
    DecisionNeededError,
    LostAnswerError,
    RequestRefusedError,
    ThrottledError,
    UnavailableError,
)
from fba_operators.fulfillment.claim import Claim, Selection, claim_requests, next_feed_at
from fba_operators.fulfillment.feed_xml import CONTENT_TYPE, FEED_TYPE, FeedError, build_order_feed
from fba_operators.fulfillment.ledger import FeedLedger
from fba_operators.fulfillment.settle import Outcome, cancel_orders, counted, named, settle_feed
from fba_operators.operators.base import SellingPartnerOperator, flag
from fba_operators.operators.run import SummariseRunOperator
from fba_operators.runs.summary import counts
from fba_operators.settings.stores_file import Fulfillment, load_stores, stores_path
from fba_operators.warehouse.database import Warehouse, statements

PATIENCE = timedelta(hours=4)  # until the next run settles a feed
SHORT_WAIT = timedelta(minutes=5)  # for the next feed's turn, so that a run some seconds early need not give it up
REQUESTS = Asset("fba_fulfillment_requests")
NO_STORE = "(none)"
STRAY = "stores.yaml names no store of this id, so no run sends or settles this"


class FeedOperator(SellingPartnerOperator):
    """Base of the tasks that send requests: :meth:`act` returns the claim, or None if nothing is left to do.

    Then the task ends skipped, and with it those after it; what was done is in ``fba.run``.
    """

    def execute(self, context: Context) -> Any:
        """Run :meth:`act`."""
        return self._or_skip(super().execute(context))

    def resume(self, context: Context, event: Any = None) -> Any:
        """Run :meth:`wake`."""
        return self._or_skip(super().resume(context, event))

    def _or_skip(self, result: Any) -> Any:
        if result is None:
            raise AirflowSkipException(f"{self.conn_id}: nothing is left to do here; the lines above say why.")
        return result

    @cached_property
    def ledger(self) -> FeedLedger:
        """The store's feeds."""
        return FeedLedger(self.warehouse, self.conn_id)

    @property
    def settings(self) -> Fulfillment:
        """The store's section of stores.yaml."""
        return load_stores(stores_path()).store(self.conn_id).fulfillment

    def tell(
        self,
        context: Context,
        told: str,
        *,
        outcome: str | None = None,
        moved: Counter[str] | None = None,
        rows_in: int = 0,
        attention: Mapping[str, int] | None = None,
    ) -> None:
        """Log a sentence and add it to the run's summary.

        :param outcome: how the run ended for this store, if this was its last task
        :param moved: how many requests came to each status
        :param rows_in: how many requests were looked at
        :param attention: what needs a person besides invalid and rejected requests: code and count
        """
        moved = moved or Counter()
        if told:
            self.log.info("%s: %s", self.conn_id, told)
        row = {
            "dag_id": self.dag_id,
            "run_id": context["run_id"],
            "store": self.conn_id,
            "told": told,
            "outcome": outcome,
            "rows_in": rows_in,
            "rows_rejected": moved["invalid"] + moved["rejected"],
            "rows_changed": moved.total(),
            "attention": counts({"invalid": moved["invalid"], "rejected": moved["rejected"], **(attention or {})}),
        }
        with self.warehouse.connect() as db:
            db.execute(statements("fulfillment")["note_run"], row)

    @contextmanager
    def telling(self, context: Context) -> Iterator[Outcome]:
        """Tell what settling writes down, also if Amazon fails in the middle: the next attempt does not find it again."""
        found = Outcome()
        try:
            yield found
        finally:
            told = " ".join(filter(None, (*found.told, found.waiting)))
            self.tell(context, told, moved=found.moved, attention={"not_cancelled": found.refused})

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
    """Find out what became of the feed that is not settled, whichever run made it; then cancel what is to be cancelled.

    :param needed: False where nothing in the run calls Amazon (templated)
    :return: how many requests came to each status
    :raises DecisionNeededError: requests were sent three times and Amazon has no order of them
    """

    template_fields = (*FeedOperator.template_fields, "needed")

    def __init__(self, *, needed: bool | str = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.needed = needed

    def act(self, context: Context) -> dict[str, int]:
        """Settle, cancel, purge."""
        if not flag("needed", self.needed):
            self.log.info("Nothing in this run calls Amazon; feeds and cancellations wait for the next one.")
            return {}
        with self.ledger.alone(), self.telling(context) as outcome:
            for feed in self.ledger.open_feeds():
                settle_feed(self.hook, self.ledger, feed, outcome)
            cancel_orders(self.hook, self.ledger, outcome)
        self.tell(context, "", attention={"stuck": self.ledger.count_stuck()})
        with self.warehouse.connect() as db:
            days = load_stores(stores_path()).retention.raw_documents_days
            self.ledger.run(db, "purge_results", days=days)
        self.publish(context, outcome.moved)
        if outcome.stuck:
            raise DecisionNeededError(
                f"{self.conn_id}: {len(outcome.stuck)} requests were sent again and again and Amazon has no order of them. "
                "They stay unknown. Look in Seller Central under their numbers, then set their status in "
                "fba.fulfillment_request to pending (to send them again), accepted or rejected. The next run goes on "
                "with the others",
                detail=named(outcome.stuck),
            )
        return dict(outcome.moved)


class ClaimRequestsOperator(FeedOperator):
    """Judge every pending request of a store, and claim those that are ready for one feed.

    :param fulfillment_request_numbers: a list, or a JSON list, of FR numbers; empty is all (templated)
    :param ignore_hold: send although ``hold_hours`` are not over (templated)
    :param ignore_business_hours: send outside business hours (templated)
    :param send: False: only judge, and say what would be sent (templated)
    :return: the claim
    """

    template_fields = (
        *FeedOperator.template_fields,
        "fulfillment_request_numbers",
        "ignore_hold",
        "ignore_business_hours",
        "send",
    )

    def __init__(
        self,
        *,
        fulfillment_request_numbers: list[str] | str | None = None,
        ignore_hold: bool | str = False,
        ignore_business_hours: bool | str = False,
        send: bool | str = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.fulfillment_request_numbers = fulfillment_request_numbers
        self.ignore_hold = ignore_hold
        self.ignore_business_hours = ignore_business_hours
        self.send = send

    def act(self, context: Context) -> str | None:
        """Wait for the store's turn if it is near, then claim."""
        run_type = getattr(context["dag_run"], "run_type", "manual")
        selection = Selection(
            numbers=_numbers(self.fulfillment_request_numbers),
            manual=str(getattr(run_type, "value", run_type)) == "manual",
            ignore_hold=bool(flag("ignore_hold", self.ignore_hold)),
            ignore_business_hours=bool(flag("ignore_business_hours", self.ignore_business_hours)),
            dry_run=not flag("send", self.send),
        )
        turn = None if selection.manual or selection.dry_run else next_feed_at(self.ledger)
        if turn and timedelta(0) < turn - datetime.now(UTC) <= SHORT_WAIT and not self.ledger.open_feeds():
            raise ThrottledError(f"{self.conn_id}: the next feed's turn is near", until=turn)
        claim = claim_requests(
            self.ledger, self.settings, selection, seller_id=self.hook.seller_id, run_id=context["run_id"]
        )
        moved = Counter(invalid=len(claim.invalid))
        outcome = None if claim.claim_id else "success"
        told = self._told(claim, selection)
        self.tell(context, told, outcome=outcome, moved=moved, rows_in=claim.seen)
        for number, warning in claim.warnings.items():
            if warning and number in claim.claimed:
                self.log.warning("%s: request %s: %s", self.conn_id, number, warning)
        return claim.claim_id

    def _told(self, claim: Claim, selection: Selection) -> str:
        parts = []
        if claim.claimed:
            verb = "would be sent (dry run)" if selection.dry_run else "claimed"
            parts.append(f"{len(claim.claimed)} requests {verb}: {named(claim.claimed)}.")
        if claim.invalid:
            parts.append(f"{len(claim.invalid)} invalid: {named(list(claim.invalid))}.")
        waiting = len(claim.waiting.keys() - set(claim.claimed))
        if waiting:
            parts.append(f"{waiting} wait; waiting_reason says why.")
        if selection.numbers:
            judged = {*claim.claimed, *claim.invalid, *claim.waiting}
            parts += self._not_pending([number for number in selection.numbers if number not in judged])
        return " ".join(parts) or "No request is pending."

    def _not_pending(self, numbers: list[str]) -> list[str]:
        if not numbers:
            return []
        with self.warehouse.connect() as db:
            found = {row["fr_number"]: row["status"] for row in self.ledger.run(db, "statuses", numbers=numbers)}
        by_status: dict[str, list[str]] = {}
        for number in numbers:
            by_status.setdefault(found.get(number, "not known to this store"), []).append(number)
        return [f"Asked for, but {status}: {named(told)}." for status, told in by_status.items()]


class _ClaimedOperator(FeedOperator):
    """A task that goes on with a claim.

    :param claim_id: what :class:`ClaimRequestsOperator` returned (templated)
    """

    template_fields = (*FeedOperator.template_fields, "claim_id")

    def __init__(self, *, claim_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.claim_id = claim_id

    def overtaken(self, context: Context) -> None:
        """Say that somebody else has settled this feed or gone on with it."""
        self.tell(context, "Another run has taken over this feed.", outcome="success")


class UploadFeedOperator(_ClaimedOperator):
    """Write the claimed requests as XML and upload them.

    Ask for a document, upload, write that down: one task, because the upload address lives five minutes. If it dies
    before the last step, it begins with a new document.

    :return: the claim
    """

    def act(self, context: Context) -> str | None:
        """Build, upload, write down."""
        feed = self.ledger.get(self.claim_id)
        if feed["settled_at"] or feed["submit_started_at"]:
            self.overtaken(context)
            return None
        if feed["uploaded_at"]:
            return self.claim_id
        built = build_order_feed(self.hook.seller_id, self.ledger.content(self.claim_id), self.settings)
        requests = self.ledger.requests(self.claim_id)
        claimed = {row["message_id"]: row["fr_number"] for row in requests}
        if built.messages != claimed or {row["seller_id"] for row in requests} != {self.hook.seller_id}:
            raise FeedError(
                f"{self.conn_id}: the feed would not hold what was claimed, because stores.yaml or the connection has "
                "changed. The next run claims anew"
            )
        document_id, url = self.hook.create_feed_document(CONTENT_TYPE)
        self.hook.upload_feed_document(url, built.document, CONTENT_TYPE)
        if not self.ledger.uploaded(self.claim_id, document_id):
            self.overtaken(context)
            return None
        self.log.info("%s: uploaded %d requests, %d bytes.", self.conn_id, len(claimed), len(built.document))
        return self.claim_id


class SubmitFeedOperator(_ClaimedOperator):
    """Submit the uploaded feed, once: createFeed is called only by who wrote down that he is about to.

    :return: the claim
    :raises RequestRefusedError: Amazon refused it; the requests are pending again
    """

    def act(self, context: Context) -> str | None:
        """Write down the intent, call createFeed, write down its id."""
        with self.ledger.alone():
            document_id = self.ledger.begin_submit(self.claim_id)
            if document_id is None:
                return self._go_on(context)
            try:
                feed_id = self.hook.create_feed(FEED_TYPE, document_id)
            except LostAnswerError:
                self._lost(context)
                return None
            except (ThrottledError, UnavailableError):
                # Nothing was made: the quota, or no access token could be had.
                self.ledger.take_back_submit(self.claim_id)
                raise
            except (RequestRefusedError, CredentialsError):
                released = self.ledger.refused(self.claim_id)
                self.log.error("%s: %d requests are pending again.", self.conn_id, released)
                raise
            self.ledger.submitted(self.claim_id, feed_id)
        count = self.ledger.get(self.claim_id)["message_count"]
        self.tell(context, f"{count} requests submitted as feed {feed_id}.")
        return self.claim_id

    def _go_on(self, context: Context) -> str | None:
        feed = self.ledger.get(self.claim_id)
        if feed["settled_at"]:
            self.overtaken(context)
            return None
        if feed["feed_id"]:
            return self.claim_id
        if feed["submit_started_at"] is None:
            raise AssertionError("a feed is submitted only after its upload")
        self._lost(context)  # begun before, and died before the answer
        return None

    def _lost(self, context: Context) -> None:
        lost = self.ledger.lost(self.claim_id)
        told = (
            f"Amazon did not answer createFeed: {lost} requests are unknown. The next runs look for their orders at Amazon, "
            "and send again only what is certainly not there."
        )
        self.tell(context, told if lost else "", outcome="success", moved=Counter(unknown=lost))


class WaitForFeedOperator(_ClaimedOperator):
    """Wait, deferred, until Amazon has processed the feed; one that takes longer is settled by the next run.

    :param patience: how long this run waits, four hours if not said, so that one slow store does not hold up the next run of all others
    :return: the claim
    """

    def __init__(self, *, patience: timedelta | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patience = PATIENCE if patience is None else patience

    def act(self, context: Context) -> str | None:
        """Wait, unless it is over already."""
        feed = self.ledger.get(self.claim_id)
        if feed["settled_at"] or not feed["feed_id"]:
            self.overtaken(context)
            return None
        if feed["finished_at"]:
            return self.claim_id
        return self.wait_for("feed", feed["feed_id"], self.patience)

    def wake(self, context: Context, event: dict[str, Any]) -> str | None:
        """Write down what the trigger saw."""
        if not event.get("id"):
            return self.act(context)
        state = event.get("state") or self.hook.get_feed(event["id"])
        status = self.ledger.note(self.claim_id, state)
        if status in UNFINISHED:
            count = self.ledger.get(self.claim_id)["message_count"]
            self.tell(context, f"{count} requests wait for feed {event['id']}.", outcome="success")
            return None
        return self.claim_id


class RecordFeedOperator(_ClaimedOperator):
    """Read the processing report and write down what became of each request.

    :return: how many requests came to each status
    """

    def act(self, context: Context) -> dict[str, int] | None:
        """Settle the feed, as the next run would."""
        with self.ledger.alone():
            feed = self.ledger.get(self.claim_id)
            if feed["settled_at"]:
                self.overtaken(context)
                return None
            with self.telling(context) as outcome:
                settle_feed(self.hook, self.ledger, feed, outcome)
        self.tell(context, "", outcome="success")
        self.publish(context, outcome.moved)
        self.log.info("%s: %s.", self.conn_id, counted(outcome.moved) or "nothing changed")
        return {status: number for status, number in outcome.moved.items() if number}


class SummariseRequestsOperator(SummariseRunOperator):
    """Summarise as every DAG does, and say so if there are requests that no run looks at.

    Their store is not named: it is a text of another system, and could be anything.
    """

    def execute(self, context: Context) -> dict[str, str]:
        """Look for them, then summarise."""
        if self.stores:
            self._look_for_strays(context)
        return super().execute(context)

    def _look_for_strays(self, context: Context) -> None:
        known = {"known": list(load_stores(stores_path()).stores), "reason": STRAY}
        key = {"dag_id": self.dag_id, "run_id": context["run_id"], "store": NO_STORE}
        with Warehouse(self.warehouse_conn_id).connect() as db:
            ((number,),) = db.execute(statements("fulfillment")["of_no_store"], known)
            if number:
                told = {
                    "summary": f"{number} requests wait for ever: {STRAY}.",
                    "attention": counts({"of_no_store": number}),
                }
                row = {"rows_in": number, "rows_rejected": 0, "rows_changed": 0, "outcome": "skipped", "failure": None}
                db.execute(statements("ledger")["begin_run"], key)
                db.execute(statements("ledger")["finish_run"], {**key, **row, **told})
                self.stores = [*self.stores, NO_STORE]


def _numbers(given: list[str] | str | None) -> tuple[str, ...]:
    try:
        numbers = json.loads(given) if isinstance(given, str) and given else given or []
    except ValueError:
        numbers = None
    if not isinstance(numbers, list) or not all(isinstance(number, str) for number in numbers):
        raise ValueError("fulfillment_request_numbers must be a list of FR numbers (texts), or the same as JSON")
    return tuple(dict.fromkeys(numbers))
