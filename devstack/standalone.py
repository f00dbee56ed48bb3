"""Airflow on one machine: starts all its parts, waits until they are healthy, and stops them."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from devstack.postgres import free_port
from devstack.waiting import Progress, StackError, duration, end_of_log

PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


@dataclass(frozen=True)
class Limits:
    """How long Airflow may take to become healthy, in seconds.

    A fast machine needs half a minute, a slow one ten minutes.

    :param total: at most this long
    :param silence: at most this long without a new line in the log and without another part that became healthy
    :param answer: at most this long for the answer to one health check
    :param ended: this long after one of its processes has ended, Airflow is given up
    """

    total: float = 1800
    silence: float = 420
    answer: float = 30
    ended: float = 10


@contextmanager
def running_airflow(environment: Mapping[str, str], home: Path, limits: Limits | None = None) -> Iterator[str]:
    """Start ``airflow standalone``; yield its address when it is healthy; stop all its processes at the end.

    While it runs, :func:`environment_file` is there for other shells.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    passwords = home / "passwords.json"
    environment = {
        **environment,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
    }
    log = home / "airflow.log"
    try:
        _write_private(passwords, json.dumps({"admin": secrets.token_urlsafe(12)}))
        _write_private(environment_file(home), _exports(environment))
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", "standalone"],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            until_healthy(url, process, log, limits or Limits())
            yield url
        finally:
            _stop(process)
    finally:
        for secret in (environment_file(home), passwords):
            secret.unlink(missing_ok=True)


def environment_file(home: Path) -> Path:
    """Return the file a POSIX shell reads with ``.`` so that its ``airflow`` commands reach this Airflow."""
    return home / "environment"


def until_healthy(url: str, process: subprocess.Popen[bytes], log: Path, limits: Limits) -> None:
    """Wait until every part of Airflow says that it is healthy; raise with the reason when one does not."""
    with Progress("Airflow starts") as progress:
        children = _Children(process)
        healthy: list[str] = []
        size, changed = 0, time.monotonic()
        while True:
            answered, now_healthy = _healthy_parts(url, limits.answer)
            if len(now_healthy) == len(PARTS):
                return
            before = (healthy, size)
            healthy, size = now_healthy, log.stat().st_size
            if (healthy, size) != before:
                changed = time.monotonic()
            missing = [part for part in PARTS if part not in healthy]
            progress.detail = (
                f"healthy: {', '.join(healthy) or 'nothing yet'}; waiting for: {', '.join(missing)}"
                if answered
                else "waiting for its API to answer"
            )
            waited = f"after {duration(progress.seconds)}"
            if process.poll() is not None:
                reason = f"Airflow ended {waited} with exit code {process.returncode}, before it was healthy."
            elif ended := children.ended(limits.ended):
                reason = f"A process of Airflow ended before all parts were healthy: {ended}; {progress.detail}."
            elif progress.seconds >= limits.total:
                reason = f"Airflow is not healthy {waited}, which is the limit; {progress.detail}."
            elif time.monotonic() - changed >= limits.silence:
                reason = (
                    f"Airflow is not healthy {waited}, and for {duration(limits.silence)} its log has not grown;"
                    f" {progress.detail}."
                )
            else:
                time.sleep(0.5)
                continue
            raise StackError(f"{reason}\n{end_of_log(log)}")


class _Children:
    """The processes that `airflow standalone` starts. It does not notice when one of them ends."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._pid = process.pid
        self._commands: dict[int, str] = {}
        self._ended: dict[int, float] = {}

    def ended(self, certain: float) -> str | None:
        """Return the command of a child that ended at least so many seconds ago and whose exit nobody has read."""
        with suppress(psutil.Error):
            for child in psutil.Process(self._pid).children():
                with suppress(psutil.Error):
                    if child.status() != psutil.STATUS_ZOMBIE:
                        if command := " ".join(child.cmdline()):  # empty for a moment before it is a zombie
                            self._commands[child.pid] = command
                    elif time.monotonic() - self._ended.setdefault(child.pid, time.monotonic()) >= certain:
                        return self._commands.get(child.pid, "one whose command was not seen")
        return None


def _healthy_parts(url: str, patience: float) -> tuple[bool, list[str]]:
    """Return whether the API answered, and which parts it calls healthy."""
    try:
        health = requests.get(f"{url}/api/v2/monitor/health", timeout=patience).json()
        return True, [part for part in PARTS if (health.get(part) or {}).get("status") == "healthy"]
    except (requests.RequestException, ValueError, AttributeError):  # the last: JSON, but not what Airflow answers
        return False, []


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
    # `airflow standalone` can leave its parts behind; they are in its session and are killed with it.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _exports(environment: Mapping[str, str]) -> str:
    """Return the environment as shell commands. The shell keeps its own PATH behind the `airflow` of this project."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items() if name != "PATH"]
    return "\n".join((*lines, f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"', ""))
