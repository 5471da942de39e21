"""Run by Alembic: brings the connection it is given to the version asked for."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
