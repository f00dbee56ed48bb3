"""Knows Airflow: every operator a DAG file uses, their common base and their retry policy."""
