"""Everything `make run`, `make up` and the tests need on one machine: PostgreSQL, the sandbox Amazon, Airflow."""
