# The image of every Airflow service in docker-compose.yaml, and of the sandbox Amazon beside them.
# The slim image has Airflow without providers: those of the full one disagree with versions pinned here (pandas 3).
FROM apache/airflow:slim-3.3.2-python3.12 AS base
WORKDIR /opt/airflow
COPY --chown=airflow:0 requirements-celery.txt ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements-celery.txt
COPY --chown=airflow:0 pyproject.toml README.md LICENSE ./
COPY --chown=airflow:0 include include
COPY --chown=airflow:0 plugins plugins
COPY --chown=airflow:0 dags dags
# Editable, so that Airflow knows the connection type and there is one copy of the code.
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable .

FROM base AS sandbox
COPY --chown=airflow:0 sandbox sandbox
COPY --chown=airflow:0 devstack devstack

# Last, so that a plain `docker build .` makes the image without the sandbox.
FROM base AS airflow
