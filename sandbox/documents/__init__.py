"""Knows the texts: how report documents, order feeds and processing reports are written and read."""
