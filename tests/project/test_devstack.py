"""What the development stack starts, it stops; what is slow, it waits for; what fails, it explains."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest

from devstack import demo
from devstack.__main__ import airflow_home
from devstack.client import AirflowClient, Patience
from devstack.postgres import free_port, running_postgres
from devstack.standalone import Limits, environment_file, running_airflow, until_healthy
from devstack.waiting import StackError

HEALTHY = {part: {"status": "healthy"} for part in ("metadatabase", "scheduler", "triggerer", "dag_processor")}
SLOW = Limits(total=60, silence=30, answer=0.3)
SHORT = Patience(answer=0.3, recovery=8, parsing=1, run=1)


def test_a_server_of_ours_is_gone_after_its_block():
    with running_postgres() as server, psycopg.connect(server.url("postgres")) as db:
        assert db.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.url("postgres"), connect_timeout=2)


def test_a_port_that_was_taken_in_the_meantime_is_given_up(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = iter([taken.getsockname()[1], free_port()])
        monkeypatch.setattr("devstack.postgres.free_port", lambda: next(ports))
        with running_postgres() as server, psycopg.connect(server.url("postgres")) as db:
            assert db.execute("SELECT 1").fetchone() == (1,)


def test_a_port_that_is_kept_for_a_program_is_given_to_no_other():
    port = free_port()
    with socket.socket() as anybody:
        anybody.bind(("127.0.0.1", 0))
        assert port < 32_768 <= anybody.getsockname()[1]


def test_a_port_on_which_a_program_listens_is_not_free(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        tried = [taken.getsockname()[1], free_port()]
        monkeypatch.setattr("secrets.SystemRandom.sample", lambda *_: tried)
        assert free_port() == tried[1]
        monkeypatch.setattr("secrets.SystemRandom.sample", lambda *_: tried[:1])
        with pytest.raises(StackError, match="No free port"):
            free_port()


def test_nothing_of_it_is_left_when_the_block_fails():
    left = []

    def use_and_fail():
        with running_postgres() as server:
            left.append(server)
            raise KeyError("the work failed")

    with pytest.raises(KeyError):
        use_and_fail()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(left[0].url("postgres"), connect_timeout=2)


def test_a_postgresql_that_cannot_start_is_explained():
    with (
        pytest.raises(StackError, match=r"(?s)did not start in 3 tries.*no_such_setting"),
        running_postgres({"no_such_setting": "on"}),
    ):
        raise AssertionError("it started")


class Server:
    """A real HTTP server in Airflow's place; `answers` gives each path a list of answers, the last of them for ever.

    An answer is a status and a body, and the seconds it takes.
    """

    def __init__(self, answers):
        self.answers = {key: list(each) for key, each in answers.items()}
        self.requests = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.requests.append((self.command, self.path, body))
                path = re.sub(r"devstack__[-0-9a-f]{36}", "id", self.path)  # the client chooses a run's id
                left = outer.answers[f"{self.command} {path}"]
                status, content, seconds = left.pop(0) if len(left) > 1 else left[0]
                time.sleep(seconds)
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except ConnectionError:  # the client no longer waits
                    pass

            do_GET = do_POST = do_PATCH = answer

            def log_message(self, *_):
                """Print nothing."""

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_):
                """Print nothing either: a client that goes away is what these tests are about."""

        self.make = lambda port: Quiet(("127.0.0.1", port), Handler)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    @contextmanager
    def listening(self, after=0.0):
        """Listen while the block runs, after some seconds in which connections are refused."""
        over = threading.Event()

        def serve():
            if over.wait(after):
                return
            with self.make(self.port) as server:
                thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
                thread.start()
                over.wait()
                server.shutdown()
                thread.join()

        waiting = threading.Thread(target=serve)
        waiting.start()
        try:
            yield self
        finally:
            over.set()
            waiting.join()


@contextmanager
def process(code, log):
    """A real process in Airflow's place, which writes the log."""
    with log.open("wb") as output:
        running = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=output, stderr=output)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


GROWS = "import time\nfor n in range(600): print('line', n); time.sleep(0.1)"
SILENT = "import time\nprint('one line')\ntime.sleep(60)"


def health(**parts):
    return {**HEALTHY, **{part: {"status": status} for part, status in parts.items()}}


def test_airflow_that_refuses_answers_late_and_is_half_healthy_is_waited_for(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("devstack.waiting.FIRST_LINE", 0.5)
    monkeypatch.setattr("devstack.waiting.NEXT_LINES", 0.2)
    answers = [
        (200, HEALTHY, 1.0),  # too late
        (500, b"no database yet", 0),
        (200, b"[]", 0),
        (200, health(scheduler=None, triggerer=None), 0),
        (200, health(triggerer="unhealthy"), 0),
        (200, HEALTHY, 0),
    ]
    slow = Server({"GET /api/v2/monitor/health": answers})
    with slow.listening(after=1.5), process(GROWS, tmp_path / "airflow.log") as airflow:
        until_healthy(slow.url, airflow, tmp_path / "airflow.log", SLOW)
    assert len(slow.requests) == len(answers)
    shown = capsys.readouterr().out
    assert "Airflow starts, 1 s: waiting for its API to answer" in shown
    assert "healthy: metadatabase, dag_processor; waiting for: scheduler, triggerer" in shown
    assert "healthy: metadatabase, scheduler, dag_processor; waiting for: triggerer" in shown


def test_airflow_that_ends_early_is_explained(tmp_path):
    log = tmp_path / "airflow.log"
    code = "import sys\nfor n in range(100): print('line', n)\nsys.exit('no space left')"
    with process(code, log) as airflow, pytest.raises(StackError) as raised:
        until_healthy(f"http://127.0.0.1:{free_port()}", airflow, log, SLOW)
    assert "with exit code 1, before it was healthy" in str(raised.value)
    assert "  line 99\n  no space left\n" in str(raised.value)
    assert "line 50" not in str(raised.value)
    assert str(raised.value).endswith(f"All of it is in {log}")


def test_airflow_that_never_becomes_healthy_is_given_up_at_the_limit(tmp_path):
    log = tmp_path / "airflow.log"
    slow = Server({"GET /api/v2/monitor/health": [(200, health(triggerer="unhealthy"), 0)]})
    with slow.listening(), process(GROWS, log) as airflow, pytest.raises(StackError) as raised:
        until_healthy(slow.url, airflow, log, Limits(total=3, silence=1, answer=1))
    assert "not healthy after 3 s, which is the limit" in str(raised.value)
    assert "healthy: metadatabase, scheduler, dag_processor; waiting for: triggerer." in str(raised.value)
    assert "  line 9\n" in str(raised.value)


def test_airflow_whose_log_stands_still_is_given_up_sooner(tmp_path):
    log = tmp_path / "airflow.log"
    with process(SILENT, log) as airflow, pytest.raises(StackError, match=r"for 2 s its log has not grown") as raised:
        until_healthy(f"http://127.0.0.1:{free_port()}", airflow, log, Limits(total=60, silence=2, answer=1))
    assert "one line" in str(raised.value)


NAMELESS = {"args": [""], "executable": "/bin/sh", "stdin": subprocess.PIPE}


@pytest.mark.parametrize(
    ("seconds", "how", "named"),
    [
        (2, {}, "sh -c .*of memory.*"),
        (0, {}, ".*"),
        # Linux shows an empty command line for a moment also of a process that has one, while it is ending.
        (2, NAMELESS, ".*"),
    ],
    ids=["after two seconds", "at once", "without a command line"],
)
def test_a_part_of_airflow_that_ends_is_noticed(tmp_path, seconds, how, named):
    log = tmp_path / "airflow.log"
    part = f"sleep {seconds}; echo scheduler: out of memory"
    started = {"args": ["sh", "-c", part], **how}
    code = (
        f"import subprocess\npart = subprocess.Popen(**{started!r})\n"
        f"if part.stdin: part.stdin.write({part.encode()!r}); part.stdin.close()\n{GROWS}"
    )
    reason = rf"A process of Airflow ended before all parts were healthy: {named}; waiting for its API"
    with process(code, log) as airflow, pytest.raises(StackError, match=reason):
        until_healthy(f"http://127.0.0.1:{free_port()}", airflow, log, Limits(total=60, answer=1, ended=1))
    assert "scheduler: out of memory" in log.read_text()


def test_nothing_is_left_of_an_airflow_that_cannot_start(tmp_path):
    environment = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__EXECUTOR": "none.such", "PATH": os.environ["PATH"]}
    with pytest.raises(StackError, match=r"(?s)exit code 1.*none"), running_airflow(environment, tmp_path):
        raise AssertionError("it started")
    assert not environment_file(tmp_path).exists()
    assert not (tmp_path / "passwords.json").exists()


LOGIN = {"POST /auth/token": [(201, {"access_token": "t"}, 0)]}
RUNS = "/api/v2/dags/a_dag/dagRuns"


@pytest.fixture
def home(tmp_path):
    (tmp_path / "passwords.json").write_text('{"admin": "secret"}')
    (tmp_path / "airflow.log").write_text("scheduler | killed\n")
    return tmp_path


def test_a_client_waits_for_an_api_that_refuses_hangs_and_fails(home, capsys):
    slow = Server(
        {
            **LOGIN,
            "GET /api/v2/dags": [(200, {}, 1), (503, b"busy", 0), (200, {"dags": []}, 0)],
            "PATCH /api/v2/dags/a_dag": [(200, {"is_paused": False}, 0.8), (200, {"is_paused": False}, 0)],
        }
    )
    with slow.listening(after=1.5):
        airflow = AirflowClient(slow.url, home, SHORT)
        assert airflow.call("GET", "/dags") == {"dags": []}
        assert airflow.call("PATCH", "/dags/a_dag", json={"is_paused": False}) == {"is_paused": False}
    shown = capsys.readouterr().out
    assert "does not answer POST /auth/token: it refuses the connection. Trying again for up to 8 s" in shown
    assert "does not answer GET /api/v2/dags: no answer came within 0.3 s" in shown


def test_a_client_gives_up_with_a_reason(home):
    with Server(LOGIN).listening() as gone:
        airflow = AirflowClient(gone.url, home, Patience(answer=0.3, recovery=1))
    with pytest.raises(StackError) as raised:
        airflow.call("GET", "/dags")
    assert "it refuses the connection. The request was tried for 1 s." in str(raised.value)
    assert "scheduler | killed" in str(raised.value)
    assert str(home / "airflow.log") in str(raised.value)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((404, b"no such DAG", 0), "Airflow answered 404 to GET /api/v2/dags: no such DAG"),
        ((200, b"<html>", 0), "is no JSON object: <html>"),
        ((200, b"7", 0), "is no JSON object: 7"),
    ],
)
def test_an_answer_that_is_final_is_not_waited_for(home, answer, reason):
    with Server({**LOGIN, "GET /api/v2/dags": [answer]}).listening() as server:
        with pytest.raises(StackError, match=reason):
            AirflowClient(server.url, home, SHORT).call("GET", "/dags")
        assert len(server.requests) == 2


def test_a_post_that_may_have_arrived_is_not_sent_again(home):
    with Server({**LOGIN, "POST /api/v2/backfills": [(200, {}, 1)]}).listening() as server:
        with pytest.raises(StackError, match="not sent again, as it may have arrived"):
            AirflowClient(server.url, home, SHORT).call("POST", "/backfills", json={})
        assert [path for _, path, _ in server.requests].count("/api/v2/backfills") == 1


class Runs(dict):
    """Answers for the one run of a DAG."""

    def __init__(self, created, states, task_states):
        super().__init__(LOGIN)
        self["GET /api/v2/importErrors"] = [(200, {"import_errors": []}, 0)]
        self["GET /api/v2/dags/a_dag"] = [(404, b"", 0), (200, {}, 0)]
        self["PATCH /api/v2/dags/a_dag"] = [(200, {}, 0)]
        self[f"POST {RUNS}"] = created
        self[f"GET {RUNS}/id"] = [(200, {"dag_run_id": "id", "state": state}, 0) for state in states]
        tasks = [[{"task_id": "load", "state": state}] for state in task_states]
        self[f"GET {RUNS}/id/taskInstances"] = [(200, {"task_instances": each}, 0) for each in tasks]


CREATED = [(200, {"dag_run_id": "id", "state": "queued"}, 0)]


def test_a_run_whose_creation_was_not_answered_is_created_once(home):
    created = [(200, {"dag_run_id": "id", "state": "queued"}, 1), (409, b"it exists", 0)]
    with Server(Runs(created, ["running", "success"], ["running", "success"])).listening() as server:
        assert 1 < AirflowClient(server.url, home, Patience(answer=0.3, recovery=8)).run("a_dag") < 20


def test_a_run_that_does_not_end_is_explained(home):
    answers = Runs(CREATED, ["running"], ["deferred"])
    with Server(answers).listening() as server, pytest.raises(StackError) as raised:
        AirflowClient(server.url, home, SHORT).run("a_dag")
    assert "The run of a_dag has not ended after" in str(raised.value)
    assert "load (deferred)" in str(raised.value)
    assert f"{server.url}/dags/a_dag/runs/id" in str(raised.value)
    assert "scheduler | killed" in str(raised.value)


def test_a_run_that_fails_names_its_tasks_and_their_logs(home):
    reason = r"a_dag failed in load\..*runs/id\n.*logs/dag_id=a_dag"
    with Server(Runs(CREATED, ["failed"], ["failed"])).listening() as server, pytest.raises(StackError, match=reason):
        AirflowClient(server.url, home, SHORT).run("a_dag")


def test_a_dag_that_airflow_does_not_know_is_explained(home):
    answers = Runs(CREATED, ["failed"], ["failed"])
    answers["GET /api/v2/dags/a_dag"] = [(404, b"", 0)]
    with (
        Server(answers).listening() as server,
        pytest.raises(StackError, match="does not know the DAG a_dag after 1 s"),
    ):
        AirflowClient(server.url, home, SHORT).until_parsed("a_dag")


@pytest.mark.parametrize(("failure", "kept"), [(StackError, True), (KeyboardInterrupt, False), (None, False)])
def test_logs_outlive_a_failure_and_secrets_do_not(failure, kept):
    homes = []

    def use():
        with airflow_home() as home:
            homes.append(home)
            for name in ("logs/run/task.log", "airflow.log", "airflow.cfg", "stores.yaml"):
                (home / name).parent.mkdir(exist_ok=True, parents=True)
                (home / name).write_text("")
            if failure:
                raise failure

    if failure:
        with pytest.raises(failure):
            use()
    else:
        use()
    assert sorted(path.name for path in homes[0].rglob("*.*")) == (["airflow.log", "task.log"] if kept else [])
    assert homes[0].exists() == kept
    shutil.rmtree(homes[0], ignore_errors=True)


def test_what_is_published_stays_when_the_stores_file_is_replaced(tmp_path):
    """Airflow reads the DAG files again at any time: on a slow machine between the two runs."""
    from fba_operators.settings import load_stores

    found = []
    for text in (demo.STORES_YAML, demo.ORDER_BY_ORDER_YAML):
        (tmp_path / "stores.yaml").write_text(text + demo.PUBLISH_YAML.format(folder=tmp_path))
        found.append(load_stores(tmp_path / "stores.yaml"))
    first, second = found
    assert first.publish == second.publish
    assert len(first.publish) == 1
    assert first.store("amazon_us").inventory == second.store("amazon_us").inventory
