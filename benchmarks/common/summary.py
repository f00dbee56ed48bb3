"""The summary table that `python -m benchmarks` puts before all others; each benchmark prints its rows between its own tables."""

from __future__ import annotations

MARK = ">"  # begins a line that is a row of the summary


def print_summary_row(what: str, measured: str, compared_with: str, ratio: float) -> None:
    """Print one row: what was measured, the result, what it is compared with, and their ratio."""
    print(f"{MARK} {what} | {measured} | {compared_with} | {ratio:.3g}", flush=True)


def summary_rows(output: str) -> list[str]:
    """The rows of the summary in a benchmark's output, as rows of Markdown."""
    return [f"|{line.removeprefix(MARK)} |" for line in output.splitlines() if line.startswith(MARK)]


def tables(output: str) -> str:
    """The other tables in a benchmark's output."""
    return "".join(f"{line}\n" for line in output.splitlines() if line.startswith("|") or not line)
