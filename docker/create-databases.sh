#!/bin/bash
# Run by the postgres image once, on an empty volume: two databases whose owners cannot read each other's.
set -euo pipefail
psql --set ON_ERROR_STOP=1 --username postgres --dbname postgres <<'SQL'
\getenv airflow_password AIRFLOW_DB_PASSWORD
\getenv warehouse_password WAREHOUSE_DB_PASSWORD
CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE ROLE warehouse LOGIN PASSWORD :'warehouse_password';
CREATE DATABASE airflow OWNER airflow;
CREATE DATABASE warehouse OWNER warehouse;
REVOKE CONNECT ON DATABASE airflow, warehouse FROM PUBLIC;
SQL
psql --set ON_ERROR_STOP=1 --username postgres --dbname warehouse --file /roles.sql
psql --set ON_ERROR_STOP=1 --username postgres --dbname warehouse --command 'GRANT fba_product TO warehouse'
