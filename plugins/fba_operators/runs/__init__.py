"""Knows what a run leaves behind: its row in fba.run, its summary, its notifications, and what is removed with age."""
