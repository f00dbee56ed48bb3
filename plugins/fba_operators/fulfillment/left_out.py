"""One object of which Amazon fails, such as an order or a feed, is told from an outage, in which nothing else is answered either.

It is left out and told, and stops no other. What is not known of it stays not known.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import (
    CredentialsError,
    LostAnswerError,
    RequestRefusedError,
    UnavailableError,
)
from fba_operators.fulfillment.request import FR_NUMBER, SHOWN
from fba_operators.runs.summary import counted, listed

MOST_IN_A_ROW = 20  # of one kind; then the operation fails as a whole. Each takes up to a quarter of a minute


class UnansweredError(UnavailableError):
    """Amazon fails when it is asked about one object, and answers other questions; it is left out.

    :param error: how it fails
    """

    def __init__(self, error: UnavailableError) -> None:
        super().__init__(error.brief)
        self.operation, self.status = error.operation, error.status
        self.code, self.request_id = error.code, error.request_id


class LeftOut:
    """What a task leaves out, because Amazon fails for it and answers other questions.

    :ivar codes: kind and name of each → how Amazon fails
    :ivar in_a_row: of each kind, how many since the last answer
    """

    def __init__(self) -> None:
        self.codes: dict[tuple[str, str], str] = {}
        self.in_a_row: Counter[str] = Counter()

    @contextmanager
    def asking(self, hook: SellingPartnerHook, name: str, kind: str = "order") -> Iterator[None]:
        """Ask Amazon about one object within.

        :raises UnansweredError: Amazon fails for it, and answers other questions
        :raises UnavailableError: Amazon does not answer other questions either, or fails for too many in a row; or it is
            not Amazon that fails
        """
        try:
            yield
        except RequestRefusedError:
            self.in_a_row[kind] = 0
            raise
        except (LostAnswerError, UnansweredError):
            raise
        except UnavailableError as error:
            if error.operation is None:  # the warehouse, or the store's lock
                raise
            self.in_a_row[kind] += 1
            if self.in_a_row[kind] > MOST_IN_A_ROW or not _answers(hook):
                raise
            self.codes[kind, name] = _how(error)
            raise UnansweredError(error) from error
        else:
            self.in_a_row[kind] = 0

    def sentences(self) -> list[str]:
        """What was left out, for the run's summary."""
        told = []
        for kind in dict.fromkeys(kind for kind, _ in self.codes):
            codes = {name: code for (of, name), code in self.codes.items() if of == kind}
            shown = [name for name in codes if FR_NUMBER.fullmatch(name)]
            names = f": {listed(shown, SHOWN, len(codes))}" if shown else ""
            told.append(
                f"{counted(len(codes), kind)} left out, for which Amazon fails while it answers other questions "
                f"({', '.join(sorted(set(codes.values())))}){names}; a later run asks again."
            )
        return told


def _answers(hook: SellingPartnerHook) -> bool:
    """Whether Amazon answers when it is asked for an order that nobody has."""
    try:
        hook.find_fulfillment_order(f"none-{uuid.uuid4().hex}")
    except CredentialsError:
        return True
    except RequestRefusedError as error:
        return error.code is not None  # else it is not Amazon that answers
    except UnavailableError:
        return False
    return True


def _how(error: UnavailableError) -> str:
    if error.code:
        return error.code
    if error.status == 200:
        return "an answer that cannot be read"
    return f"HTTP {error.status}" if error.status else "no answer"
