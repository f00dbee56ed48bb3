"""Airflow's REST API, for what the stack, the tests and the benchmarks ask of it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests
from urllib3.exceptions import NewConnectionError

from devstack.waiting import Progress, StackError, console, duration, end_of_log

NEXT_NOTE = 10.0  # seconds between two lines that say that Airflow still does not answer


@dataclass(frozen=True)
class Patience:
    """How long the client waits, in seconds.

    :param answer: for the answer to one request
    :param recovery: for Airflow to answer again, when it refuses connections, answers too late or has an error of its own
    :param parsing: for Airflow to have read a DAG's file
    :param run: for a run of a DAG to end
    """

    answer: float = 60
    recovery: float = 300
    parsing: float = 600
    run: float = 1800


class AirflowClient:
    """Airflow's REST API, as the admin of this stack.

    A request that fails for a moment is sent again until :attr:`Patience.recovery` has passed.

    :param home: AIRFLOW_HOME, with the admin's password and Airflow's log
    """

    def __init__(self, url: str, home: Path, patience: Patience | None = None) -> None:
        self.url = url
        self.patience = patience or Patience()
        self.session = requests.Session()
        self._log = home / "airflow.log"
        self.user, self.password = next(iter(json.loads((home / "passwords.json").read_text()).items()))
        with Progress("Logging in to Airflow"):
            credentials = {"username": self.user, "password": self.password}
            token = self._answer("POST", "/auth/token", repeatable=True, json=credentials)["access_token"]
        self.session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """Make one call; raise on anything but success.

        A POST that may have arrived is not sent again: it could create something twice.
        """
        return self._answer(method, f"/api/v2{path}", repeatable=method != "POST", **arguments)

    def until_parsed(self, dag_id: str) -> None:
        """Wait until Airflow knows the DAG; raise with the import error if there is one."""
        with Progress(f"Airflow reads the file of {dag_id}") as progress:
            while progress.seconds < self.patience.parsing:
                errors = self.call("GET", "/importErrors")["import_errors"]
                if errors:
                    raise StackError(f"{errors[0]['filename']} cannot be imported:\n{errors[0]['stack_trace']}")
                if self._send("GET", f"/api/v2/dags/{dag_id}", repeatable=True).ok:
                    return
                time.sleep(0.5)
        raise StackError(
            f"Airflow does not know the DAG {dag_id} after {duration(self.patience.parsing)}, which is the limit."
            f" It has reported no import error.\n{end_of_log(self._log)}"
        )

    def run(self, dag_id: str, conf: dict[str, Any] | None = None) -> float:
        """Trigger a DAG, show its progress, return its seconds; raise if it does not succeed."""
        self.until_parsed(dag_id)
        with Progress(dag_id) as progress:
            self.call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
            run = self._trigger(dag_id, conf or {})
            page = f"{self.url}/dags/{dag_id}/runs/{run['dag_run_id']}"
            path = f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}"
            while True:
                run = self.call("GET", path)
                tasks = self.call("GET", f"{path}/taskInstances")["task_instances"]
                if run["state"] in ("success", "failed"):
                    break
                done = sum(task["state"] in ("success", "skipped") for task in tasks)
                busy = [task["task_id"] for task in tasks if task["state"] in ("running", "deferred", "queued")]
                progress.detail = f"{done} of {len(tasks)} tasks done; now: {', '.join(busy) or 'none'}"
                if progress.seconds >= self.patience.run:
                    states = [f"{task['task_id']} ({task['state'] or 'not started'})" for task in tasks]
                    raise StackError(
                        f"The run of {dag_id} has not ended after {duration(progress.seconds)}, which is the limit. Its"
                        f" tasks: {', '.join(states)}. Its page: {page}\n{end_of_log(self._log)}"
                    )
                time.sleep(1)
        if run["state"] == "failed":
            bad = [task["task_id"] for task in tasks if task["state"] == "failed"]
            logs = self._log.parent / "logs" / f"dag_id={dag_id}"
            raise StackError(f"{dag_id} failed in {', '.join(bad)}. Its page: {page}\nThe logs of its tasks: {logs}")
        console.print(f"[green]✓[/] {dag_id}: success in {progress.seconds:.0f} s")
        return progress.seconds

    def _trigger(self, dag_id: str, conf: dict[str, Any]) -> dict[str, Any]:
        """Create a run under an id chosen here, so that a repeated request cannot create a second one."""
        run_id = f"devstack__{uuid4()}"
        path = f"/api/v2/dags/{dag_id}/dagRuns"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        answer = self._send("POST", path, repeatable=True, json=body)
        if answer.status_code == HTTPStatus.CONFLICT:  # an earlier request had arrived, although its answer had not
            return self._answer("GET", f"{path}/{run_id}", repeatable=True)
        return self._content(answer, "POST", path)

    def _answer(self, method: str, path: str, *, repeatable: bool, **arguments: Any) -> dict[str, Any]:
        return self._content(self._send(method, path, repeatable=repeatable, **arguments), method, path)

    def _content(self, answer: requests.Response, method: str, path: str) -> dict[str, Any]:
        if not answer.ok:
            raise StackError(f"Airflow answered {answer.status_code} to {method} {path}: {answer.text[:500]}")
        try:
            return dict(answer.json())
        except (ValueError, TypeError):
            raise StackError(f"Airflow's answer to {method} {path} is no JSON object: {answer.text[:500]}") from None

    def _send(self, method: str, path: str, *, repeatable: bool, **arguments: Any) -> requests.Response:
        """Send a request until it is answered without a passing failure.

        :param repeatable: whether the request may be sent again when it is not known whether it arrived
        """
        began = time.monotonic()
        noted = began - NEXT_NOTE
        while True:
            try:
                answer = self.session.request(method, f"{self.url}{path}", timeout=self.patience.answer, **arguments)
                if not (repeatable and answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR):
                    return answer
                failure, again = f"it answered {answer.status_code}", True
            except requests.RequestException as error:
                refused = _was_refused(error)
                failure, again = _in_words(error, refused, self.patience.answer), repeatable or refused
            waited = time.monotonic() - began
            if not again or waited >= self.patience.recovery:
                tried = f"was tried for {duration(waited)}" if again else "is not sent again, as it may have arrived"
                raise StackError(
                    f"Airflow does not answer {method} {path}: {failure}. The request {tried}.\n{end_of_log(self._log)}"
                )
            if time.monotonic() - noted >= NEXT_NOTE:
                noted = time.monotonic()
                console.print(
                    f"Airflow does not answer {method} {path}: {failure}. Trying again for up to"
                    f" {duration(self.patience.recovery)}; {waited:.0f} s so far.",
                    markup=False,
                    soft_wrap=True,
                )
            time.sleep(1)


def _was_refused(error: requests.RequestException) -> bool:
    """Whether no connection was made, so that the request cannot have arrived."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError)


def _in_words(error: requests.RequestException, refused: bool, patience: float) -> str:
    if refused:
        return "it refuses the connection"
    if isinstance(error, requests.Timeout):
        return f"no answer came within {duration(patience)}"
    if isinstance(error, requests.ConnectionError):
        return "the connection broke off"
    return str(error)
