"""What a person does in the desk, by HTTP against Airflow's own app: in each state, two people at once, and a run that is faster."""

from __future__ import annotations

import html
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest

from devstack.airflow import warehouse_connection
from fba_operators.desk.actions import RUNS
from fba_operators.desk.actions import router as actions_router
from fba_operators.fulfillment.choices import ACTIONS
from fba_operators.fulfillment.request import NEEDS_APPROVAL
from fba_operators.warehouse import statements
from tests.deciding import BECOMES, STATES, requests_in, rows, timeline
from tests.helpers import build_dag, register
from tests.stores import STORE

REQUEST = f"store={STORE}&number=FR-1"
FORM = re.compile(r'<form method="post" action="([^"]+)"')
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
INVENTORY = "fba_get_inventory"


@pytest.fixture
def add(warehouse_url):
    with requests_in(warehouse_url) as requests:
        yield requests


@pytest.fixture
def user(browse):
    """Somebody who may trigger DAGs; the name in Airflow is "user"."""
    return browse("user")


def form_of(page):
    """The address of a page's form, or None."""
    found = FORM.search(page.text)
    return "/fba/" + html.unescape(found[1]) if found else None


def look(client, address):
    page = client.get(f"/fba/{address}")
    assert page.status_code == 200, page.text
    return page


def send(client, form):
    """Send a form as a browser does, and return the page that follows."""
    answer = client.post(form, headers=SAME_ORIGIN)
    assert answer.status_code == 303, answer.text
    return answer, client.get(f"/fba/{answer.headers['location'].removeprefix('./')}")


def notice(page):
    """Whether something was done, and the sentence above the page."""
    found = re.search(r'<p class="notice (good|bad)" role="status">(.*?)</p>', page.text, re.DOTALL)
    assert found, page.text
    return found[1] == "good", html.unescape(found[2])


# One request


@pytest.mark.parametrize("state", STATES)
def test_what_is_offered_is_what_can_be_done(user, sql, add, state):
    how, allowed = STATES[state]
    add(**how)
    page = look(user, f"request?{REQUEST}")
    offered = re.findall(r"decide\?store=amazon_us&amp;number=FR-1&amp;action=([a-z-]+)", page.text)
    assert set(offered) == allowed
    before = rows(sql)
    for action in ACTIONS:
        asked = look(user, f"decide?{REQUEST}&action={action}")
        assert bool(form_of(asked)) == (action in allowed)
        assert ("This cannot be done now." in asked.text) == (action not in allowed)
        assert "What it will do" in asked.text or action not in allowed
    assert rows(sql) == before, "looking changes nothing"


@pytest.mark.parametrize(
    ("state", "action"), [(state, action) for state, (_, allowed) in STATES.items() for action in sorted(allowed)]
)
def test_an_action_is_done_once_under_the_users_name(user, sql, add, ask_airflow, state, action):
    how, _ = STATES[state]
    add(**how)
    form = form_of(look(user, f"decide?{REQUEST}&action={action}"))
    answer, page = send(user, form)
    done, sentence = notice(page)
    assert done, sentence
    assert page.status_code == 200
    where = parse_qs(urlsplit(answer.headers["location"]).query)
    assert where["number"] == ["FR-1-2" if action == "resend" else "FR-1"]
    (status,) = sql("SELECT status FROM fba.fulfillment_request WHERE fr_number = 'FR-1'").fetchone()
    assert status == BECOMES.get(action, how["status"])
    assert {actor for _, actor, _ in timeline(sql) if actor} == {"user"}
    assert "<bdi>user</bdi>" in look(user, f"request?{REQUEST}").text, "the timeline names who decided"
    (logged,) = ask_airflow("eventLogs", event="fba_desk_decide", order_by="-event_log_id", limit=1)["event_logs"]
    assert logged["owner"] == "user"
    assert f'"action": "{action}"' in logged["extra"]
    after = rows(sql)
    done, sentence = notice(send(user, form)[1])
    assert not done
    assert "faster" in sentence
    assert rows(sql) == after


def test_what_is_approved_waits_for_the_next_run_and_no_more_for_somebody(user, add):
    add(asked=True, waiting_reason=f"{NEEDS_APPROVAL}: fee 12.30 USD is above 10.00")
    assert f"{NEEDS_APPROVAL}: fee 12.30 USD" in look(user, f"request?{REQUEST}").text
    page = send(user, form_of(look(user, f"decide?{REQUEST}&action=approve")))[1]
    assert re.findall("<dt>Waits</dt><dd>(.*?)</dd>", page.text) == ["for the next run: it is approved"]


def test_a_decision_that_no_warehouse_takes_says_that_nothing_was_done(user, add, warehouse_url, monkeypatch):
    add()
    form = form_of(look(user, f"decide?{REQUEST}&action=cancel"))
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection("postgresql://postgres@127.0.0.1:9/none"))
    answer = user.post(form, headers=SAME_ORIGIN)
    assert answer.status_code == 503
    assert "The warehouse does not answer; nothing was done." in answer.text
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(warehouse_url))
    assert notice(send(user, form)[1])[0]


@pytest.mark.parametrize("action", ACTIONS)
def test_what_is_refused_is_told_and_not_an_error(user, sql, add, action):
    """A form that was open when something else happened."""
    state = next(name for name, (_, allowed) in STATES.items() if action in allowed)
    add(**STATES[state][0])
    form = form_of(look(user, f"decide?{REQUEST}&action={action}"))
    add.db.execute("SET fba.writer = ''")
    add.db.execute("UPDATE fba.fulfillment_request SET acknowledged_at = now(), cancel_requested_at = '2026-01-03'")
    before = rows(sql)
    done, sentence = notice(send(user, form)[1])
    assert not done
    assert sentence.startswith("Nothing was done: somebody or a run was faster. FR-1 of amazon_us is now ")
    assert rows(sql) == before


@pytest.mark.parametrize("action", ["approve", "cancel", "resend", "decide-pending"])
def test_of_two_people_who_send_the_same_form_one_wins(browse, sql, add, action):
    state = next(name for name, (_, allowed) in STATES.items() if action in allowed and name != "pending")
    add(**STATES[state][0])
    people = [browse("user"), browse("admin")]
    forms = [form_of(look(person, f"decide?{REQUEST}&action={action}")) for person in people]
    assert forms[0] == forms[1]
    start = threading.Barrier(2)

    def click(person):
        start.wait()
        return send(person, forms[0])

    with ThreadPoolExecutor(2) as pool:
        pages = [page for _, page in pool.map(click, people)]
    told = [notice(page) for page in pages]
    assert [done for done, _ in told].count(True) == 1
    winner = "user" if told[0][0] else "admin"
    assert {actor for _, actor, _ in timeline(sql) if actor} == {winner}


def test_a_run_that_claims_the_request_between_look_and_click(shop, user, sql):
    shop.add("FR-1")
    form = form_of(look(user, f"decide?{REQUEST}&action=cancel"))
    shop.send(until="claim")
    done, sentence = notice(send(user, form)[1])
    assert not done
    assert sentence.endswith("FR-1 of amazon_us is now sending. Look at it, and decide again.")
    assert shop.get("FR-1").cancel_requested_at is None
    form = form_of(look(user, f"decide?{REQUEST}&action=cancel"))
    assert notice(send(user, form)[1])[0]
    assert shop.get("FR-1").cancel_requested_at is not None


def test_nobody_who_may_only_read_sees_a_form_or_sends_one(browse, user, sql, add):
    add(**STATES["needs approval"][0])
    viewer = browse("viewer")
    form = form_of(look(user, f"decide?{REQUEST}&action=approve"))
    page = viewer.get(f"/fba/request?{REQUEST}")
    assert page.status_code == 200
    assert "decide?" not in page.text
    before = rows(sql)
    assert viewer.post(form, headers=SAME_ORIGIN).status_code == 403
    assert user.post(form).status_code == 403, "without a word of where it came from"
    assert user.get(form).status_code == 200, "a link shows the question, and does nothing"
    assert rows(sql) == before


def test_each_page_with_a_form_is_closed_to_who_may_only_read(browse):
    asked = {
        "/decide": f"decide?{REQUEST}&action=cancel",
        "/run": f"run?dag_id={INVENTORY}",
        "/accept": f"accept?store={STORE}",
    }
    paths = {route.path for route in actions_router.routes if "GET" in route.methods}
    assert paths == set(asked)
    for address in asked.values():
        assert browse("viewer").get(f"/fba/{address}").status_code == 403
        assert browse("nobody").get(f"/fba/{address}").status_code == 403
        assert browse(None).get(f"/fba/{address}").status_code == 401


@pytest.mark.parametrize(
    ("address", "form"),
    [
        *(
            (address, f"{address}&seen=x")
            for address in (f"decide?{REQUEST}&action=delete", "decide?store=x&number=y&action=cancel")
        ),
        ("run?dag_id=other", "run-other?seen=x"),
    ],
)
def test_there_is_nothing_else_to_decide(user, address, form):
    assert user.get(f"/fba/{address}").status_code == 404
    assert user.post(f"/fba/{form}", headers=SAME_ORIGIN).status_code in (303, 404)


def test_a_notice_of_somebody_elses_says_nothing(user, add):
    add()
    page = look(user, f"request?{REQUEST}&said=WyJTZW50IHlvdXIgbW9uZXkiLCB0cnVlXQ.forged")
    assert 'role="status"' not in page.text


def test_nothing_personal_is_on_a_page_with_a_form(user, add):
    from tests.sending import PERSONAL

    add(status="rejected", status_reason="Wilhelmina Secret of 77 Hidden Lane")
    for action in ACTIONS:
        text = look(user, f"decide?{REQUEST}&action={action}").text
        assert not [
            value
            for name, value in PERSONAL.items()
            if name not in ("ship_to_state", "ship_to_country") and value in text
        ]


def test_a_request_that_is_held_is_told_in_words(user, add, warehouse_url, monkeypatch):
    import psycopg

    from fba_operators.warehouse import statements

    add()
    form = form_of(look(user, f"decide?{REQUEST}&action=cancel"))
    real = statements.statement
    monkeypatch.setattr(statements, "statement", lambda name: real(name).replace(b"'5s'", b"'200ms'"))
    with psycopg.connect(warehouse_url) as db:
        db.execute("SELECT FROM fba.fulfillment_request FOR UPDATE")
        answer = user.post(form, headers=SAME_ORIGIN)
    assert answer.status_code == 503
    assert "nothing of this step was written" in answer.text


def test_a_warehouse_that_is_gone_does_not_claim_that_nothing_was_done(user, add, monkeypatch):
    add()
    form = form_of(look(user, f"decide?{REQUEST}&action=cancel"))
    real = statements.statement
    cut = {"fulfillment.decide_cancel": b"SELECT pg_terminate_backend(pg_backend_pid())"}
    monkeypatch.setattr(statements, "statement", lambda name: cut.get(name) or real(name))
    answer = user.post(form, headers=SAME_ORIGIN)
    assert answer.status_code == 503
    assert "it is not known whether this was done" in answer.text


# A run of a DAG


@pytest.fixture
def dags(airflow_database, airflow_sql):
    """The DAGs as Airflow knows them, switched on and without runs: ``dags("fba_get_inventory")``."""

    def know(*dag_ids):
        for dag_id in dag_ids:
            register(build_dag(dag_id))
            airflow_sql("UPDATE dag SET is_paused = false, is_stale = false WHERE dag_id = %s", dag_id)
            airflow_sql("DELETE FROM dag_run WHERE dag_id = %s", dag_id)

    yield know
    airflow_sql("DELETE FROM dag_run")


@pytest.fixture
def runs(ask_airflow):
    """Each run's id, state, user, params, whether it has a logical date, and by what it was started."""

    def told(dag_id):
        found = ask_airflow(f"dags/{dag_id}/dagRuns", order_by="id")["dag_runs"]
        return [
            (
                *(run["dag_run_id"], run["state"], run["triggering_user_name"], run["conf"]),
                *(run["logical_date"] is not None, run["triggered_by"]),
            )
            for run in found
        ]

    return told


@pytest.mark.parametrize("dag_id", RUNS)
def test_a_run_is_started_once_under_the_users_name(user, dags, runs, airflow_sql, ask_airflow, dag_id):
    dags(dag_id)
    asked = look(user, f"run?dag_id={dag_id}")
    form = form_of(asked)
    assert ("can only be cancelled" in asked.text) == (dag_id == "fba_send_fulfillment_requests")
    done, sentence = notice(send(user, form)[1])
    assert done, sentence
    ((run_id, state, name, conf, dated, by),) = runs(dag_id)
    assert run_id in sentence
    assert (state, name, conf, dated, by) == ("queued", "user", {}, True, "ui")
    (logged,) = ask_airflow("eventLogs", event="fba_desk_run", order_by="-event_log_id", limit=1)["event_logs"]
    assert (logged["owner"], logged["dag_id"]) == ("user", dag_id)
    done, sentence = notice(send(user, form)[1])
    assert not done
    assert "under way" in sentence
    airflow_sql("UPDATE dag_run SET state = 'success'")
    done, sentence = notice(send(user, form)[1])
    assert not done
    assert "faster" in sentence
    assert len(runs(dag_id)) == 1
    assert form_of(look(user, f"run?dag_id={dag_id}")) != form


def test_of_two_people_who_start_a_run_one_does(browse, dags, runs):
    dags(INVENTORY)
    people = [browse("user"), browse("admin")]
    form = form_of(look(people[0], f"run?dag_id={INVENTORY}"))
    start = threading.Barrier(2)

    def click(person):
        start.wait()
        return notice(send(person, form)[1])

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(click, people))
    assert [done for done, _ in told].count(True) == 1, told
    assert [run[2] for run in runs(INVENTORY)] == ["user" if told[0][0] else "admin"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE dag SET is_paused = true", "is paused"),
        ("UPDATE dag SET is_stale = true", "Airflow does not know"),
        ("UPDATE dag SET has_import_errors = true", "import error"),
    ],
)
def test_a_run_that_would_not_begin_is_refused_with_a_sentence(user, dags, runs, airflow_sql, change, why):
    dags(INVENTORY)
    form = form_of(look(user, f"run?dag_id={INVENTORY}"))
    airflow_sql(f"{change} WHERE dag_id = %s", INVENTORY)
    try:
        asked = look(user, f"run?dag_id={INVENTORY}")
        assert form_of(asked) is None
        assert why in asked.text
        done, sentence = notice(send(user, form)[1])
        assert not done
        assert why in sentence
        assert runs(INVENTORY) == []
    finally:
        airflow_sql("UPDATE dag SET is_paused = false, is_stale = false, has_import_errors = false")


REFUSED = (
    "INSERT INTO fba.report (request_id, store, report_id, report_type, marketplace_id, status, requested_at, refused_at)"
    " VALUES (gen_random_uuid(), %s, %s, 'GET_AFN_INVENTORY_DATA', 'M', 'DONE', now() - %s::interval, now())"
)


def test_zeroed_stock_is_accepted_for_one_store_once(user, sql, dags, runs):
    dags(INVENTORY)
    sql(REFUSED, STORE, "A7", "1 hour")
    sql(
        "INSERT INTO fba.run (dag_id, run_id, store, outcome, finished_at, failure) VALUES (%s, 'r', %s, 'failed', now(), %s)",
        *(INVENTORY, STORE, "merge: 490 of 1000 SKUs in stock would drop to 0"),
    )
    assert f"accept?store={STORE}" in look(user, "").text
    asked = look(user, f"accept?store={STORE}")
    assert "Refused AFN report" in asked.text
    assert "A7" in asked.text
    assert "490 of 1000 SKUs" in asked.text
    assert "Compare with Seller Central first" in asked.text
    form = form_of(asked)
    assert notice(send(user, form)[1])[0]
    ((_, _, name, conf, _, _),) = runs(INVENTORY)
    assert (name, conf) == ("user", {"stores": [STORE], "accept_zeroed_stock": True})
    assert not notice(send(user, form)[1])[0]
    assert len(runs(INVENTORY)) == 1


@pytest.mark.parametrize("meanwhile", ["refused again", "applied"])
def test_zeroed_stock_that_is_not_refused_any_more_is_not_accepted(user, sql, dags, runs, meanwhile):
    dags(INVENTORY)
    assert "there is nothing to accept" in look(user, f"accept?store={STORE}").text
    sql(REFUSED, STORE, "A7", "1 hour")
    form = form_of(look(user, f"accept?store={STORE}"))
    sql(REFUSED, STORE, "A8", "1 minute")
    if meanwhile == "applied":
        sql("UPDATE fba.report SET refused_at = NULL, applied_at = now() WHERE report_id = 'A8'")
    done, sentence = notice(send(user, form)[1])
    assert not done
    assert ("faster" if meanwhile == "refused again" else "nothing to accept") in sentence
    assert runs(INVENTORY) == []
