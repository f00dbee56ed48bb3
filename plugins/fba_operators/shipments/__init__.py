"""Knows what Amazon shipped: which windows to ask for, how rows are kept once, and which requests are overdue."""
