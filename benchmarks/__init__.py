"""Measurements against the limit, runnable; never part of the tests."""
