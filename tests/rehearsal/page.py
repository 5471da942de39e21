"""Threads as a web page that needs no server: sound plays, pictures show, files can be saved."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from tests.discord_double import Message
from tests.discord_double.things import ADDED, NOTICES, REMOVED, RENAMED, THREAD_CREATED

_MARKDOWN = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable("strikethrough")
_MENTION = re.compile(r"<@!?(\d+)>")
_SMALL = re.compile(r"^-# (.*)$", re.MULTILINE)
_STYLES = {1: "primary", 2: "secondary", 3: "success", 4: "danger", 5: "secondary"}
_CSS = Path(__file__).with_name("page.css")


@dataclass(frozen=True)
class Scene:
    """A student's request and the thread that came of it."""

    student: str
    words: str  # what was typed
    thread: str
    messages: Sequence[Message]


def write_page(folder: Path, heading: str, introduction: str, scenes: Sequence[Scene], names: Mapping[int, str]) -> Path:
    """Write `index.html` and the messages' files to `folder`; returns the page. `names` are of members and the bot, by id."""
    files = folder / "files"
    files.mkdir(parents=True, exist_ok=True)
    sections = []
    for scene in scenes:
        said = _article("student", scene.student, f"<p><code>{escape(scene.words)}</code></p>")
        posted = "\n".join(
            _notice(message, names) if message.type in NOTICES else _article("bot", "Kapelle", _body(message, files, names))
            for message in scene.messages)
        sections.append(f"<section><h2># {escape(scene.thread)}</h2>\n{said}\n{posted}</section>")
    page, style = folder / "index.html", _CSS.read_text(encoding="utf-8")
    page.write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(heading)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>'
        f"<body><main><header><h1>{escape(heading)}</h1>{_MARKDOWN.render(introduction)}</header>"
        f"{''.join(sections)}</main></body></html>\n", encoding="utf-8")
    return page


def _article(who: str, name: str, body: str) -> str:
    return (f'<article class="{who}"><div class="face" aria-hidden="true">{escape(name[0])}</div>'
            f'<div class="body"><span class="name">{escape(name)}</span>{body}</div></article>')


def _notice(message: Message, names: Mapping[int, str]) -> str:
    """A line of Discord's own about something that was done there."""
    who = names.get(message.author_id, "Somebody")
    whom = ", ".join(names.get(user_id, "somebody") for user_id in message.mentions)
    done = {
        THREAD_CREATED: f"started a thread: {message.content}",
        ADDED: f"added {whom} to the thread.",
        REMOVED: f"removed {whom} from the thread.",
        RENAMED: f"changed the name of the thread: {message.content}",
    }.get(message.type)
    return f'<p class="notice"><span class="name">{escape(who)}</span> {escape(done)}</p>' if done else ""


def _body(message: Message, files: Path, names: Mapping[int, str]) -> str:
    content = _MENTION.sub(lambda found: f"@{names.get(int(found[1]), 'somebody')}", message.content)
    parts = [_MARKDOWN.render(_SMALL.sub(r"*\1*", content))] if content else []
    parts += [_embed(embed) for embed in message.embeds]
    for attachment in message.attachments:
        target = files / f"{message.id}-{Path(attachment.filename).name}"
        target.write_bytes(attachment.content)
        parts.append(_file(f"files/{target.name}", attachment.filename, attachment.description or ""))
    parts += [_button(button) for row in message.components for button in row.get("components", ())]
    return "".join(parts)


def _embed(embed: Mapping[str, Any]) -> str:
    inside = "".join(_MARKDOWN.render(text) for text in (
        f"**{embed['title']}**" if embed.get("title") else "", embed.get("description") or "",
        *(f"**{field['name']}**\n{field['value']}" for field in embed.get("fields", ())),
        (embed.get("footer") or {}).get("text", "")) if text)
    return f'<div class="embed">{inside}</div>'


def _file(path: str, name: str, description: str) -> str:
    match Path(name).suffix:
        case ".png":
            return f'<p><a href="{escape(path)}"><img src="{escape(path)}" alt="{escape(description)}" loading="lazy"></a></p>'
        case ".ogg" | ".mp3" | ".wav":
            return f'<audio controls preload="metadata" src="{escape(path)}" title="{escape(name)}"></audio>'
        case _:
            return f'<a class="file" download href="{escape(path)}">{escape(name)}</a>'


def _button(button: Mapping[str, Any]) -> str:
    label = " ".join(part for part in ((button.get("emoji") or {}).get("name"), button.get("label"),
                                       button.get("placeholder")) if part)
    return f'<span class="button {_STYLES.get(button.get("style", 2), "secondary")}">{escape(label)}</span>' if label else ""
