"""Knows reports: which there are, how one is asked for once, and how its document becomes rows."""
