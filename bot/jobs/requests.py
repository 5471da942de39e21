"""What may be asked for, by kind of job: from a member's options, which came from outside, to a checked request and back."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_type_hints

from bot.jobs.limits import Limits
from bot.jobs.refusals import Reason, Refusal
from bot.jobs.texts import storable, visible
from models.errors import InputError
from models.interface.audio import AudioRequest
from models.interface.midi import SEEDS, ComposeRequest

Request = ComposeRequest | AudioRequest
REQUESTS: Mapping[str, type[ComposeRequest] | type[AudioRequest]] = {"midi": ComposeRequest, "audio": AudioRequest}
INPUTS = ("continuation", "melody")  # files; which ones is not for members to say
WORDS = ("title", "artist", "prompt")  # what members write
OFFERED_BARS = range(4, 64 + 1)  # to members; a piece of fewer has no form, one of more hardly any notes in a bar
_JSON: Mapping[Any, tuple[type, ...]] = {
    str: (str,), int: (int,), int | None: (int,), float: (int, float), bool: (bool,)}
_CAPPED = ("takes", "tokens", "seconds")  # the usual ones are fewer where the limits are lower


def read(kind: str, parameters: Mapping[str, Any], limits: Limits) -> Request:
    """The request that options of a member make; a seed is drawn where there is none.

    Raises Refusal(INVALID) for anything that is not known, not of its type or out of range.
    """
    if kind not in REQUESTS:
        raise Refusal(Reason.INVALID, text=f"there are jobs of the kinds {', '.join(REQUESTS)}", of_a_piece=True)
    made_of = REQUESTS[kind]
    types = {name: hint for name, hint in get_type_hints(made_of).items() if name not in INPUTS}
    given = {name: value for name, value in parameters.items() if value is not None}
    for name in WORDS:  # words of which nothing can be seen are none
        if isinstance(given.get(name), str) and not visible(given[name]):
            given[name] = ""
    given.setdefault("seed", secrets.randbelow(len(SEEDS)))
    for name in _CAPPED:
        limit = getattr(limits, name)
        if name in types and limit is not None and limit < getattr(made_of, name):
            given.setdefault(name, limit)
    for name, value in given.items():
        if name not in types:
            raise Refusal(Reason.INVALID, text="there is an option that is not known", of_a_piece=True)
        if not isinstance(value, _JSON[types[name]]) or (isinstance(value, bool) and types[name] is not bool):
            raise Refusal(Reason.INVALID, text=f"{name} is not of the kind it should be", of_a_piece=True)
        if isinstance(value, str) and storable(value) != value:
            raise Refusal(Reason.INVALID, text=f"the {name} holds characters that are none", of_a_piece=True)
    try:
        return made_of(**{"title" if made_of is ComposeRequest else "prompt": "", **given})
    except (InputError, OverflowError) as error:  # OverflowError: a whole number no float can hold
        raise Refusal(Reason.INVALID, text=str(error), of_a_piece=True) from error


def parameters_of(request: Request) -> dict[str, Any]:
    """The options that make the request again, as JSON; without its files, and what was left open."""
    return {name: value for name, value in asdict(request).items() if name not in INPUTS and value is not None}


def rebuilt(kind: str, parameters: Mapping[str, Any], inputs: Mapping[str, Path]) -> Request:
    """The request of a job, with the files that belong to it. Raises InputError."""
    if kind not in REQUESTS:
        raise InputError(f"jobs of the kind {kind!r} cannot be done; there are {', '.join(REQUESTS)}")
    try:
        known = {field.name for field in fields(REQUESTS[kind])}
        if unknown := set(inputs) - known:
            raise InputError(f"a job of the kind {kind!r} takes no {', '.join(sorted(unknown))}")
        return REQUESTS[kind](**{**parameters, **inputs})
    except (TypeError, AttributeError) as error:
        raise InputError("the parameters of the job are not those of a piece") from error
