"""Knows Amazon's Selling Partner API: its operations and answers, its rates, how to log in and how to wait."""
