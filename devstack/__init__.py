"""What `make run`, `make up`, the tests and the benchmarks start on one machine: PostgreSQL, the sandbox Amazon, Airflow."""
