"""Knows the page in Airflow: what a merchant reads every day, and the few things that are decided there."""
