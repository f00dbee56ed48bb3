"""What waits for hours is in the run that finds it so: its number, and the age of the oldest."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowException

from fba_operators.operators import SummariseRequestsOperator
from fba_operators.runs.log import RunLog
from fba_operators.runs.summary import ATTENTION, STANDING
from fba_operators.warehouse.database import Warehouse
from tests.sending import submit, uploaded
from tests.stores import STORE


@pytest.fixture
def summarise(shop, stores_file):
    """Let a run of one of two stores end, and return its summary and what needs a person."""
    stores_file("stores: {amazon_us: , amazon_ca: }")

    def end(*, ctx=None, failure=None):
        ctx = ctx or shop.context()
        operator = SummariseRequestsOperator(task_id="summarise", stores=[STORE])
        log = RunLog(operator.dag_id, ctx["run_id"], STORE)
        with Warehouse().connect() as db:
            log.finish(db, "failed" if failure else "success", failure or "1 request claimed.", failure=failure)
        for _ in range(2):  # the second time its task was cleared
            if failure:
                with pytest.raises(AirflowException):
                    operator.execute(ctx)
            else:
                operator.execute(ctx)
        return shop.sql("SELECT summary, attention FROM fba.run WHERE run_id = %s", ctx["run_id"])[0]

    return end


def waits(shop, number, hours, store=STORE):
    shop.add(number, store=store)
    shop.sql("SET fba.writer = 'product'")
    shop.sql(
        "UPDATE fba.fulfillment_request SET created_at = now() - make_interval(mins => %s), inserted_at = created_at"
        " WHERE fr_number = %s",
        *(hours * 60 + 1, number),
    )
    shop.sql("UPDATE fba.fulfillment_request SET inserted_at = created_at WHERE fr_number = %s", number)
    shop.sql("RESET fba.writer")


def test_a_secret_that_expires_soon_is_told_by_every_run_of_its_store(shop, summarise):
    soon = "now() + interval '10 days'"
    shop.sql("INSERT INTO fba.store (store, max_stock_age_hours) VALUES (%s, 6), ('amazon_ca', 6)", STORE)
    shop.sql(f"UPDATE fba.store SET client_secret_expires_at = {soon}")
    shop.sql(f"UPDATE fba.store SET refresh_token_expires_at = {soon} WHERE store = %s", STORE)
    assert summarise() == ("1 request claimed.", {"credential_expires": 2})
    assert summarise(failure="submit: no")[1] == {"credential_expires": 2}


def test_what_is_younger_is_not_mentioned(shop, summarise):
    waits(shop, "FR-1", 5)
    assert summarise() == ("1 request claimed.", {})


def test_the_age_of_the_oldest_request_that_waits_is_told_for_the_stores_of_the_run(shop, summarise):
    waits(shop, "FR-1", 7)
    waits(shop, "FR-2", 30)
    waits(shop, "FR-3", 300, store="amazon_ca")
    assert summarise() == ("1 request claimed.\nThe oldest due request has waited 30 h.", {"waiting_long": 2})


def test_the_failure_stays_the_first_line(shop, summarise):
    waits(shop, "FR-1", 7)
    summary, _ = summarise(failure="claim: wrong")
    assert summary == "claim: wrong\nThe oldest due request has waited 7 h."


def test_a_feed_that_amazon_does_not_finish_is_counted_with_its_requests(shop, summarise):
    submit(shop, uploaded(shop, "FR-1", "FR-2"))
    shop.pass_time(3 * 60)
    assert summarise()[1] == {}
    shop.pass_time(61)
    assert summarise() == ("1 request claimed.", {"slow_feed": 2})


def test_a_request_that_is_unknown_for_hours_is_counted(shop, summarise):
    claim_id = uploaded(shop, "FR-1")
    shop.amazon.world.add_fault("createFeed", "reset_after")
    submit(shop, claim_id)
    assert shop.statuses() == {"FR-1": "unknown"}
    shop.pass_time(5 * 60)
    assert summarise()[1] == {}
    shop.pass_time(61)
    assert summarise() == ("1 request claimed.", {"unknown": 1})


def test_what_waits_is_notified_when_its_number_changes():
    assert {"waiting_long", "slow_feed", "unknown"} <= STANDING & set(ATTENTION)
