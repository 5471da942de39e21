"""The ledger's tables. `migrations` makes them; a test holds the two against each other."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Date,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    TypeDecorator,
    func,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column, relationship


class Utc(TypeDecorator[datetime]):
    """A moment: aware, always in UTC. SQLite keeps no zone, so it is left out there."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment in the ledger needs a time zone")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    })
    type_annotation_map = {  # noqa: RUF012  (SQLAlchemy reads it from the class)
        int: BigInteger, str: String, datetime: Utc, date: Date, dict[str, Any]: JSON, Any: JSON}


class FavouriteRow(Base):
    __tablename__ = "favourites"

    take_id: Mapped[int] = mapped_column(ForeignKey("takes.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[int] = mapped_column(primary_key=True, index=True)
    at: Mapped[datetime]


class TakeRow(Base):
    __tablename__ = "takes"
    __table_args__ = (Index("ix_takes_job_number", "job_id", "number", unique=True),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    number: Mapped[int]  # from 1
    state: Mapped[str]
    files: Mapped[dict[str, Any]] = mapped_column(default=dict)
    seconds: Mapped[float] = mapped_column(default=0.0)
    notes: Mapped[int] = mapped_column(default=0)
    message_id: Mapped[int | None] = mapped_column(index=True)
    favourites: Mapped[int] = column_property(
        select(func.count()).where(FavouriteRow.take_id == id).correlate_except(FavouriteRow).scalar_subquery())


class JobRow(Base):
    __tablename__ = "jobs"
    # SQLite would otherwise give the number of a deleted job to a new one, and old buttons would reach it.
    __table_args__ = (
        Index("ix_jobs_state_guild", "state", "guild_id"), Index("ix_jobs_owner_started", "owner_id", "started_at"),
        {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    guild_id: Mapped[int] = mapped_column(index=True)
    channel_id: Mapped[int]
    thread_id: Mapped[int | None]
    private: Mapped[bool | None]  # the thread in which it was asked for; none where nobody knows
    owner_id: Mapped[int]
    language: Mapped[str]
    kind: Mapped[str]
    engine: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    inputs: Mapped[dict[str, Any]] = mapped_column(default=dict)  # name in the request -> file in the job's folder
    priority: Mapped[int]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), index=True)
    state: Mapped[str]
    attempt: Mapped[int] = mapped_column(default=0)
    strikes: Mapped[float] = mapped_column(default=0.0)  # as they were at `struck_at`
    struck_at: Mapped[datetime | None]
    alone: Mapped[bool] = mapped_column(default=False)
    failure: Mapped[str | None]
    outcome: Mapped[dict[str, Any]] = mapped_column(default=dict)
    card_id: Mapped[int | None] = mapped_column(index=True)
    told: Mapped[bool] = mapped_column(default=False)  # its end was said where its owner sees it
    charged_on: Mapped[date | None]  # the day whose quota it took; none once that was given back
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    takes: Mapped[list[TakeRow]] = relationship(order_by=TakeRow.number, lazy="raise", passive_deletes=True)


class CopyRow(Base):
    """A take was posted again."""

    __tablename__ = "copies"

    message_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    channel_id: Mapped[int]
    take_id: Mapped[int] = mapped_column(ForeignKey("takes.id", ondelete="CASCADE"), index=True)


class EventRow(Base):
    """A job came into a state."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    state: Mapped[str]
    at: Mapped[datetime]


class GuildRow(Base):
    __tablename__ = "guilds"

    guild_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    paused: Mapped[bool] = mapped_column(default=False)
    draining: Mapped[bool] = mapped_column(default=False)
    moderator_role_id: Mapped[int | None]


class LimitRow(Base):
    __tablename__ = "limits"

    guild_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    scope: Mapped[str] = mapped_column(primary_key=True)  # "guild", "role:<id>", "channel:<id>"
    name: Mapped[str] = mapped_column(primary_key=True)  # a field of Limits
    value: Mapped[Any]


class QuotaRow(Base):
    __tablename__ = "quota_use"

    guild_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    user_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    day: Mapped[date] = mapped_column(primary_key=True)  # UTC
    jobs: Mapped[int] = mapped_column(default=0)
    takes: Mapped[int] = mapped_column(default=0)
    begun_at: Mapped[datetime | None]  # the last of their jobs that are deleted


class BlockedRow(Base):
    __tablename__ = "blocked"

    guild_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    user_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    reason: Mapped[str]
    at: Mapped[datetime]


class WordRow(Base):
    __tablename__ = "words"

    guild_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    word: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]


class ReportRow(Base):
    __tablename__ = "reports"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    guild_id: Mapped[int]
    job_id: Mapped[int]  # no foreign key: a report outlives what it is about
    take: Mapped[int | None]
    user_id: Mapped[int] = mapped_column(index=True)  # who reports
    text: Mapped[str]
    at: Mapped[datetime]


class AuditRow(Base):
    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    guild_id: Mapped[int] = mapped_column(index=True)
    user_id: Mapped[int] = mapped_column(index=True)  # who did it
    subject_id: Mapped[int | None] = mapped_column(index=True)  # whom it concerns
    action: Mapped[str]
    details: Mapped[dict[str, Any]]
    report_id: Mapped[int | None] = mapped_column(ForeignKey("reports.id", ondelete="SET NULL"))
    at: Mapped[datetime]


class SpeedRow(Base):
    __tablename__ = "speeds"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    engine: Mapped[str] = mapped_column(index=True)
    ids_per_second: Mapped[float]
    at: Mapped[datetime]
