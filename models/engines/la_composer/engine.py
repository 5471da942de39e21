"""The engine of Los Angeles Music Composer: the song called most alike begins, the network goes on.

As in the seed system's text-to-music notebook, the words choose a song and its stored beginning
is the prime; nothing else of what they say reaches the network.
"""

from __future__ import annotations

from collections.abc import Sequence as Listed
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.checkpoints.local_transformer import FirstWindow
from models.checkpoints.local_transformer import load as load_network
from models.decoding.batcher import Batcher
from models.decoding.local_decoder import LocalDecoder
from models.decoding.sequence import Sequence
from models.engines.la_composer.guide import UPSTREAM, Guide, Playing, players_heard
from models.engines.la_composer.titles_database import TitleDatabase
from models.errors import CheckpointError
from models.interface.engine import Host
from models.interface.midi import TAKES, ComposeRequest, Plan, Take
from models.music.attributes import Attributes
from models.music.form.playing import played
from models.music.titles.matching import TitleIndex, in_words
from models.music.vocabulary.carried_on import read_carried_on
from models.music.vocabulary.grammar import allowed_after, place_after
from models.music.vocabulary.los_angeles import (
    CHANNEL_COUNT,
    DURATION,
    NO_DRUMS,
    PITCH,
    SIZE,
    START,
    TIME,
    decode,
    prime_seconds,
)
from models.network.local_transformer import LocalTransformer

TITLES = "titles.safetensors"  # in the model's folder
TOP_K = 283  # int((1 - 0.9) * 2831), as upstream
# Upstream's improvised beginning: one channel, no drums, and a piano's C5 of 200 ms, as loud as can be.
IMPROVISED = (START, NO_DRUMS, CHANNEL_COUNT + 1, TIME, DURATION + 8 * 10 + 7, PITCH + 72)
_GET_IT = "run `kapelle models fetch la-composer`, or name a model with --model PATH"


class LaComposerDecoder(LocalDecoder):
    """Decodes with upstream's network.

    A sequence that has used up the 4096 positions goes on from the last 3072 ids, or a few less, so
    that they begin with a T; upstream slides by one id a step instead and computes all of them anew.

    `grammar` lets only ids come that can follow, `playing` (which needs the grammar, and brings it) only what it says;
    upstream does neither.
    """

    def __init__(
        self, network: LocalTransformer, rows: int, *, phantom: bool = False, grammar: bool = False,
        playing: Playing = UPSTREAM,
    ) -> None:
        super().__init__(network, rows, phantom=phantom)
        self._grammar, self._playing = grammar, playing
        self._guides: dict[Sequence, Guide] = {}  # of those that are running

    def join(self, sequence: Sequence) -> None:
        if self._playing != UPSTREAM:
            self._guides[sequence] = Guide(self._playing, sequence)
        super().join(sequence)

    def leave(self, sequence: Sequence) -> None:
        self._guides.pop(sequence, None)
        super().leave(sequence)

    def steer(self, sequences: Listed[Sequence], logits: Tensor, first: int) -> Tensor:
        if not self._grammar and self._playing == UPSTREAM:
            return logits
        allowed = np.stack([self._allowed(sequence) for sequence in sequences])
        return logits.masked_fill(torch.from_numpy(~allowed).to(logits.device), -torch.inf)

    def _allowed(self, sequence: Sequence) -> np.ndarray:
        # Three ids are all that the place of the next one depends on.
        end = [*sequence.prime[-3:], *sequence.ids[-3:]]
        allowed = allowed_after(end, end=sequence.stop_id is not None)
        if sequence in self._guides:
            self._guides[sequence].restrict(allowed, place_after(end))
        return allowed

    def restart_place(self, ids: Listed[int], earliest: int) -> int:
        return next((place for place in range(earliest, len(ids)) if ids[place] < DURATION), earliest)


class LaComposerEngine:
    """Makes takes with the published network, or another one of its family and vocabulary."""

    name = "la-composer"

    def __init__(
        self, network: LocalTransformer, songs: TitleDatabase | None, *, first_window: FirstWindow = "native",
        grammar: bool = False, playing: Playing = UPSTREAM, rows: int = TAKES.stop - 1,
    ) -> None:
        """`songs` is the title database; without one every piece is improvised. `rows` sequences run at once.

        `grammar` and `playing` are for `LaComposerDecoder`.
        """
        if network.config.vocabulary != SIZE:
            raise CheckpointError(f"the model has {network.config.vocabulary:,} ids; la-composer needs one of {SIZE:,}")
        self._songs = songs
        self._index = TitleIndex(songs.titles) if songs is not None else None
        phantom = first_window == "trained"
        self._playing = playing
        self.batcher = Batcher(LaComposerDecoder(network, rows, phantom=phantom, grammar=grammar, playing=playing))

    @classmethod
    def load(cls, model: Path, *, grammar: bool = False, playing: Playing = UPSTREAM) -> LaComposerEngine:
        """Load a model folder or an upstream `.pth`; `titles.safetensors` beside the weights is the title database.

        Raises CheckpointError.
        """
        if not model.exists():
            raise CheckpointError(f"there is no model at {model}; {_GET_IT}")
        loaded = load_network(model)
        titles = (model if model.is_dir() else model.parent) / TITLES
        songs = TitleDatabase.load(titles) if titles.is_file() else None
        return cls(loaded.network, songs, first_window=loaded.first_window, grammar=grammar, playing=playing)

    def plan(self, request: ComposeRequest) -> Plan:
        """Choose the song to begin with, if there is nothing to carry on.

        Raises CheckpointError when the title database is damaged, ScoreError when what to carry on is.
        """
        if request.continuation is not None:
            given = read_carried_on(request.continuation)
            return Plan(request, self.name, None, None, Attributes(), prime=(*given.header, *given.triplets),
                        notices=given.score.faults)
        if self._songs is None or self._index is None:
            notice = f"there is no title database, so the title has no effect and the piece is improvised; {_GET_IT}"
            return Plan(request, self.name, None, None, Attributes(), prime=IMPROVISED, notices=(notice,))
        best = self._index.match(request.title, request.artist, limit=1)[0]
        if not best.score:
            notice = f"{in_words(best)}, so the piece is improvised"
            return Plan(request, self.name, None, None, Attributes(), prime=IMPROVISED, notices=(notice,))
        return Plan(request, self.name, best.title, best.score, Attributes(), prime=self._songs.ids(best.number),
                    notices=(in_words(best),) if best.low else ())

    def sequences(self, plan: Plan) -> list[Sequence]:
        """One sequence a take; it ends where another piece would begin if the request says so."""
        request = plan.request
        return [
            Sequence(prime=plan.prime, length=request.tokens, seed=request.seed, take=number,
                     temperature=request.temperature, top_k=TOP_K, stop_id=START if request.stop_at_end else None)
            for number in range(1, request.takes + 1)
        ]

    def take(self, plan: Plan, sequence: Sequence) -> Take:
        """The prime and what was made, as one piece."""
        ids = (*plan.prime, *sequence.ids)
        holds_notes = len(decode(plan.prime)) > 0
        score = decode(ids, name=plan.matched_title or plan.request.title)
        if self._playing.players:
            score = played(score, players_heard(plan.prime, ids))
        return Take(sequence.take, ids, len(plan.prime), score, prime_seconds(plan.prime) if holds_notes else None)


def load(name: str, model: Path | None, host: Host) -> LaComposerEngine:
    """The engine for the registry."""
    return LaComposerEngine.load(model or host.data / name, playing=Playing.of(host.la_composer_playing))
