"""What whoever runs Kapelle sets once: environment variables and `.env`, all named KAPELLE_something."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from models.engines.pocket.steering import Strengths
from models.engines.registry import AUDIOCRAFT, COMPOSED, ENGINES
from models.errors import InputError
from models.interface.engine import Host, Kind

PREFIX = "KAPELLE_"
ENV_FILE = ".env"
_STRENGTHS = Strengths()


class Settings(BaseSettings):
    """Settings of the machine; what one request asks for is not among them. Paths start at the working folder."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=ENV_FILE, env_file_encoding="utf-8", env_ignore_empty=True,
        extra="ignore", frozen=True)

    soundfont: Path | None = None  # None: the one that comes with pretty_midi
    data: Path = Path("data")  # fetched and converted models
    out: Path = Path("takes")  # where takes are written
    threads: int = Field(default=0, ge=0, le=1024)  # of one decoding process; 0 leaves it to torch
    device: Literal["auto", "cpu", "cuda"] = "auto"  # of MusicGen
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    pocket_guidance: float = Field(default=2.0, ge=0, le=20)
    pocket_key_strength: float = Field(default=_STRENGTHS.key, ge=0, le=20)
    pocket_beat_strength: float = Field(default=_STRENGTHS.beat, ge=0, le=20)
    pocket_chords: float = Field(default=_STRENGTHS.chords, ge=0, le=20)
    pocket_returns: float = Field(default=_STRENGTHS.returns, ge=0, le=20)
    pocket_line: float = Field(default=_STRENGTHS.line, ge=0, le=20)
    pocket_balance: float = Field(default=_STRENGTHS.balance, ge=0, le=20)
    la_composer_playing: Annotated[tuple[Literal["ranges", "players", "ending"], ...], NoDecode] = ()  # with commas
    audiocraft_python: Path | None = None  # an interpreter with audiocraft; None: the one that was installed, if any

    # The server (`kapelle run`)
    discord_token: SecretStr | None = Field(  # DISCORD_TOKEN is the name most hosts use
        default=None, validation_alias=AliasChoices("KAPELLE_DISCORD_TOKEN", "DISCORD_TOKEN"))
    database: SecretStr = SecretStr("")  # URL, may hold a password; empty: SQLite in the data folder
    engines: Annotated[tuple[str, ...], NoDecode] = ("pocket",)  # offered by /midi and /audio, the first of each is the usual
    audio_fallback: Literal["none", "compose"] = Field(  # what /audio does without an engine for sound
        default="none", validation_alias=AliasChoices("KAPELLE_AUDIO_FALLBACK", "AUDIO_FALLBACK"))
    language: Literal["en", "de"] = "en"  # where a member's is not spoken
    guilds: Annotated[tuple[int, ...], NoDecode] = ()  # commands are registered in these at once; empty: everywhere
    log_format: Literal["human", "json"] = "human"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    health_port: int = Field(default=8080, ge=0, le=65535)  # on loopback; 0: none
    health_host: str = "127.0.0.1"
    jobs_at_once: int = Field(default=8, ge=1, le=64)  # with the worker at a time
    moderators_first: bool = True
    max_takes: int = Field(default=16, ge=1, le=16)  # limits of the machine
    max_tokens: int = Field(default=2048, ge=32, le=2048)
    max_seconds: int = Field(default=30, ge=1, le=120)  # of sound that is not composed
    max_jobs_at_once: int = Field(default=3, ge=1)  # of one member, waiting and at work
    max_jobs_a_day: int = Field(default=100, ge=1)
    max_takes_a_day: int = Field(default=400, ge=1)
    discord_address: str | None = None  # host:port where Discord is to be found instead (rehearsals)
    discord_ca: Path | None = None  # certificate authority of that address

    def limit_threads(self) -> None:
        """Let torch use no more threads than are set. Only has an effect before torch is imported."""
        if self.threads:
            os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(self.threads)

    @property
    def host(self) -> Host:
        names = (field.name for field in fields(Host))
        return Host(**{name: getattr(self, name) for name in names})

    def offered(self, kind: Kind) -> tuple[str, ...]:
        """Engines that may be asked for jobs of a kind, the usual one first, what stands in for MusicGen last."""
        named = tuple(name for name in self.engines if ENGINES[name].kind == kind)
        return (*named, COMPOSED) if kind == "audio" and self.audio_fallback == "compose" else named

    @property
    def served(self) -> tuple[str, ...]:
        """All engines there are workers for."""
        return tuple(dict.fromkeys((*self.engines, *self.offered("audio"))))

    @property
    def database_url(self) -> str:
        return self.database.get_secret_value() or f"sqlite+aiosqlite:///{(self.data / 'ledger.sqlite').absolute()}"

    @property
    def spool(self) -> Path:
        """Where the files of takes are kept."""
        return self.data / "spool"

    @field_validator("engines", "guilds", "la_composer_playing", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        """Lists are written with commas."""
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("engines")
    @classmethod
    def _known(cls, engines: tuple[str, ...]) -> tuple[str, ...]:
        if not engines or (unknown := set(engines) - set(ENGINES)):
            wrong = f"; {', '.join(sorted(unknown))} is none" if engines else ""
            known = [name for name, listed in ENGINES.items() if listed.process != AUDIOCRAFT and name != COMPOSED]
            raise ValueError(f"one or more of {', '.join(known)} and those of audiocraft are needed{wrong}")
        return engines

    @field_validator("soundfont", "data", "out", "discord_ca", "audiocraft_python")
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
