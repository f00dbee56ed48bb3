"""Waiting for something slow: show progress meanwhile, and end with a reason in plain words."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.text import Text

console = Console(highlight=False)

FIRST_LINE, NEXT_LINES = 3.0, 10.0  # seconds until a line is printed where the output is no terminal
LOG_LINES = 25


class StackError(Exception):
    """The stack could not do what was asked. The message is the reason, for the person at the terminal."""


class Progress:
    """Shows what is waited for, and for how many seconds, while the `with` block runs.

    On a terminal this is one line that changes every second and disappears at the end. Where the output goes into a
    file or a pipe, a line is printed after three seconds and then every ten.

    :param what: what is waited for, e.g. "Airflow starts"
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.detail = ""
        self.began = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show, name="progress", daemon=True)

    @property
    def seconds(self) -> float:
        """Seconds since the block began."""
        return time.monotonic() - self.began

    def __enter__(self) -> Progress:
        self.began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _text(self) -> Text:
        text = f"{self.what}, {self.seconds:.0f} s"
        return Text(f"{text}: {self.detail}" if self.detail else text)

    def _show(self) -> None:
        if console.is_terminal:
            with console.status(self._text()) as status:
                while not self._over.wait(1):
                    status.update(self._text())
        elif not self._over.wait(FIRST_LINE):
            console.print(self._text(), soft_wrap=True)
            while not self._over.wait(NEXT_LINES):
                console.print(self._text(), soft_wrap=True)


def duration(seconds: float) -> str:
    """Return a duration as people write it: "0.5 s", "45 s" or "20 min"."""
    if seconds < 1:
        return f"{seconds:.1g} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def end_of_log(log: Path) -> str:
    """Return the last lines of a log and its path, as the end of a reason."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    except OSError as error:
        return f"There is no log to show: {error}"
    if not lines:
        return f"Its log {log} is empty."
    return "\n".join(("The last lines of its log:", *(f"  {line}" for line in lines), f"All of it is in {log}"))
