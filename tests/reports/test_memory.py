"""Memory that is free is given back between the steps of a load."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

from fba_operators.reports.memory import give_back_memory


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096 / 1e6


def test_what_lies_between_two_things_in_use_is_given_back():
    give_back_memory()
    before = resident_mb()
    in_use = []
    for _ in range(4000):
        freed = bytes(20_000)  # 80 MB in all
        in_use.append((freed, bytes(600)))
    kept = [each for _, each in in_use]
    del in_use, freed
    if platform.libc_ver()[0] == "glibc":
        assert resident_mb() > before + 40
    give_back_memory()
    assert resident_mb() < before + 20
    assert len(kept) == 4000


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert give_back_memory() is None
