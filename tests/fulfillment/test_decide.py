"""What a person decides about a request: each state and each action, two people at once, and a run that is faster."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from fba_operators.errors import UnavailableError
from fba_operators.fulfillment import decide as module
from fba_operators.fulfillment.choices import ACTIONS, choice, choices
from fba_operators.fulfillment.decide import decide
from fba_operators.warehouse import statements
from tests.deciding import BECOMES, STATES, requests_in, rows, timeline
from tests.sending import PERSONAL
from tests.stores import STORE


@pytest.fixture
def add(warehouse_url):
    """Put in a request as it is in a state of ``STATES``."""
    with requests_in(warehouse_url) as requests:
        yield requests


def look(warehouse, number="FR-1"):
    with warehouse.connect() as db:
        return module.look(db, STORE, number)


def click(warehouse, action, seen, actor="ann"):
    return decide(warehouse, STORE, "FR-1", action, actor=actor, seen=seen.digest)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("state", STATES)
def test_each_action_in_each_state(warehouse, sql, add, state, action):
    how, allowed = STATES[state]
    add(**how)
    seen = look(warehouse)
    offered = choice(seen, action)
    before = rows(sql)
    outcome = click(warehouse, action, seen)
    if action not in allowed:
        assert offered.refusal
        assert not offered.says
        assert not outcome.done
        assert offered.refusal in outcome.sentence
        assert rows(sql) == before
        return
    assert not offered.refusal
    assert offered.says
    assert outcome.done, outcome.sentence
    (status, cancel, approved_by) = sql(
        "SELECT status, cancel_requested_at IS NOT NULL, approved_by FROM fba.fulfillment_request WHERE fr_number = 'FR-1'"
    ).fetchone()
    assert status == BECOMES.get(action, how["status"])
    assert cancel == (action == "cancel" or (action == "acknowledge" and "cancel_requested_at" in how))
    assert approved_by == ("ann" if action == "approve" else None)
    told = [each for each in timeline(sql) if each[1]]
    assert {(actor, source) for _, actor, source in told} == {("ann", "merchant")}
    expected = {"approve": "approved", "cancel": "cancel_requested", "resend": "resent"}.get(action, "set_by_hand")
    assert told[0][0] == expected
    if action == "resend":
        assert outcome.fr_number == "FR-1-2"
        assert timeline(sql, "FR-1-2") == [("created", "ann", "merchant")]
    again = click(warehouse, action, seen)
    assert not again.done, "the same click twice"


def test_seen_takes_away_only_what_was_seen(warehouse, sql, add):
    add(status="rejected")
    seen = look(warehouse)
    sql("SET session_replication_role = replica")
    sql("UPDATE fba.fulfillment_request SET resolved_at = now() - interval '1 minute' WHERE fr_number = 'FR-1'")
    outcome = click(warehouse, "acknowledge", seen)
    assert not outcome.done
    assert look(warehouse).needs == ["rejected"]


def test_what_cannot_be_undone_is_said_before(warehouse, add):
    for state, (how, allowed) in STATES.items():
        number = f"W-{len(state)}-{len(allowed)}-{list(STATES).index(state)}"
        if how.get("carried") or how.get("asked") or how.get("copy"):
            continue
        add(number, **how)
        for each in choices(look(warehouse, number)):
            if each.action in ("resend", "decide-pending", "decide-rejected") and not each.refusal:
                assert "two" in each.warning
            if each.action == "decide-accepted" and not each.refusal:
                assert "cannot be taken back" in each.warning


def test_nothing_that_is_shown_is_personal(warehouse, add):
    add(status="rejected", status_reason="Wilhelmina Secret, 77 Hidden Lane is not an address")
    seen = look(warehouse)
    text = str(seen) + str(choices(seen))
    assert not [
        value for name, value in PERSONAL.items() if name not in ("ship_to_country", "ship_to_state") and value in text
    ]


@pytest.mark.parametrize(
    "action", ["approve", "cancel", "pending", "resend", "acknowledge", "decide-pending", "decide-accepted"]
)
def test_of_two_people_who_click_at_once_one_wins(warehouse, sql, add, action):
    state = next(name for name, (_, allowed) in STATES.items() if action in allowed and (name != "pending"))
    add(**STATES[state][0])
    before = len(timeline(sql))
    seen = look(warehouse)
    start = threading.Barrier(2)

    def person(name):
        start.wait()
        return click(warehouse, action, seen, name)

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(person, ["ann", "ben"]))
    assert [each.done for each in outcomes].count(True) == 1
    (lost,) = [each for each in outcomes if not each.done]
    assert "faster" in lost.sentence
    assert "FR-1 of amazon_us is now" in lost.sentence
    winner = "ann" if outcomes[0].done else "ben"
    assert [actor for _, actor, _ in timeline(sql)[before:]] == [winner]
    assert sql("SELECT count(*) FROM fba.fulfillment_request WHERE resend_of IS NOT NULL").fetchone()[0] == (
        action == "resend"
    )


def test_a_request_that_a_run_claims_between_look_and_click(shop, warehouse, sql):
    shop.add("FR-1")
    seen = look(warehouse)
    shop.send(until="claim")
    before = rows(sql)
    outcome = click(warehouse, "cancel", seen)
    assert not outcome.done
    assert outcome.sentence == (
        "Nothing was done: somebody or a run was faster. FR-1 of amazon_us is now sending. Look at it, and decide again."
    )
    assert rows(sql) == before
    assert click(warehouse, "cancel", look(warehouse)).done


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE fba.fulfillment_request_item SET quantity = 9",
        "UPDATE fba.fulfillment_request SET ship_to_name = 'Another'",
        "UPDATE fba.fulfillment_request SET deliver_by = now()",
        "UPDATE fba.fulfillment_quote SET fee = 99",
        "UPDATE fba.fulfillment_quote SET chosen = false",
    ],
)
def test_an_approval_is_for_what_was_seen(warehouse, sql, add, change):
    add(**STATES["needs approval"][0])
    seen = look(warehouse)
    sql(change)
    outcome = click(warehouse, "approve", seen)
    assert not outcome.done
    assert "faster" in outcome.sentence
    assert sql("SELECT approved_at FROM fba.fulfillment_request").fetchone() == (None,)


def test_what_the_runs_rewrite_while_it_waits_does_not_lose_the_click(warehouse, sql, add, monkeypatch):
    add(**STATES["needs approval"][0])
    seen = look(warehouse)
    add.quote("FR-1", "12.30")
    add.db.execute(
        "UPDATE fba.fulfillment_request SET waiting_reason = 'otherwise', looked_up_at = now(), attempts = 1"
    )
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")  # another worker's session may have another one
    assert click(warehouse, "approve", seen).done
    assert sql("SELECT approved_by, approved_fee::float FROM fba.fulfillment_request").fetchone() == ("ann", 12.3)


def warehouse_of(add):
    return add.db.info.dsn


def test_a_cancellation_is_taken_back_with_the_status_and_that_is_said(warehouse, sql, add):
    add(**STATES["invalid, cancelled before it was sent"][0])
    seen = look(warehouse)
    assert "cancellation is taken back" in choice(seen, "pending").says
    assert click(warehouse, "pending", seen).done
    assert [what for what, _, _ in timeline(sql)][-2:] == ["set_by_hand", "set_by_hand"]


def test_a_request_that_is_gone(warehouse, sql, add):
    add()
    seen = look(warehouse)
    sql("DELETE FROM fba.fulfillment_request_item")
    sql("DELETE FROM fba.fulfillment_request")
    assert look(warehouse) is None
    outcome = click(warehouse, "cancel", seen)
    assert not outcome.done
    assert "there is no request FR-1 of amazon_us any more" in outcome.sentence


def test_a_request_that_another_session_holds(warehouse, add, monkeypatch):
    add()
    seen = look(warehouse)
    real = statements.statement
    monkeypatch.setattr(statements, "statement", lambda name: real(name).replace(b"'5s'", b"'200ms'"))
    with psycopg.connect(warehouse_of(add)) as db:
        db.execute("SELECT FROM fba.fulfillment_request FOR UPDATE")
        with pytest.raises(UnavailableError, match="nothing of this step was written"):
            click(warehouse, "cancel", seen)
    assert click(warehouse, "cancel", seen).done


def test_a_decision_names_somebody(warehouse, sql, add):
    add()
    seen = look(warehouse)
    before = rows(sql)
    with pytest.raises(ValueError, match="names nobody"):
        click(warehouse, "cancel", seen, "")
    with pytest.raises(KeyError):
        click(warehouse, "delete", seen)
    assert rows(sql) == before


def test_the_databases_own_rules_decide_last(warehouse, sql, add, monkeypatch):
    """Whatever the words say: here they allow everything."""
    add(**STATES["submitted"][0])
    seen = look(warehouse)
    from fba_operators.fulfillment import choices as words

    monkeypatch.setattr(module, "choice", lambda request, action: words.Choice(action, action))
    before = rows(sql)
    outcome = click(warehouse, "decide-accepted", seen)
    assert not outcome.done
    assert "the database refuses it. Request FR-1 of amazon_us: the column status cannot be set" in outcome.sentence
    assert "CONTEXT" not in outcome.sentence
    assert rows(sql) == before


def test_no_name_stays_in_the_session(warehouse, sql, add):
    """A pooler gives the session to somebody else."""
    add()
    with warehouse.session():
        assert click(warehouse, "cancel", look(warehouse)).done
        with warehouse.connect() as db:
            assert db.execute("SELECT current_setting('fba.actor', true), fba.is_product()").fetchone() == ("", True)


def test_a_program_that_decides_for_people_may_say_for_whom(sql, add):
    add()
    sql("BEGIN")
    sql("SELECT set_config('fba.actor', 'Ann', true)")
    sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    sql("COMMIT")
    sql("UPDATE fba.fulfillment_request SET cancel_requested_at = NULL")
    assert [actor for _, actor, _ in timeline(sql)] == [None, "Ann", None]


def test_a_request_and_its_copies_are_not_sent_side_by_side(sql, add):
    """Rejected, sent again, the copy rejected too: then either the first becomes pending, or a second copy is made."""
    add(status="rejected")
    assert sql("SELECT fba.resend(%s, 'FR-1')", STORE).fetchone() == ("FR-1-2",)
    for status in ("invalid", "pending", "sending", "submitted", "rejected"):
        add.db.execute("UPDATE fba.fulfillment_request SET status = %s WHERE fr_number = 'FR-1-2'", (status,))
    with psycopg.connect(warehouse_of(add)) as one, ThreadPoolExecutor(1) as pool:
        one.execute("UPDATE fba.fulfillment_request SET status = 'pending' WHERE fr_number = 'FR-1'")
        copy = pool.submit(lambda: sql("SELECT fba.resend(%s, 'FR-1-2')", STORE).fetchone())
        with pytest.raises(TimeoutError):
            copy.result(timeout=0.5)
        one.commit()
        with pytest.raises(psycopg.errors.RaiseException, match="sent again already"):
            copy.result()
    assert sql("SELECT fr_number FROM fba.fulfillment_request WHERE status = 'pending'").fetchall() == [("FR-1",)]
