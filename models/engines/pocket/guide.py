"""What the next id of a take gains and loses: what may not come at all, and what the plan of the piece asks for."""

from __future__ import annotations

from collections.abc import Sequence as Listed

import numpy as np

from models.engines.pocket.clock import Clock
from models.engines.pocket.memory import NOTHING, BarMemory
from models.engines.pocket.steering import KIND_RANGES, Steering
from models.music.form.chords import CHORD_TONES, NO_CHORD
from models.music.form.playing import LEAST_LAST_MS, by_channel, last_chord, within_reach
from models.music.score.measures import SCALES, Key
from models.music.score.programs import CHANNELS, DRUMS
from models.music.vocabulary.los_angeles import DURATION, DURATION_STEP_MS, LONGEST_TIME, PITCH, TIME, TIME_STEP_MS

_NEVER = -np.inf
_SIZES = tuple(end - first for first, end in KIND_RANGES)
LONGEST_TIME_MS = LONGEST_TIME * TIME_STEP_MS
_SHORTEST = 3  # steps of duration that a note has which is no stroke of the drums
_LARGEST_CHORD = 10  # notes at once
_CHORDS = ((-1.0, 1), (-0.6, 2), (-0.3, 3), (float("inf"), _LARGEST_CHORD))  # and where so many bars' notes are missing
_OUTSIDE = (0.3, 1.0, 2.0)  # nats that pitches outside the chord lose between beats, on beats, on harmonic units
_ROOT = 2.0  # nats that a bass gains on the root where the harmony changes
_DEFICIT = 0.5  # nats for each note that an instrument is behind its share
_MOST_DEFICIT = 5.0
_SLACK = 4  # notes at the beginning that count towards nobody's share
_PACE = 2.4  # nats a quarter of a bar and a bar's notes that the piece is ahead or behind
_FULLER, _THINNER = 0.5, 2.5  # nats of a chord's next note for each bar's notes, where there are too few, too many
_GROOVE = 3.0  # nats for what the drums' pattern has here, and against what it has not
_AS_IT_WAS = 2  # the level from which on nothing of a bar is varied on purpose
_LIKENESS = (0.75, 0.95, 1.0)  # shares of the nats for returns by how much alike they are to be
_UNUSED = 0.1  # of the notes that were asked for may be left over
_NO_GRACE = 5  # steps before the last chord in which nothing begins
_HOME = 2.0  # nats that the melody's last note gains on the tonic
_LAST_STROKES = (36, 49)  # kick or crash
_LOWEST_CLUSTER = 48  # below it, nothing but one note at once sounds well


def _leaps() -> np.ndarray:
    """What a leap costs by its semitones, -127..127: steps nothing, then more and more."""
    size = np.abs(np.arange(-127, 128))
    cost = np.select([size == 0, size <= 2, size <= 4, size <= 7, size <= 9], [0.6, 0.0, 0.5, 0.9, 1.3],
                     1.8 + 0.12 * np.maximum(size - 10, 0))
    return -cost.astype(np.float32)


_LEAPS = _leaps()


class Guide:
    """Follows one take; the clock hears its ids first."""

    def __init__(self, steering: Steering, clock: Clock) -> None:
        self._steering, self._clock, self._form = steering, clock, steering.form
        self._strengths = steering.strengths
        self._budget = steering.notes
        self._times = np.zeros(_SIZES[0], dtype=np.float32)
        self._durations = np.zeros(_SIZES[1], dtype=np.float32)
        self._durations[:8] = _NEVER  # a duration of nothing
        if clock.bar_steps:
            self._times[LONGEST_TIME + 1:] = _NEVER
        self._players = by_channel(self._form.players if self._form else ())
        self._pitches = self._ranges()
        self._tables: dict[tuple[int, int], np.ndarray] = {}
        self._single = [channel for channel, player in self._players.items() if player.voices == 1]
        self._full = {channel: player.players * player.voices for channel, player in self._players.items()}
        self._share = np.zeros(len(CHANNELS), dtype=np.float32)
        for channel, player in self._players.items():
            self._share[channel] = player.share
        if self._form is not None and self._form.groove is not None:
            of_drums = min(len(self._form.groove.beats) / self._form.notes_in_bar, 0.6)
            self._share *= (1 - of_drums) / max(1 - float(self._share[DRUMS]), 1e-6)
            self._share[DRUMS] = of_drums
        self._counts = np.zeros(len(CHANNELS), dtype=np.float32)
        self._last: dict[int, int] = {}  # pitch of the last note with which each channel began an onset
        self._top: int | None = None  # the highest pitch of the onset before
        self._chord: list[int] = []  # P ids with the onset of the last note
        self._at_once: dict[int, int] = {}  # notes of each channel with that onset
        self._stroke = False  # whether the last duration is one of drums only
        self._fullest = _LARGEST_CHORD  # notes at once, without drums
        self._thrift = 1.0  # below 1 where too many notes were used for what comes back to be worth its notes
        self._beats, self._fill = self._pattern(False), self._pattern(True)  # of the drums: steps in the bar -> pitches
        for place, id_ in enumerate(steering.given):
            self._hear(id_, place)
        self._counts[:] = 0
        self._read = 0

    # Hearing

    def follow(self, ids: Listed[int]) -> None:
        """Hear the ids made so far."""
        for place in range(self._read, len(ids)):
            self._hear(ids[place], place)
        self._read = len(ids)

    def _hear(self, id_: int, place: int) -> None:
        kind = place % 3
        if kind == 0 and id_ != TIME:
            self._top = max((id_ % 128 for id_ in self._chord if (id_ - PITCH) // 128 != DRUMS), default=self._top)
            self._chord.clear()
            self._at_once.clear()
        elif kind == 1:
            self._stroke = id_ < DURATION + 8 * _SHORTEST
        elif kind == 2:
            channel, pitch = divmod(id_ - PITCH, 128)
            self._chord.append(id_)
            before = self._at_once.get(channel, 0)
            self._at_once[channel] = before + 1
            if not before or channel not in self._last:
                self._last[channel] = pitch
            self._counts[channel] += 1

    # What comes next

    @property
    def ending(self) -> bool:
        """Whether the last note belongs to the last chord of the plan."""
        return self._form is not None and self._clock.begun and self._clock.bar >= len(self._form.bars) - 1

    @property
    def ends_after(self) -> int | None:
        """How many notes the take has in all, once that is certain."""
        if not self.ending or self._form is None:
            return None
        made = int(self._counts.sum()) - len(self._chord)
        return min(made + self._last_notes(), self._budget)

    def after(self, ids: Listed[int]) -> np.ndarray:
        """For each id of the kind that comes next, what is added to its logit."""
        self.follow(ids)
        return (self._next_time, self._next_duration, self._next_pitch)[len(ids) % 3](len(ids) // 3)

    def _next_time(self, made: int) -> np.ndarray:
        times: np.ndarray = self._times.copy()
        if self._form is None or not self._clock.bar_steps:
            if len(self._chord) >= _LARGEST_CHORD:  # a small network may not find its way out of a chord
                times[0] = _NEVER
            return times
        if not self._clock.begun:  # a piece begins on the bar line
            times[1:] = _NEVER
            return times
        clock, form = self._clock, self._form
        if self.ending:
            times[1:] = _NEVER
            return times
        gap = (clock.first_bar + len(form.bars) - 1) * clock.bar_steps - clock.time
        if gap <= LONGEST_TIME:  # the last chord stands on its bar line, and alone
            times[gap + 1:] = _NEVER
        times[max(gap - _NO_GRACE, 1):min(gap, len(times))] = _NEVER
        left = self._budget - made - self._last_notes()
        if left > _UNUSED * self._budget and gap < len(times) and gap > clock.beat_steps / 2:
            times[gap] = _NEVER  # there is room for more before it
        jumps = -(-gap // LONGEST_TIME)
        if left < jumps:  # no note but those that lead to the end
            furthest = gap if gap <= LONGEST_TIME else min(LONGEST_TIME, gap - _NO_GRACE - 1)
            times[:furthest] = _NEVER
            return times
        ahead = (left - gap / clock.bar_steps * form.notes_in_bar) / form.notes_in_bar  # bars of notes to be caught up
        quarter_bars = np.arange(len(times), dtype=np.float32) * (4 / clock.bar_steps)
        pace = float(np.clip(ahead, -1.0, 1.5))
        times -= _PACE * pace * quarter_bars
        times[0] += _FULLER * pace if pace > 0 else _THINNER * float(max(ahead, -2.5))
        self._fullest = next(notes for behind, notes in _CHORDS if ahead < behind)
        if self._crowded():
            times[0] = _NEVER
        self._thrift = float(np.clip(1 + ahead, 0.0, 1.0))
        if gain := self._returning:
            pitches, then = self._memory.returning()
            if any(id_ not in self._chord and self._free((id_ - PITCH) // 128) for id_ in pitches):
                times[0] += gain
            elif then != NOTHING:
                times[then] += gain
        if self._beats:
            self._wait_for_drums(times)
        return times

    def _wait_for_drums(self, times: np.ndarray) -> None:
        """No time passes over a stroke of the pattern."""
        pattern, here = self._strokes(self._clock.bar), self._clock.in_bar
        if self._pending():
            times[1:] -= _GROOVE
            return
        following = [step - here for step in pattern if step > here]
        if not following:
            first = min(self._strokes(self._clock.bar + 1), default=None)
            following = [] if first is None else [self._clock.bar_steps - here + first]
        if following and (until := min(following)) < len(times):
            times[until + 1:] -= _GROOVE
            times[until] += 0.3 * _GROOVE

    def _next_duration(self, made: int) -> np.ndarray:
        durations: np.ndarray = self._durations.copy()
        clock, form = self._clock, self._form
        if form is None or not clock.bar_steps:
            return durations
        if self.ending:
            bar = clock.bar_steps * TIME_STEP_MS
            least = min(max(int(max(bar, LEAST_LAST_MS) // DURATION_STEP_MS), 1), 126)
            durations[:8 * least] = _NEVER
            durations[8 * (least + 2):] = _NEVER
            return durations
        if not self._pending():
            durations[:8 * _SHORTEST] = _NEVER  # only drums are struck
        gap = (clock.first_bar + len(form.bars) - 1) * clock.bar_steps - clock.time
        longest = max(gap * TIME_STEP_MS // DURATION_STEP_MS, _SHORTEST)  # nothing hangs over into the last chord
        durations[8 * (longest + 1):] = _NEVER
        if (gain := self._returning) and (source := self._clock.remembered[0][-1]) != NOTHING:
            durations[source - DURATION] += 0.5 * gain
        return durations

    def _next_pitch(self, made: int) -> np.ndarray:
        if self._form is None:
            flat = self._pitches.copy()
        elif self.ending:
            flat = self._last_chord(made)
        else:
            flat = self._planned(made)
        flat[[id_ - PITCH for id_ in self._chord]] = _NEVER  # nobody strikes a note twice at once
        return flat

    def _planned(self, made: int) -> np.ndarray:
        """Pitches that the players have free, leaning on the chord, on short ways and on who has had too little."""
        clock, form = self._clock, self._form
        assert form is not None
        chord, strong = self._harmony()
        flat = self._table(chord, strong).copy()
        pitches = flat.reshape(len(CHANNELS), 128)
        line = self._strengths.line
        for channel, last in self._last.items():
            if channel != DRUMS and channel in self._players:
                if channel in self._single:
                    pitches[channel] += line * _LEAPS[127 - last:255 - last]
                elif not self._at_once.get(channel):  # the upper voice of chords; a left hand may leap
                    pitches[channel, 56:] += line * _LEAPS[127 - last + 56:255 - last]
        alone = len(self._players) == len(self._single) == 1  # whose line has been led already
        if not self._chord and self._top is not None and not alone:  # the first of an onset is its highest
            pitches[:DRUMS] += line * _LEAPS[127 - self._top:255 - self._top]
            pitches[DRUMS + 1:] += line * _LEAPS[127 - self._top:255 - self._top]
        deficit = self._share * (made + _SLACK) - self._counts
        gain = self._strengths.balance * np.clip(_DEFICIT * deficit, -_MOST_DEFICIT, _MOST_DEFICIT)
        pitches += gain[:, None]
        if self._thick or (self._stroke and self._pending()):
            pitches[:DRUMS] = _NEVER
            pitches[DRUMS + 1:] = _NEVER
        if self._beats:
            pending = list(self._pending())
            struck = pitches[DRUMS, pending] + 2 * _GROOVE  # first of all, so that nobody else is heard waiting for them
            pitches[DRUMS] = _NEVER
            pitches[DRUMS, pending] = struck
        for channel, count in self._at_once.items():
            if count >= self._full.get(channel, 0):
                pitches[channel] = _NEVER
        if clock.bar >= 0 and (silent := form.bars[clock.bar].silent):
            pitches[[CHANNELS.index(name) for name in silent]] = _NEVER
        if self._chord and (lowest := min(id_ % 128 for id_ in self._chord)) < _LOWEST_CLUSTER:
            pitches[:DRUMS, max(lowest - 2, 0):lowest + 3] -= 2.0
        if gain := self._returning:
            flat[[id_ - PITCH for id_ in self._memory.returning()[0]]] += gain
        if not np.isfinite(flat.max()):  # everybody is taken: whoever may strike once more
            flat = self._pitches.copy()
        return flat

    def _last_chord(self, made: int) -> np.ndarray:
        """The tonic's triad: its root in the bass first, then a note or more for everybody else, and the drums."""
        form = self._form
        assert form is not None
        flat: np.ndarray = np.full(_SIZES[2], _NEVER, dtype=np.float32)
        pitches = flat.reshape(len(CHANNELS), 128)
        left = (self.ends_after or 0) - made
        usable = last_chord(self._players, Key(form.tonic, form.mode), self._chord, left).reshape(len(CHANNELS), 128)
        for channel in np.flatnonzero(usable.any(axis=1)).tolist():
            line = self._line(channel).copy()
            if self._players[channel].role == "melody" and not self._at_once.get(channel):
                line[np.arange(128) % 12 == form.tonic] += _HOME
            pitches[channel, usable[channel]] = line[usable[channel]]
        if DRUMS in self._players and not self._at_once.get(DRUMS) and (left == 1 or not usable.any()):
            flat[:] = _NEVER
            pitches[DRUMS, list(_LAST_STROKES)] = 0.0
        return flat if np.isfinite(flat.max()) else self._pitches.copy()  # ranges hold no more of the triad

    def _line(self, channel: int) -> np.ndarray:
        """What the way from the channel's last pitch to each pitch costs, (128,)."""
        last = self._last.get(channel)
        return np.zeros(128, dtype=np.float32) if last is None else _LEAPS[127 - last:255 - last]

    # Tables

    def _last_notes(self) -> int:
        """Notes of the last chord, as far as the notes that were asked for suffice."""
        assert self._form is not None
        return max(min(self._form.last_notes, max(self._budget // 4, 1)), 1)

    def _free(self, channel: int) -> bool:
        """Whether somebody of a channel can join the chord that sounds."""
        bar = self._clock.bar
        silent = self._form.bars[bar].silent if self._form and 0 <= bar < len(self._form.bars) else ()
        if channel == DRUMS and self._beats:
            return bool(self._pending())
        return self._at_once.get(channel, 0) < self._full.get(channel, 0) and CHANNELS[channel] not in silent

    @property
    def _thick(self) -> bool:
        """Whether the chord that sounds has as many notes as the piece can afford, drums left out."""
        return sum((id_ - PITCH) // 128 != DRUMS for id_ in self._chord) >= self._fullest

    def _crowded(self) -> bool:
        """Whether nobody is free to join the chord that sounds."""
        form, bar = self._form, self._clock.bar
        most = form.bars[bar].most_at_once if form is not None and 0 <= bar < len(form.bars) else 0
        if self._thick and not self._pending():
            return True
        return len(self._chord) >= (most or _LARGEST_CHORD) or not any(map(self._free, self._full))

    def _strokes(self, bar: int) -> dict[int, tuple[int, ...]]:
        """What the drums have in a bar of the plan."""
        bars = self._form.bars if self._form else ()
        if not 0 <= bar < len(bars) - 1:
            return {}
        return self._fill if bars[bar].fill else self._beats

    def _pending(self) -> set[int]:
        """Strokes of the pattern where the last note stands that have not been made."""
        strokes = self._strokes(self._clock.bar).get(self._clock.in_bar, ())
        return {pitch for pitch in strokes if PITCH + 128 * DRUMS + pitch not in self._chord}

    def _pattern(self, fill: bool) -> dict[int, tuple[int, ...]]:
        groove, steps = self._form.groove if self._form else None, self._clock.tick_steps
        if groove is None or not self._clock.bar_steps:
            return {}
        hits = groove.fill if fill else groove.beats
        return {step: tuple(hit.pitch for hit in hits if int(hit.tick * steps + 1e-6) == step)
                for step in sorted({int(hit.tick * steps + 1e-6) for hit in hits})}

    @property
    def _returning(self) -> float:
        """Nats that what a bar brings back gains in it; where it is varied, the last beat is free."""
        assert self._form is not None
        if self._clock.bar < 0 or (returns := self._form.bars[self._clock.bar].returns) is None:
            return 0.0
        if returns.level < _AS_IT_WAS and self._clock.in_bar >= self._clock.bar_steps - self._clock.beat_steps:
            return 0.0
        return self._strengths.returns * _LIKENESS[returns.level] * self._thrift

    @property
    def _memory(self) -> BarMemory:
        assert self._clock.memory is not None
        return self._clock.memory

    def _harmony(self) -> tuple[int, int]:
        """The chord of the plan where the last note stands, and how strong the place is: 0 between beats to 2."""
        clock, form = self._clock, self._form
        assert form is not None
        if not clock.bar_steps or not 0 <= clock.bar < len(form.bars):
            return NO_CHORD, 0
        unit = clock.unit
        since = clock.in_bar - unit * clock.bar_steps // form.units
        strong = 2 if since <= 1 else 1 if (clock.in_bar + 1) % clock.beat_steps <= 2 else 0
        return form.bars[clock.bar].chords[unit], strong

    def _table(self, chord: int, strong: int) -> np.ndarray:
        """Ranges, key and chord of a place, (1536,)."""
        found = self._tables.get((chord, strong))
        if found is None:
            found = self._pitches.copy()
            if chord != NO_CHORD:
                pitches = found.reshape(len(CHANNELS), 128)
                tones = CHORD_TONES[chord][np.arange(128) % 12]
                loss = self._strengths.chords * _OUTSIDE[strong]
                for channel, player in self._players.items():
                    if channel == DRUMS:
                        continue
                    pitches[channel, ~tones] -= loss
                    root = np.arange(128) % 12 == chord % 12
                    if player.role == "bass" and strong == 2:
                        low = np.arange(128) <= (player.high if player.voices == 1 else player.low + 24)
                        pitches[channel, root & low] += self._strengths.chords * _ROOT
            self._tables[chord, strong] = found
        return found

    def _ranges(self) -> np.ndarray:
        """What each player can reach, with less for what is outside the key, (1536,)."""
        flat: np.ndarray = np.zeros(_SIZES[2], dtype=np.float32)
        pitches = flat.reshape(len(CHANNELS), 128)
        pitches[:, 0] = _NEVER
        attributes = self._steering.attributes
        if attributes.tonic is not None and attributes.mode is not None:
            scale = [(attributes.tonic + step) % 12 for step in SCALES[attributes.mode]]
            outside = ~np.isin(np.arange(128) % 12, scale)
            melodic = np.arange(len(CHANNELS)) != DRUMS
            pitches[np.ix_(melodic, outside)] -= self._strengths.key
        if self._form is not None:
            flat[~within_reach(self._players)] = _NEVER
        return flat
