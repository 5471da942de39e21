"""What whoever runs Kapelle sets once: environment variables and `.env`, all named KAPELLE_something."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.errors import InputError

PREFIX = "KAPELLE_"
ENV_FILE = ".env"


class Settings(BaseSettings):
    """Settings of the machine; what one request asks for is not among them. Paths start at the working folder."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=ENV_FILE, env_file_encoding="utf-8", env_ignore_empty=True,
        extra="ignore", frozen=True)

    soundfont: Path | None = None  # None: the one that comes with pretty_midi
    data: Path = Path("data")  # fetched and converted models
    out: Path = Path("takes")  # where takes are written
    threads: int = Field(default=0, ge=0, le=1024)  # of one decoding process; 0 leaves it to torch

    def limit_threads(self) -> None:
        """Let torch use no more threads than are set. Only has an effect before torch is imported."""
        if self.threads:
            os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(self.threads)

    @field_validator("soundfont", "data", "out")
    @classmethod
    def _at_home(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser()


def read_settings() -> Settings:
    """Read the settings. Raises InputError that names the first one that does not hold."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
        raise InputError(f"the setting {name} does not hold: {first['msg']} (it is {first['input']!r})") from error
    except (UnicodeDecodeError, RuntimeError) as error:  # not UTF-8; a ~ whose home is not known
        raise InputError(f"the settings in {ENV_FILE} or the environment cannot be read: {error}") from error
