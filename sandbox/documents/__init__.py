"""Knows the document formats: report documents, order feeds and processing reports."""
