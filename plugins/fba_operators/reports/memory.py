"""Memory that is free again, back to the system between two steps of a large load."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def give_back_memory() -> None:
    """Give back what is free: glibc keeps it for later, and the next step of a load would come on top of it.

    Where the C library has no ``malloc_trim`` (Alpine, macOS), nothing happens.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
