"""A score as a picture, looked at pixel by pixel."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import RenderingError, ScoreError
from models.music.score.notes import NOTE, Score
from models.sound.rendering.picture import COLOURS, HEIGHT, WIDTH
from models.sound.rendering.roll import DRUM_COLOUR, draw_roll

PIANO, ORGAN, GUITAR = 0, 19, 24
BLUE, GREEN, ORANGE = COLOURS[0], COLOURS[2], COLOURS[4]
PLOT = 150  # px; what is above is text and a legend of one row


def _score(*notes: tuple[float, float, int, int, int] | tuple[float, float, int, int, int, bool]) -> Score:
    """Notes as (onset s, duration s, pitch, velocity, program, drum)."""
    array = np.zeros(len(notes), dtype=NOTE)
    for index, (onset, duration, pitch, velocity, program, *drum) in enumerate(notes):
        array[index] = (onset * 1000, duration * 1000, 0, pitch, velocity, program, bool(drum and drum[0]))
    return Score(array)


def _picture(score: Score, folder: Path, *, title: str = "Title", **more: object) -> np.ndarray:
    path = draw_roll(score, folder / "roll.png", title=title, **more)  # type: ignore[arg-type]
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (WIDTH, HEIGHT))
        return np.asarray(image.convert("RGB")).astype(int)


def _where(picture: np.ndarray, colour: tuple[int, int, int], tolerance: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels of a colour below the legend."""
    rows, columns = np.nonzero(np.abs(picture - colour).max(axis=2) <= tolerance)
    below = rows >= PLOT
    return rows[below], columns[below]


def test_time_goes_right_and_pitch_up_in_the_colour_of_the_instrument(tmp_path: Path) -> None:
    picture = _picture(_score((0, 2, 50, 127, PIANO), (6, 2, 80, 127, GUITAR)), tmp_path)
    piano_rows, piano_columns = _where(picture, BLUE)
    guitar_rows, guitar_columns = _where(picture, ORANGE)
    assert len(piano_rows) > 500
    assert len(guitar_rows) > 500
    assert guitar_rows.max() < piano_rows.min()
    assert piano_columns.max() < guitar_columns.min()
    plot = guitar_columns.max() - piano_columns.min()
    assert (piano_columns.max() - piano_columns.min()) / plot == pytest.approx(2 / 8, abs=0.01)


def test_every_note_has_its_place(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for count in (1, 7, 40):
        pitches = rng.choice(np.arange(21, 109), size=count, replace=False)
        picture = _picture(_score(*((0.0, 1.0, int(pitch), 127, PIANO) for pitch in pitches)), tmp_path)
        column = np.abs(picture[PLOT:, WIDTH // 2] - BLUE).max(axis=1) <= 6
        separate = np.diff(column.astype(int)) == 1
        neighbours = sum(1 for pitch in pitches if pitch + 1 in pitches)
        assert count - neighbours <= separate.sum() <= count


@pytest.mark.parametrize("programs", [(PIANO, GUITAR), (PIANO, ORGAN, GUITAR)])
def test_instruments_that_play_the_same_keep_their_colours(tmp_path: Path, programs: tuple[int, ...]) -> None:
    """Side by side while they sound together; before and after, each has the row for itself."""
    notes = [(1.0 * number, 6.0, 60, 127, program) for number, program in enumerate(programs)]
    picture = _picture(_score(*notes, (0, 8, 40, 127, PIANO)), tmp_path)
    colours = {PIANO: BLUE, ORGAN: GREEN, GUITAR: ORANGE}
    middle = picture[PLOT:, WIDTH // 2]
    for program in programs:
        assert (np.abs(middle - colours[program]).max(axis=1) <= 6).sum() >= 5
    coloured = picture[PLOT:][picture[PLOT:].max(axis=2) - picture[PLOT:].min(axis=2) > 40]
    nearest = np.min([np.abs(coloured - colours[program]).max(axis=1) for program in programs], axis=0)
    assert nearest.max() <= 6, "a colour that no instrument has"
    first = _where(picture, colours[programs[-1]])[1].max()  # the last one ends alone
    alone = np.abs(picture[PLOT:, first - 5] - colours[programs[-1]]).max(axis=1) <= 6
    together = np.abs(middle - colours[programs[-1]]).max(axis=1) <= 6
    assert alone.sum() > 1.5 * together.sum()


def test_louder_notes_are_darker(tmp_path: Path) -> None:
    velocities = (1, 40, 80, 127)
    picture = _picture(_score(*((0, 1, 60 + 5 * n, v, PIANO) for n, v in enumerate(velocities))), tmp_path)
    column = picture[PLOT:, WIDTH // 2]
    tints = column[(column[:, 2] - column[:, 0]) > 40]  # blue, from the top: the loudest first
    shades = [int(tint[0]) for tint, _ in itertools.groupby(tints.tolist())]
    assert len(shades) == len(velocities)
    assert shades == sorted(shades)
    assert shades[0] + 30 < shades[1]


def test_drums_have_a_lane_of_their_own(tmp_path: Path) -> None:
    picture = _picture(_score((0, 4, 60, 127, PIANO), (1, 0.1, 36, 127, 0, True), (2, 0.1, 42, 127, 0, True)), tmp_path)
    piano_rows, _ = _where(picture, BLUE)
    drum_rows, drum_columns = _where(picture[:, 150:], DRUM_COLOUR)
    assert drum_rows.min() > piano_rows.max()
    kick, hat = (np.unique(drum_rows[side]) for side in (drum_columns < 500, drum_columns > 500))
    assert kick.min() > hat.max()  # the kick is the lowest row
    without = _picture(_score((0, 4, 60, 127, PIANO)), tmp_path)
    assert not len(_where(without[:, 150:], DRUM_COLOUR)[0])


def test_drums_alone(tmp_path: Path) -> None:
    picture = _picture(_score((0, 0.1, 36, 127, 0, True), (1, 0.1, 38, 127, 0, True)), tmp_path)
    assert len(_where(picture[:, 150:], DRUM_COLOUR)[0]) > 100


@pytest.mark.parametrize("seconds", [0.01, 3.0, 9.99])
def test_the_prime_is_marked(tmp_path: Path, seconds: float) -> None:
    score = _score((0, 10, 60, 80, PIANO))
    plain = _picture(score, tmp_path)
    marked = _picture(score, tmp_path, prime_seconds=seconds)
    dark = (marked.max(axis=2) < 60) & ~(plain.max(axis=2) < 60)
    counts = dark[180:848].sum(axis=0)
    lines = np.flatnonzero(counts > 300)  # columns of a dashed line
    assert 2 <= len(lines) <= 4
    assert counts[lines].max() < 600  # dashed
    blue = np.flatnonzero((plain[PLOT:, :, 2] - plain[PLOT:, :, 0] > 60).any(axis=0))
    expected = blue.min() + seconds / 10 * (blue.max() - blue.min())
    assert lines.mean() == pytest.approx(expected, abs=4)


def test_without_a_prime_there_is_no_line(tmp_path: Path) -> None:
    score = _score((0, 10, 60, 80, PIANO))
    assert np.array_equal(_picture(score, tmp_path), _picture(score, tmp_path, prime_seconds=0.0))
    assert not np.array_equal(_picture(score, tmp_path), _picture(score, tmp_path, prime_seconds=5.0))


def test_titles_in_many_alphabets_are_drawn(tmp_path: Path) -> None:
    score = _score((0, 1, 60, 80, PIANO))
    blank = _picture(score, tmp_path, title="月光")  # nothing of it is in the font
    for title in ("Präludium für Elise – Wałc", "Příliš žluťoučký kůň", "Ελλάδα", "Прелюдия", "Été, cœur"):  # noqa: RUF001
        with_title = _picture(score, tmp_path, title=title)
        assert not np.array_equal(with_title[:100], blank[:100])
        assert np.array_equal(with_title[100:], blank[100:])


@pytest.mark.parametrize("hostile", [
    "", "\x00\x1b[31m\n\r\t", "🎹🎻", "\u202eשלום", "a\u0301\u0302" * 50, "x" * 10_000, "W" * 120, "月光" * 5_000,  # noqa: RUF001
    "../../etc/passwd", "\ud800", "e" + "\u0300" * 500,
])  # fmt: skip
def test_hostile_texts_stay_on_their_line(tmp_path: Path, hostile: str) -> None:
    score = _score((0, 1, 60, 80, PIANO))
    picture = _picture(score, tmp_path, title=hostile, parameters=hostile)
    tidy = _picture(score, tmp_path, title="Title", parameters="parameters" if hostile else "")
    assert np.array_equal(picture[140:], tidy[140:])  # what is below is as ever
    assert (picture[:140, WIDTH - 30:] == 255).all()  # and nothing runs off the edge
    assert (picture[:140, :36] == 255).all()


def test_characters_the_font_lacks_are_left_out(tmp_path: Path) -> None:
    score = _score((0, 1, 60, 80, PIANO))
    with_emoji = _picture(score, tmp_path, title="Moon 🌙\u202elight 月 in C♯")
    assert np.array_equal(with_emoji, _picture(score, tmp_path, title="Moon light in C#"))


def test_many_instruments_all_look_different(tmp_path: Path) -> None:
    programs = (0, 8, 16, 21, 24, 32, 40, 41, 42, 46, 47, 52, 56, 57, 64, 68, 70, 72, 80)
    notes = [(float(number), 1.0, 50 + number, 127, program) for number, program in enumerate(programs)]
    plot = _picture(_score(*notes), tmp_path)[280:]
    coloured = plot.max(axis=2) - plot.min(axis=2) > 60
    starts = np.linspace(np.flatnonzero(coloured.any(axis=0)).min(), WIDTH - 40, len(programs) + 1)
    looks = set()
    for start, end in itertools.pairwise(starts.round().astype(int)):
        columns = coloured[:, start + 10:end - 10]
        rows = np.flatnonzero(columns.any(axis=1))
        note = columns[rows.min():rows.max() + 1]
        strongest = plot[rows.min(), start + 10:end - 10].min(axis=0)
        filled = note.all(axis=0).mean()  # 1: solid, a half: striped, 0: hollow
        looks.add((*strongest.tolist(), round(filled * 2)))
    assert len(looks) == len(programs)


def test_a_long_legend_wraps(tmp_path: Path) -> None:
    few = _picture(_score((0, 1, 60, 127, PIANO)), tmp_path)
    many = _picture(_score(*((0, 1, 60, 127, program) for program in range(0, 128, 8))), tmp_path)
    tops = [np.flatnonzero((picture[:, 200:1500] == 255).all(axis=(1, 2))).max() for picture in (few[:400], many[:400])]
    assert tops[1] >= tops[0] + 40  # the plot begins a row lower
    assert (many[:tops[1], WIDTH - 30:] == 255).all()


def test_colours_differ_for_every_kind_of_colour_vision() -> None:
    # Machado, Oliveira and Fernandes 2009, severity 1: protan, deutan, tritan; on linear RGB.
    visions = np.array([
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ])
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])

    def lab(colour: tuple[int, int, int], vision: np.ndarray) -> np.ndarray:
        srgb = np.array(colour) / 255
        linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
        x, y, z = np.cbrt(xyz @ np.clip(vision @ linear, 0, 1) / (0.9505, 1, 1.089))
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    for first, second in itertools.combinations((*COLOURS, (255, 255, 255)), 2):
        assert min(float(np.linalg.norm(lab(first, v) - lab(second, v))) for v in visions) > 14, (first, second)


def test_many_notes_and_very_short_ones_are_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    notes = np.zeros(20_000, dtype=NOTE)
    notes["onset_ms"] = np.sort(rng.uniform(0, 600_000, len(notes)))
    notes["duration_ms"] = rng.uniform(0, 800, len(notes))
    notes["pitch"] = rng.integers(0, 128, len(notes))
    notes["velocity"] = rng.integers(1, 128, len(notes))
    notes["program"] = rng.choice((0, 24, 32, 40, 56, 73), len(notes))
    notes["drum"] = rng.random(len(notes)) < 0.2
    assert len(_where(_picture(Score(notes), tmp_path), DRUM_COLOUR)[0]) > 100
    few = _picture(_score((0, 0.001, 0, 127, PIANO), (0.0, 0.0, 100, 127, ORGAN)), tmp_path)
    assert len(_where(few, BLUE)[0]) >= 6
    assert len(_where(few, GREEN)[0]) >= 6
    assert (tmp_path / "roll.png").stat().st_size < 200_000


def test_the_last_note_of_a_long_piece_is_still_seen(tmp_path: Path) -> None:
    picture = _picture(_score((0, 0.1, 40, 127, PIANO), (600, 0.001, 80, 127, GUITAR)), tmp_path)
    assert len(_where(picture, ORANGE)[0]) >= 6


def test_a_score_without_notes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match="no notes"):
        draw_roll(_score(), tmp_path / "roll.png", title="Silence")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RenderingError, match="cannot be written"):
        draw_roll(_score((0, 1, 60, 80, PIANO)), tmp_path / "nowhere" / "roll.png", title="Title")
    assert not list(tmp_path.iterdir())
