"""What services, engines and readers say in English, one line each, in the language of a member."""

from __future__ import annotations

import re

from bot.messages.escaping import plain
from bot.messages.languages import N_, text, word
from models.interface.english import NOTICE as NOT_ENGLISH

LONGEST_DETAIL = 300  # characters of what is not known here
_NUMBER = re.compile(r"-?[0-9][0-9.,]{0,30}")

# How the parts below say what cannot be done or was not found -> how members are told
_SENTENCES: tuple[tuple[re.Pattern[str], str], ...] = tuple((re.compile(pattern, re.DOTALL), said) for pattern, said in (
    (r"give a title, an artist, or both", N_("Give a title, an artist, or both.")),
    (r"the title may have at most (?P<limit>\d+) characters, not (?P<asked>[\d,]+)",
     N_("The title is too long: {asked} characters, {limit} are possible.")),
    (r"the artist may have at most (?P<limit>\d+) characters, not (?P<asked>[\d,]+)",
     N_("The artist is too long: {asked} characters, {limit} are possible.")),
    (r"the title may not contain control characters", N_("There are characters in the title that cannot be shown.")),
    (r"describe the music in a few words", N_("Describe the music in a few words.")),
    (r"the prompt may have at most (?P<limit>\d+) characters, not (?P<asked>[\d,]+)",
     N_("The description is too long: {asked} characters, {limit} are possible.")),
    (r"the prompt may not contain control characters", N_("There are characters in the description that cannot be shown.")),
    (r"the artist may not contain control characters", N_("There are characters in the artist that cannot be shown.")),
    (r"(?P<what>tokens|takes|bars|temperature|seed|seconds|top-k|top-p|guidance|stride) must be between (?P<least>\S+) and "
     r"(?P<most>\S+), not (?P<asked>.+)",
     N_("{what} must be between {least} and {most}, not {asked}.")),
    (r"(?P<what>tokens|takes|bars|temperature|seed|seconds|guidance) must be a number, not (?P<asked>.*)",
     N_("{what} must be a number, not “{asked}”.")),
    (r"(?P<what>[a-z_]+) is not of the kind it should be",
     N_("{what} is not what it should be, such as a number or a text.")),
    (r"the (?:title|artist|prompt) holds characters that are none", N_("There are characters in it that do not exist.")),
    (r"a report may have at most (?P<limit>[\d,]+) characters, not (?P<asked>[\d,]+)",
     N_("The report is too long: {asked} characters, {limit} are possible.")),
    (r"a reason may have at most (?P<limit>[\d,]+) characters, not (?P<asked>[\d,]+)",
     N_("The reason is too long: {asked} characters, {limit} are possible.")),
    (r"at most (?P<limit>\d+) words can be blocked; remove one first",
     N_("No more than {limit} words can be refused. Remove one first: `/kapelle words remove`.")),
    (r"this word is not in the list", N_("This word is not in the list. `/kapelle words list` shows it.")),
    (r"a blocked word may have at most (?P<limit>\d+) characters, not (?P<asked>[\d,]+)",
     N_("The word is too long: {asked} characters, {limit} are possible.")),
    (r"a blocked word may hold only characters that can be seen", N_("There are characters in the word that cannot be shown.")),
    (r"a \* may stand only at the end of a blocked word", N_("A \\* may stand at the end of a word only.")),
    (r"a blocked word needs letters or digits, and a phrase may have at most (?P<limit>\d+) words",
     N_("A word needs letters or digits, and no more than {limit} words may be refused together.")),
    (r"at least (?P<limit>\d+) letters must stand before the \*", N_("At least {limit} letters must stand before the \\*.")),
    (r"(?:takes|tokens|seconds|jobs_at_once|jobs_a_day|takes_a_day) must be between (?P<least>\S+) and (?P<most>\S+)",
     N_("A limit must be between {least} and {most}.")),
    (r"allowed channels are set for the guild or a role",
     N_("Channels are allowed on the server or for a role. Leave out channel.")),
    (r"no piece is called (?P<asked>.*)", N_("“{asked}” is no number of a piece. Write 12 for a piece or 12.3 for a take.")),
    (r"no piece is shown in this message", N_("No piece is shown there. Use this on a message of mine that shows one.")),
    (r"no limit is called (?P<asked>.*)",
     N_("“{asked}” is no limit. Write a number, channels such as #music, or - for no limit.")),
    (r"a limit is of a role or of a channel", N_("Name a role or a channel, not both.")),
    (r"(?P<bars>\d+) bars at (?P<bpm>\d+) bpm need at least (?P<least>\d+) tokens, not (?P<asked>\d+)",
     N_("{bars} bars at {bpm} beats a minute need at least {least} tokens, not {asked}.")),
    (r"(?P<engine>\S+) plans no bars; .+",
     N_("The engine {engine} cannot be told how many bars a piece has. Leave bars out, or choose another engine.")),
    (r"no known title resembles the request", N_("No title I know resembles this one.")),
    (r"input-\w+ is no sound file; .+",
     N_("The file holds no sound that I can read. I read wav, aiff, flac, ogg, mp3, m4a, aac, mp4, webm and mov.")),
    (r"input-\w+ is silent in its first (?P<seconds>[\d.]+) s, .+",
     N_("The file is silent in its first {seconds} s, and I hear only those. Cut the silence off.")),
    (r"input-\w+ is silent in its last (?P<seconds>[\d.]+) s, .+",
     N_("The file is silent in its last {seconds} s, and I hear only those. Cut the silence off.")),
    (r"input-\w+ is silent.*", N_("The file is silent. Record it again, louder.")),
    (r"input-\w+ is without any sound; .+", N_("There is no sound in the file. Record it again.")),
    (r"input-\w+ is .+; at least (?P<least>\S+) s are needed",
     N_("The file is too short: at least {least} s are needed.")),
    (r"input-\w+ is empty", N_("The file is empty.")),
    (r"input-\w+ is (?:cut short|damaged).*", N_("The file is damaged or cut short. Send it again, or save it as wav or mp3.")),
    (r"input-\w+ holds values that are not numbers; .+",
     N_("The file holds values that are not numbers. Save it again as wav with 16 bits.")),
    (r"input-\w+ has (?P<there>[\d,]+) channels; at most (?P<most>\d+) are read",
     N_("The file has {there} channels; {most} are possible. Save it with two.")),
    (r"input-\w+ has a sample rate of (?P<there>[\d,]+) Hz; (?P<least>[\d,]+) to (?P<most>[\d,]+) Hz are read",
     N_("The file has a sample rate of {there} Hz; I read {least} to {most} Hz. Save it with 44,100 Hz.")),
    (r"input-\w+ takes too long to decode; .+", N_("Reading the file takes too long. Save it as wav or mp3 and send that.")),
    (r"input-\w+ holds no sound", N_("The file is a video without sound. Attach one that has some.")),
    (r"input-\w+ holds sound that is encoded in a way that is not read; .+",
     N_("The sound in the file is encoded in a way that I cannot read. Save it as wav or mp3 and send that.")),
    (r"input-\w+ .+", N_("I cannot use this file. Save it as wav or mp3 and send that.")),
    (r"(?P<engine>\S+) cannot follow a melody; (?P<able>.+) can", N_("{engine} cannot follow a melody; these can: {able}.")),
    (r"a piece of more than (?P<limit>[\d.]+) notes cannot be carried on",
     N_("A piece of more than {limit} notes cannot be carried on.")),
    (r"following a melody and carrying on a sound need MusicGen, which is not installed here",
     N_("Following a melody and carrying on a sound need MusicGen, which is not installed here.")),
    (r"this is not MusicGen: the pocket model composed it, and a SoundFont plays it",
     N_("This is not MusicGen: the pocket model composed it, and a SoundFont plays it.")),
    (r"(?P<engine>\S+) makes at most (?P<most>[\d.]+) s, not (?P<asked>[\d.]+)",
     N_("{engine} makes at most {most} s, not {asked}.")),
    (r"MAGNeT makes the whole take at once; temperature and guidance count from its own usual ones",
     N_("MAGNeT makes the whole take at once; temperature and guidance count from its own usual ones.")),
    (re.escape(NOT_ENGLISH), N_("The description does not seem to be in English, the only language that this model was "
                                "taught. In English it will follow you better.")),
    (r"only the last (?P<seconds>[\d.]+) s of the sound are carried on",
     N_("Only the last {seconds} s of the sound are carried on.")),
    (r"(?P<engine>\S+) follows no melody; choose a model with .+",
     N_("The engine {engine} cannot follow a melody. Choose one that is called melody, or leave the melody out.")),
    (r"the end of the prompt was left out: it is too long", N_("The end of the description was left out: it is too long.")),
    (r"the first (?P<seconds>[\d.]+) s of the melody are followed",
     N_("The first {seconds} s of the melody are followed.")),
    (r"the piece has (?P<asked>[\d,]+) notes; at most (?P<limit>[\d,]+) can be carried on",
     N_("The piece has {asked} notes; at most {limit} can be carried on.")),
    (r"track \d+ of the MIDI file is cut short; .+|the MIDI file is cut short: .+",
     N_("The MIDI file is cut short. I use what is whole of it.")),
    (r"no close match: the nearest title is “(?P<title>.+)” with (?P<score>[\d.]+) of 100, .+, so the piece is improvised",
     N_("No title I know is close (nearest: {title}, {score} of 100), so the piece is improvised.")),
    (r"no known piece is called that, so this one is new, in the style of (?P<artist>.+)",
     N_("I know no piece of that name, so this one is new, in the style of {artist}.")),
    (r"no known piece is called that, so this one is all new", N_("I know no piece of that name, so this one is all new.")),
    (r"no known title resembles the request, so the piece is improvised",
     N_("No title I know resembles this one, so the piece is improvised.")),
    (r"no close match: the nearest title is “(?P<title>.+)” with (?P<score>[\d.]+) of 100, .+",
     N_("No title I know is close. Nearest: {title} ({score} of 100), probably not the song you meant.")),
    (r"there is no title database, so the title has no effect and the piece is improvised.*",
     N_("I have no list of titles for this engine, so the title has no effect and the piece is improvised.")),
))


def said_by_us(said: str, language: str) -> str:
    """A sentence of the parts below in a language; one that is not known stays as it is."""
    for pattern, message in _SENTENCES:
        if found := pattern.fullmatch(said):
            return text(language, message, **{key: _quoted(key, value, language) for key, value in found.groupdict().items()})
    return plain(said, LONGEST_DETAIL) or text(language, "That cannot be done as it was asked for.")


def _quoted(key: str, value: str, language: str) -> str:
    if key == "what":
        return word(language, "option", value.replace("_", "-"))
    if _NUMBER.fullmatch(value) and language == "de":
        return value.translate(str.maketrans(".,", ",."))
    return value if _NUMBER.fullmatch(value) else plain(value, 120)
