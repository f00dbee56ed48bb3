"""A feed of requests: upload, submit, wait, record."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NoReturn

from airflow.sdk import Context

from fba_operators.amazon.operations import Feed
from fba_operators.errors import (
    CredentialsError,
    LostAnswerError,
    RequestRefusedError,
    ThrottledError,
    UnavailableError,
)
from fba_operators.fulfillment.feed_xml import CONTENT_TYPE, FEED_TYPE, FeedError, build_order_feed
from fba_operators.fulfillment.ledger import MAY_SUBMIT
from fba_operators.fulfillment.left_out import LeftOut
from fba_operators.fulfillment.memory import (
    NOT_SAID,
    ask_for_relatives,
    compare_feeds,
    compare_orders,
    examine,
    look_up,
)
from fba_operators.fulfillment.request import listed_numbers
from fba_operators.fulfillment.settle import settle_feed
from fba_operators.operators.fulfillment import ClaimedOperator
from fba_operators.operators.links import DeskLink
from fba_operators.runs.summary import counted

FEED_TIMEOUT = timedelta(hours=4)  # then the next run settles the feed


class UploadFeedOperator(ClaimedOperator):
    """Write the claimed requests as XML and upload them; skipped where they go out order by order.

    Creating the document, uploading it and recording that are one task, because the upload URL expires after five
    minutes. If the task dies before the last step, it begins with a new document.

    :return: the claim
    """

    def work(self, context: Context) -> str:
        """Build, upload, record."""
        if self.orders.carries(self.claim_id) == "orders":
            self.skip()
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


class SubmitFeedOperator(ClaimedOperator):
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
            if sentences := self.left_out.sentences():
                self.add_to_summary(context, "\n".join(sentences))
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
                self._release(
                    context,
                    "a request of it, or the warehouse, changed after it was claimed, or one is to be cancelled",
                )
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

    @cached_property
    def left_out(self) -> LeftOut:
        """Orders and feeds for which Amazon fails."""
        return LeftOut()

    def _compare(self, context: Context) -> str:
        """Make sure that Amazon does not have these requests already; returns the token that proves it."""
        token, whole = compare_feeds(self.hook, self.ledger)
        if not whole:
            self._release(context, "a feed in Amazon's list cannot be read, and may hold it")
        doubt = examine(self.hook, self.ledger, self.left_out)
        requests = self.ledger.requests(self.claim_id)
        if why := next(filter(None, (doubt.why_held(row["inserted_at"]) for row in requests)), None):
            self._release(context, why)
        numbers = [row["fr_number"] for row in requests]
        doubtful = {
            row["fr_number"]
            for row in self.ledger.run_alone("fulfillment.sent_before", claim_id=self.claim_id, numbers=numbers)
        }
        orders_too = self.ledger.run_alone("fulfillment.feed_check")[0]["orders_until"]
        if orders_too:
            doubtful |= set(numbers)  # orders were sent one by one too, and no feed shows those that were forgotten
        if since := doubt.look_up_since:
            doubtful |= {
                row["fr_number"] for row in requests if not row["looked_up_at"] or row["looked_up_at"] <= since
            }
        if not_said := look_up(self.hook, self.ledger, sorted(doubtful), self.left_out):
            self._release(context, f"{NOT_SAID} {listed_numbers(not_said)}, which the next feed goes without")
        if orders_too:
            compare_orders(self.hook, self.ledger, token)
        if others := ask_for_relatives(self.hook, self.ledger, numbers, self.left_out):
            number, why = next(iter(others.items()))
            self._release(context, f"{number} has to wait: {why}")
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
        sentences = (f"Not sent, {requests} pending again: {reason}.", *self.left_out.sentences())
        self.add_to_summary(context, "\n".join(sentences), outcome="success")
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


class WaitForFeedOperator(ClaimedOperator):
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


class RecordFeedOperator(ClaimedOperator):
    """Read the processing report and record what became of each request.

    :return: how many requests came to each status
    """

    operator_extra_links = (DeskLink("requests"),)

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
