"""Which SoundFont plays: General MIDI instruments as samples, in an .sf2 or .sf3 file.

Standard library only: the set-up asks.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from models.errors import RenderingError

FONT_PACKAGE = "fluid-soundfont-gm"
# Where distributions put FluidR3, 148 MB: Debian and Ubuntu; Fedora; Arch
INSTALLED_FONTS = (
    Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"),
    Path("/usr/share/soundfonts/FluidR3_GM.sf2"),
)


def default_soundfont() -> Path:
    """The General MIDI SoundFont that is used where none is named. RenderingError when there is none.

    The first of `INSTALLED_FONTS` that is there; else the small one of pretty_midi, which sounds thin (`has_good_soundfont`).
    """
    for path in INSTALLED_FONTS:
        if path.is_file():
            return check_soundfont(path)
    package = importlib.util.find_spec("pretty_midi")  # finds it without the cost of importing it
    if package is None or package.origin is None:
        raise RenderingError("there is no SoundFont: install pretty_midi, which carries one, or name an .sf2 file")
    return check_soundfont(Path(package.origin).with_name("TimGM6mb.sf2"))


def has_good_soundfont() -> bool:
    """Whether the machine has a better one than that of pretty_midi."""
    return any(path.is_file() for path in INSTALLED_FONTS)


def check_soundfont(path: Path) -> Path:
    """The absolute path of a SoundFont 2 or 3 file. RenderingError when it is missing, cut short or something else."""
    path = path.expanduser().absolute()
    try:
        if not path.is_file():  # a pipe or a device would block below
            raise RenderingError(f"there is no SoundFont at {path}; name an existing .sf2 or .sf3 file")
        with open(path, "rb") as file:
            head = file.read(12)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise RenderingError(f"the SoundFont {path} cannot be read: {error.strerror or error}") from error
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise RenderingError(f"{path} is not a SoundFont; an .sf2 or .sf3 file is needed")
    if int.from_bytes(head[4:8], "little") + 8 > size:
        raise RenderingError(f"the SoundFont {path} is cut short; fetch it again")
    return path
