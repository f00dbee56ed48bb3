"""Knows the state: everything Amazon remembers, what happens by itself, quotas and scripted faults."""
