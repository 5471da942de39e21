"""Where models are published: the table to edit when something has moved.

`kapelle models fetch NAME` follows it. Names of repositories, folders and archives are those that
upstream's notebooks and its README state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.engines.musicgen.published import LICENCE, PUBLISHED, PUBLISHER, Published

GIGABYTE = 10**9


@dataclass(frozen=True)
class HubFile:
    """A file in a repository of the Hugging Face hub; HF_ENDPOINT names another hub."""

    repository: str
    name: str
    revision: str = "main"
    sha256: str | None = None  # pinned; None: whatever the first download had is remembered


@dataclass(frozen=True)
class GitHubArchive:
    """A zip archive that lies on GitHub in numbered parts (`NAME.001`, ...), or in one piece (`NAME`)."""

    repository: str
    folder: str
    name: str
    member: str | None = None  # the file in it, without its folder; None: the only one there is
    revision: str = "main"
    sha256: str | None = None  # of the joined parts
    largest: int = 4 * GIGABYTE  # bytes that its member may have
    api: str = "https://api.github.com"
    raw: str = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class Source:
    """What makes up a model: the network, and the songs whose beginnings prime it."""

    about: str
    checkpoint: HubFile | GitHubArchive
    titles: HubFile | GitHubArchive


@dataclass(frozen=True)
class HubModel:
    """A model that is a repository of the Hugging Face hub, as `transformers` reads it. Its pickles are left there."""

    about: str
    repository: str
    licence: str = ""
    revision: str = "main"


_TITLES = GitHubArchive(
    # Its member is `Los_Angeles_Music_Composer_Aux_Data.pickle` by the notebook's reader; not pinned here, as it is
    # the only one. How many parts there are is read from GitHub's list of the folder.
    repository="asigalov61/Los-Angeles-Music-Composer",
    folder="Aux-Data",
    name="Los_Angeles_Music_Composer_Aux_Data.zip",
)



def _musicgen(name: str, published: Published) -> HubModel:
    gifts = [gift for gift, has in (("follows a melody", published.melody), ("stereo", published.stereo)) if has]
    about = ", ".join(["MusicGen", f"{published.parameters} parameters", *gifts, LICENCE])
    return HubModel(about, f"{PUBLISHER}/{name}", LICENCE)


SOURCES: Mapping[str, Source | HubModel] = {
    "la-composer": Source(
        about="Los Angeles Music Composer, 387.6 M parameters, 1.5 GB, and its titles",
        checkpoint=GitHubArchive(
            # Not checked against the network: that the parts are still there.
            repository="asigalov61/Los-Angeles-Music-Composer",
            folder="Model",
            name="Los_Angeles_Music_Composer_Trained_Model.zip",
            member="Los_Angeles_Music_Composer_Model_88835_steps_0.643_loss.pth",
        ),
        titles=_TITLES,
    ),
    "la-composer-small": Source(
        about="the smaller alternative network that its author published later, and the same titles",
        checkpoint=HubFile(
            # Not checked against the network: that the file still has this name.
            repository="asigalov61/Los-Angeles-Music-Composer",
            name="Los_Angeles_Music_Composer_Alternative_Small_Trained_Model_86456_steps_0.7524_loss.pth",
        ),
        titles=_TITLES,
    ),
    # Not checked against the network: that all of these have their weights as safetensors too.
    **{name: _musicgen(name, published) for name, published in PUBLISHED.items()},
}
