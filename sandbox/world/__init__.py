"""Knows Amazon's state: what is stored, how it changes over time, quotas and scripted faults."""
