"""Why not, and what to do."""

from __future__ import annotations

from bot.jobs.refusals import Reason, Refusal
from bot.messages.escaping import copyable, plain
from bot.messages.languages import N_, plural, text
from bot.messages.pieces import counted
from bot.messages.sentences import said_by_us
from bot.messages.wording import channel_mentions, listed, message, midnight, number, rule_in_words
from models.engines.registry import AUDIOCRAFT, ENGINES

_PERMISSIONS = frozenset({  # as Discord shows them
    N_("View Channel"), N_("Send Messages"), N_("Send Messages in Threads"), N_("Create Public Threads"),
    N_("Attach Files"), N_("Read Message History"),
})

_OF_A_PIECE = frozenset({
    Reason.TOO_MANY_TAKES, Reason.TOO_MANY_TOKENS, Reason.TOO_MANY_SECONDS, Reason.TOO_MANY_AT_ONCE, Reason.JOBS_A_DAY,
    Reason.TAKES_A_DAY, Reason.WORD, Reason.PAUSED, Reason.DRAINING, Reason.QUEUE_FULL, Reason.NO_ENGINE, Reason.NO_AUDIO,
    Reason.NO_MELODY, Reason.NO_WEIGHTS, Reason.TOO_LARGE, Reason.UNREADABLE, Reason.FULL_DISK,
    Reason.LEDGER,
})


def refusal(refusal: Refusal, language: str) -> str:
    """Why not, what to do, and whether it counts against the quota, if it might: where a piece was asked for."""
    might = refusal.charged or refusal.reason in _OF_A_PIECE or refusal.details.get("of_a_piece")
    return message([_why(refusal, language), *([counted(refusal.charged, language)] if might else [])])


def unforeseen(number: str, language: str) -> str:
    """Of what nobody foresaw, and the log has under that number. What was accepted before it says so by itself."""
    return text(language, "Something went wrong, and it was not your fault. Try again in a moment. If it happens again, tell a "
                          "moderator this number: {number}", number=number)


def _why(refusal: Refusal, language: str) -> str:
    details = refusal.details
    rule = rule_in_words(str(details.get("rule", "guild")), language)
    match refusal.reason:
        case Reason.INVALID:
            return said_by_us(str(details.get("text", "")), language)
        case Reason.TOO_MANY_TAKES:
            return plural(language, "{asked} takes are too many: {n} is allowed ({rule}). Ask for fewer.",
                          "{asked} takes are too many: {n} are allowed ({rule}). Ask for fewer.",
                          int(details["limit"]), asked=details["asked"], rule=rule)
        case Reason.TOO_MANY_TOKENS:
            return text(language, "{asked} tokens are too many: {limit} are allowed ({rule}). Ask for a shorter piece.",
                        asked=details["asked"], limit=details["limit"], rule=rule)
        case Reason.TOO_MANY_SECONDS:
            return text(language, "{asked} s are too many: {limit} are allowed ({rule}). Ask for a shorter piece.",
                        asked=number(float(details["asked"]), language), limit=details["limit"], rule=rule)
        case Reason.NO_AUDIO:
            return text(language, "There is no model here that makes sound from a description, so I cannot do this. Whoever "
                                  "runs me can change that: `kapelle models fetch musicgen-small`, then KAPELLE_ENGINES.")
        case Reason.TOO_MANY_AT_ONCE:
            return plural(language, "You may have {n} piece at a time ({rule}). Wait until one is done, or `/cancel` one.",
                          "You may have {n} pieces at a time ({rule}). Wait until one is done, or `/cancel` one.",
                          int(details["limit"]), rule=rule)
        case Reason.JOBS_A_DAY:
            return plural(language, "You may ask for {n} piece a day ({rule}). The next day begins {when}.",
                          "You may ask for {n} pieces a day ({rule}). The next day begins {when}.",
                          int(details["limit"]), rule=rule, when=midnight())
        case Reason.TAKES_A_DAY:
            return text(language, "Of your takes a day ({limit}, {rule}) {left} may still be asked for. Ask for no more than "
                                  "that, or wait for the next day, which begins {when}.",
                        left=details["left"], limit=details["limit"], rule=rule, when=midnight())
        case Reason.CHANNEL:
            if not details["channels"]:
                return text(language, "Pieces cannot be posted in a channel like this one. Use a text channel.")
            return text(language, "Not in this channel. Use: {channels}",
                        channels=channel_mentions(details["channels"], language))
        case Reason.WORD:
            return text(language, "There is a word in it that is not wanted on this server. Choose other words.")
        case Reason.BLOCKED:
            return text(language, "You cannot ask for pieces on this server. Speak to a moderator.")
        case Reason.PAUSED:
            return text(language, "There is a pause: a moderator has stopped the queue. Try again later.")
        case Reason.DRAINING:
            return text(language, "Nothing new is accepted just now; what waits is still made. Try again later.")
        case Reason.QUEUE_FULL:
            return plural(language, "The queue is full: {n} piece is waiting. Try again in a few minutes.",
                          "The queue is full: {n} pieces are waiting. Try again in a few minutes.", int(details["limit"]))
        case Reason.NO_ENGINE:
            return text(language, "There is no engine {engine} here. Choose one of these: {engines}",
                        engine=plain(str(details["engine"])), engines=listed([plain(one) for one in details["engines"]]))
        case Reason.NO_WEIGHTS:
            return text(language, "The model {engine} is not on this machine, so I cannot do this. Whoever runs me can change "
                                  "that: `{command}`; `kapelle doctor` says what else is missing.",
                        engine=plain(str(details["engine"])), command=_how_to_get(str(details["engine"])))
        case Reason.NO_MELODY:
            if not details.get("there_are", True):
                return text(language, "No model here can do this with a file. Whoever runs me can change that: "
                                      "`kapelle models fetch musicgen-melody`, then KAPELLE_ENGINES.")
            return text(language, "The engine {engine} cannot follow a melody. Choose one that is called melody, or leave the "
                                  "melody out.", engine=plain(str(details["engine"])))
        case Reason.TOO_LARGE:
            return text(language, "The file is too large: {limit} MB are possible.", limit=details["limit"])
        case Reason.UNREADABLE:
            return text(language, "I could not fetch the file. Attach it again.")
        case Reason.NOT_YOURS:
            return text(language, "That belongs to somebody else. Only they and moderators can do this.")
        case Reason.NO_JOB:
            return text(language, "There is no piece #{number} here. `/history` shows those there are.",
                        number=plain(str(details["number"])))
        case Reason.NO_TAKE:
            return text(language, "There is no take {number} to show: it was not made, holds no notes, or its files are "
                                  "gone. `/history` shows the pieces.", number=plain(str(details["number"])))
        case Reason.OVER:
            return text(language, "It is over already, so there is nothing to cancel. `/queue` shows what is not.")
        case Reason.MODERATORS_ONLY:
            return text(language, "That is for moderators: those with Manage Server, or the role that was named for it.")
        case Reason.PERMISSIONS:
            return text(language, "I am missing permissions in this channel: {permissions}. Ask a moderator to give them "
                                  "to me, or use another channel.",
                        permissions=listed([_permission(str(one), language) for one in details["missing"]]))
        case Reason.GUILD_ONLY:
            return text(language, "That works on a server only. Go to a channel and type it there.")
        case Reason.FULL_DISK:
            return text(language, "My disk is full, so I can make nothing. Please tell a moderator.")
        case Reason.LEDGER:
            return text(language, "I cannot write down your request just now. Try again in a minute; if that does not help, "
                                  "tell a moderator.")
        case Reason.GONE:
            return text(language, "That piece does not exist any more: somebody deleted it. `/midi` makes a new one.")
        case Reason.FORGED:
            return text(language, "That is not a button of mine. Use those below my own messages, or `/midi`.")


def _how_to_get(engine: str) -> str:
    listed = ENGINES.get(engine)
    if listed is not None and listed.process == AUDIOCRAFT:
        return "kapelle install audiocraft"
    return f"kapelle models fetch {copyable(engine, 48)}"


def _permission(shown: str, language: str) -> str:
    return text(language, shown) if shown in _PERMISSIONS else plain(shown)
