"""Knows PostgreSQL: the connection, migrations, named statements, encryption, shared tokens and rates, COPY."""
