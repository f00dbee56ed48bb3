"""The states through which Amazon takes a report and a feed, the same five for both."""

from __future__ import annotations

from enum import StrEnum

from fba_operators.errors import UnavailableError
from fba_operators.words import MOST_OF_A_NAME, words


class ProcessingStatus(StrEnum):
    """Amazon's ``processingStatus`` (Reports and Feeds API 2021-06-30)."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    DONE = "DONE"
    CANCELLED = "CANCELLED"
    FATAL = "FATAL"

    @property
    def finished(self) -> bool:
        """Whether Amazon will not change it any more."""
        return self not in (ProcessingStatus.IN_QUEUE, ProcessingStatus.IN_PROGRESS)

    @property
    def usable(self) -> bool:
        """Whether there is a document, or one can still come."""
        return self not in (ProcessingStatus.CANCELLED, ProcessingStatus.FATAL)

    @classmethod
    def read(cls, text: str, what: str) -> ProcessingStatus:
        """Read the status in one of Amazon's answers.

        :param what: whose status it is, for the error, e.g. ``report 50001``
        :raises UnavailableError: it is none of Amazon's documented states
        """
        try:
            return cls(text)
        except ValueError:
            raise UnavailableError(f"{what} has the unknown status {words(text, MOST_OF_A_NAME)!r}") from None


FINISHED = [status.value for status in ProcessingStatus if status.finished]
UNFINISHED = [status.value for status in ProcessingStatus if not status.finished]
