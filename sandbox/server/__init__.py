"""Knows HTTP: routing, authorisation, faults on the wire, and the control address of tests."""
