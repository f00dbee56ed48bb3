"""Knows HTTP: routing, authorization, fault injection, and the control API that tests use."""
