"""Child processes that run to their end, and the result they print."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def run(command: Sequence[str], *, environment: Mapping[str, str] | None = None, stdin: str | None = None) -> str:
    """Run a command and return its output; raise with the end of its error output if it fails.

    :param environment: variables in addition to those of this process
    """
    child = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]} failed:\n{child.stderr[-3000:]}")
    return child.stdout


def run_python(*arguments: str, environment: Mapping[str, str] | None = None, stdin: str | None = None) -> str:
    """Run this process's Python interpreter, see :func:`run`."""
    return run([sys.executable, *arguments], environment=environment, stdin=stdin)


def migrate_warehouse(environment: Mapping[str, str]) -> None:
    """Create the warehouse's schema, in a process with these settings of Airflow."""
    code = "from fba_operators.warehouse.database import Warehouse; Warehouse().migrate()"
    run_python("-c", code, environment=environment)


def print_result(result: Mapping[str, Any]) -> None:
    """In a child process: print its result as JSON, with the peak of its memory."""
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**result, "peak_mb": peak_mb}))


def result_in(output: str) -> dict[str, Any]:
    """The result that a child process printed last."""
    return dict(json.loads(output.strip().splitlines()[-1]))
