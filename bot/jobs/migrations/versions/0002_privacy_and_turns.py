"""Whether a job's thread is private, and when a member's last job was begun, which outlives the job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("private", sa.Boolean(), nullable=True))  # of earlier jobs nobody knows
    op.add_column("quota_use", sa.Column("begun_at", sa.DateTime(timezone=True), nullable=True))
