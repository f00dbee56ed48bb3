"""Measurements of this project against the least possible and beside other tools; run by hand, never by the tests."""
