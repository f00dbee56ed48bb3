"""Waiting in the triggerer: what must not end it, when it polls, and what it must not write."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from threading import Barrier, Event
from types import SimpleNamespace

import psycopg
import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.log import _secrets_masker

from devstack.airflow import store_connection
from fba_operators.amazon import trigger as trigger_module
from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.operations import Report
from fba_operators.amazon.trigger import MAX_POLL_INTERVAL, THREADS, ProcessingTrigger
from fba_operators.warehouse.database import Warehouse
from tests import timing
from tests.amazon.wire import Wire
from tests.helpers import wait_inline
from tests.stores import AFN, STORE


def trigger_for(report_id, store=STORE):
    return ProcessingTrigger(
        conn_id=store, warehouse_conn_id="fba_warehouse", kind="report", amazon_id=report_id, patience=60
    )


def wait_for(report_id):
    return wait_inline(trigger_for(report_id))


def test_a_restart_of_the_warehouse_does_not_end_a_wait(amazon, warehouse_url, monkeypatch):
    report_id = SellingPartnerHook().create_report(AFN)
    refused = [psycopg.OperationalError("restarting"), psycopg.errors.AdminShutdown(), psycopg.errors.CrashShutdown()]
    real = Warehouse.connect

    def connect(warehouse):
        if refused:
            raise refused.pop()
        return real(warehouse)

    monkeypatch.setattr(Warehouse, "connect", connect)
    assert wait_for(report_id)["state"]["processingStatus"] == "DONE"
    assert not refused


def test_an_sql_error_ends_a_wait(amazon, warehouse_url, monkeypatch):
    def connect(warehouse):
        raise psycopg.errors.UndefinedTable

    monkeypatch.setattr(Warehouse, "connect", connect)
    with pytest.raises(psycopg.ProgrammingError):
        wait_for("1")


def test_no_url_is_logged_even_at_debug(amazon, warehouse_url, caplog):
    caplog.set_level(logging.DEBUG)
    hook = SellingPartnerHook()
    report_id = hook.create_report(AFN)
    document_id = wait_for(report_id)["state"]["reportDocumentId"]
    assert b"".join(hook.download_report(document_id).chunks)
    assert not any(secret in caplog.text for secret in ("X-Amz", "?", report_id, document_id)), caplog.text


def test_many_polls_run_at_once(amazon, warehouse_url, monkeypatch):
    all_there = Barrier(25)  # asyncio's own threads would be fewer on any machine of less than 21 cores

    def get_report(hook, report_id):
        all_there.wait(30)
        return Report.model_validate({"reportId": report_id, "processingStatus": "DONE"})

    async def together():
        stores = [f"store_{n % 7}" for n in range(all_there.parties)]
        return await asyncio.gather(*(anext(trigger_for(str(n), store).run()) for n, store in enumerate(stores)))

    for n in range(7):
        monkeypatch.setenv(f"AIRFLOW_CONN_STORE_{n}", store_connection(amazon.url))
    monkeypatch.setattr(SellingPartnerHook, "get_report", get_report)
    events = asyncio.run(together())
    assert {event.payload["state"]["processingStatus"] for event in events} == {"DONE"}


def test_waits_that_begin_together_poll_at_different_moments(amazon, warehouse_url, monkeypatch):
    pauses, polled = {}, set()

    async def sleep(seconds):
        pauses.setdefault(asyncio.current_task(), []).append(seconds)

    def get_report(hook, report_id):
        again = report_id in polled
        polled.add(report_id)
        status = "DONE" if again else "IN_PROGRESS"
        return Report.model_validate({"reportId": report_id, "processingStatus": status})

    async def together():
        return await asyncio.gather(*(anext(trigger.run()) for trigger in triggers))

    triggers = [trigger_for(str(n)) for n in range(100)]
    for trigger in triggers:
        trigger.patience, trigger.since = 7200, trigger.since - 600
    loops = SimpleNamespace(sleep=sleep, get_running_loop=asyncio.get_running_loop)
    monkeypatch.setattr("fba_operators.amazon.trigger.asyncio", loops)
    monkeypatch.setattr(SellingPartnerHook, "get_report", get_report)
    asyncio.run(together())
    first, later = [each[0] for each in pauses.values()], [pause for each in pauses.values() for pause in each[1:]]
    assert len(first) == 100
    assert min(first) < 6  # fails by chance once in five thousand million times
    assert 24 < max(first) < MAX_POLL_INTERVAL
    assert set(later) == {MAX_POLL_INTERVAL}


def test_a_wait_sends_airflow_no_token_and_few_messages(amazon, warehouse_url, monkeypatch):
    messages = []

    class Supervisor:
        def send(self, message):
            messages.append(message)

        async def asend(self, message):
            messages.append(message)

    report_id = SellingPartnerHook().create_report(AFN)
    amazon.world.expire("tokens")
    with psycopg.connect(warehouse_url) as db:
        db.execute("DELETE FROM fba.lwa_token")
    before = set(amazon.world.tokens)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor(), raising=False)
    assert wait_for(report_id)["calls"]["token"] == 1
    (token,) = set(amazon.world.tokens) - before
    assert len(messages) <= 3  # while Airflow looks the connection up
    assert not any(token in repr(message) for message in messages)
    masker = _secrets_masker()
    assert masker.redact(token) == token
    SellingPartnerHook().access_token()  # in a worker it is masked
    assert token not in masker.redact(f"a {token} b")


def test_a_store_whose_login_hangs_stops_no_other(amazon, warehouse_url, monkeypatch):
    """It has more waits than the triggerer has threads."""
    ours = SellingPartnerHook().create_report(AFN)
    timing.call_limit(monkeypatch, 5)

    async def together():
        hanging = [asyncio.create_task(anext(trigger_for(str(n), "hanging").run())) for n in range(THREADS + 8)]
        await asyncio.sleep(1)
        began = asyncio.get_running_loop().time()
        event = await anext(trigger_for(ours).run())
        taken = asyncio.get_running_loop().time() - began
        unfinished = sum(not each.done() for each in hanging)
        for each in hanging:
            each.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        return event, taken, unfinished

    with Wire() as wire:
        wire.answer("/", lambda request: [0.05] * 200)
        elsewhere = json.loads(store_connection(amazon.url, login="amzn1.another"))
        elsewhere["extra"]["token_url"] = f"{wire.url}/auth/o2/token"
        monkeypatch.setenv("AIRFLOW_CONN_HANGING", json.dumps(elsewhere))
        event, taken, unfinished = asyncio.run(together())
        assert event.payload["state"]["processingStatus"] == "DONE"
        assert taken < 3
        assert unfinished == THREADS + 8
        assert len(wire.requests) == 1  # the others wait for the token that is being fetched


def test_a_poll_that_the_warehouse_holds_up_is_given_up_and_made_anew(amazon, warehouse_url, monkeypatch):
    """The connection to it may be frozen; a call to Amazon ends by itself."""
    ours, release, polls = SellingPartnerHook().create_report(AFN), Event(), []
    poll = SellingPartnerHook.get_report

    def frozen_once(hook, report_id):
        polls.append(report_id)
        return release.wait(60) if len(polls) == 1 else poll(hook, report_id)

    monkeypatch.setattr(SellingPartnerHook, "get_report", frozen_once)
    monkeypatch.setattr(trigger_module, "POLL_SECONDS", 0.5)
    monkeypatch.setattr(trigger_module, "MARGIN", 0.1)
    try:
        event = asyncio.run(anext(trigger_for(ours).run()))
    finally:
        release.set()
    assert event.payload["state"]["processingStatus"] == "DONE"
    assert len(polls) == 2


def test_a_wait_whose_turn_never_comes_ends_with_its_patience(amazon, warehouse_url, monkeypatch):
    release = Event()
    monkeypatch.setattr(SellingPartnerHook, "get_report", lambda hook, report_id: release.wait(20))
    triggers = [trigger_for(str(n)) for n in range(6)]
    for trigger in triggers:
        trigger.patience = 1.5

    async def together():
        return await asyncio.gather(*(anext(trigger.run()) for trigger in triggers))

    began = time.monotonic()
    try:
        events = asyncio.run(together())
    finally:
        release.set()
    assert [event.payload["state"] for event in events] == [None] * 6
    assert time.monotonic() - began < 10
