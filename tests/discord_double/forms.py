"""Discord's rules for the body of a message: what it refuses, and how it writes down what it accepts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from tests.discord_double.clock import iso
from tests.discord_double.errors import FormErrors, Refusal
from tests.discord_double.things import COMPONENTS_V2, Attachment, Message
from tests.discord_double.world import World

ROW, BUTTON, SELECT, TEXT_INPUT, SECTION, TEXT_DISPLAY, THUMBNAIL, GALLERY, FILE, SEPARATOR, CONTAINER, LABEL = (
    1, 2, 3, 4, 9, 10, 11, 12, 13, 14, 17, 18,
)  # fmt: skip
SELECTS = frozenset({3, 5, 6, 7, 8})
MODAL_FIELDS = SELECTS | {TEXT_INPUT, 19, 21, 22, 23}
LINK, PREMIUM = 5, 6
LONGEST_CONTENT, MOST_FILES, MOST_EMBEDS, LONGEST_EMBEDS = 2000, 10, 10, 6000
MOST_COMPONENTS_V2, LONGEST_TEXT_V2 = 40, 4000
KEPT_FLAGS = 1 << 2 | 1 << 6 | 1 << 12 | COMPONENTS_V2  # suppress embeds, ephemeral, silent, components V2


@dataclass(frozen=True)
class Upload:
    """A file that came with a request."""

    filename: str
    content: bytes


def check_message(body: Any, uploads: Mapping[int, Upload], *, size_limit: int, edited: Message | None = None) -> None:
    """Refuse what Discord refuses in a message's body: 40005, 30015, 50035, 50006, in this order.

    `edited`: the message as it is, whose parts stay where the body leaves them out.
    """
    if not isinstance(body, dict):
        raise Refusal(50109)
    if any(len(upload.content) > size_limit for upload in uploads.values()):
        raise Refusal(40005)
    errors = FormErrors()
    kept = _kept_attachments(body, edited, uploads, errors)
    if len(uploads) + kept > MOST_FILES:
        raise Refusal(30015)
    flags = body.get("flags") or 0
    if not isinstance(flags, int):
        errors.add("flags", "NUMBER_TYPE_COERCE", "Value is not int.")
        flags = 0
    v2 = bool((flags | (edited.flags if edited else 0)) & COMPONENTS_V2)
    errors.length("content", body.get("content"), 0, LONGEST_CONTENT)
    _check_embeds(body.get("embeds"), errors)
    _check_components(body.get("components"), v2, _named_files(body, uploads, edited), errors)
    if v2:
        for name in ("content", "embeds", "poll", "sticker_ids"):
            if body.get(name):
                errors.add(
                    name,
                    "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
                    f"The '{name}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2",
                )
    nonce = body.get("nonce")
    if isinstance(nonce, str) and len(nonce) > 25:
        errors.too_long("nonce", 25)
    errors.raise_if_any()
    if _is_empty(body, uploads, kept, edited):
        raise Refusal(50006)


def _is_empty(body: Mapping[str, Any], uploads: Mapping[int, Upload], kept: int, edited: Message | None) -> bool:
    content = body.get("content", edited.content if edited else "")
    embeds = body.get("embeds", edited.embeds if edited else [])
    components = body.get("components", edited.components if edited else [])
    silent = not (content or "").strip() and not embeds and not body.get("poll") and not body.get("sticker_ids")
    return silent and not components and not uploads and not kept


def _kept_attachments(
    body: Mapping[str, Any], edited: Message | None, uploads: Mapping[int, Upload], errors: FormErrors
) -> int:
    """How many files of the edited message stay; notes ids that mean neither such a file nor an upload."""
    present = {item.id for item in edited.attachments} if edited else set()
    listed = body.get("attachments")
    if listed is None:
        return len(present) if "attachments" not in body else 0
    kept = 0
    for index, item in enumerate(listed):
        number = int(item["id"]) if isinstance(item, dict) and re.fullmatch(r"\d+", str(item.get("id"))) else None
        if number is None:
            errors.required(f"attachments.{index}.id")
        elif number in present:
            kept += 1
        elif number not in uploads:
            errors.add(f"attachments.{index}.id", "ATTACHMENT_NOT_FOUND", f"Attachment {number} was not found.")
        if isinstance(item, dict):
            errors.length(f"attachments.{index}.description", item.get("description"), 0, 1024)
    return kept


def _named_files(body: Mapping[str, Any], uploads: Mapping[int, Upload], edited: Message | None) -> set[str]:
    """The names that `attachment://` may point at."""
    return {upload.filename for upload in uploads.values()} | {item.filename for item in (edited.attachments if edited else ())}


def _check_embeds(embeds: Any, errors: FormErrors) -> None:
    if not embeds:
        return
    if len(embeds) > MOST_EMBEDS:
        errors.too_long("embeds", MOST_EMBEDS)
    total = 0
    for index, embed in enumerate(embeds):
        at = f"embeds.{index}"
        texts = [("title", embed.get("title"), 256), ("description", embed.get("description"), 4096)]
        texts.append(("footer.text", (embed.get("footer") or {}).get("text"), 2048))
        texts.append(("author.name", (embed.get("author") or {}).get("name"), 256))
        fields = embed.get("fields") or []
        if len(fields) > 25:
            errors.too_long(f"{at}.fields", 25)
        for place, entry in enumerate(fields):
            for name, longest in (("name", 256), ("value", 1024)):
                if not (entry.get(name) or "").strip():
                    errors.required(f"{at}.fields.{place}.{name}")
                texts.append((f"fields.{place}.{name}", entry.get(name), longest))
        for name, text, longest in texts:
            errors.length(f"{at}.{name}", text, 0, longest)
            total += len(text or "")
    if total > LONGEST_EMBEDS:
        errors.add("embeds", "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {LONGEST_EMBEDS}")


def _placed(components: Any, at: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every component with its dotted path, outer ones first."""
    for index, component in enumerate(components or ()):
        here = f"{at}.{index}"
        yield here, component
        yield from _placed(component.get("components"), f"{here}.components")
        for single in ("accessory", "component"):
            if isinstance(component.get(single), dict):
                yield f"{here}.{single}", component[single]


def _check_components(components: Any, v2: bool, files: set[str], errors: FormErrors) -> None:
    if not components:
        return
    placed = list(_placed(components, "components"))
    if not v2:
        if len(components) > 5:
            errors.add("components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length.")
        for index, component in enumerate(components):
            if component.get("type") != ROW:
                errors.add(f"components.{index}", "UNION_TYPE_CHOICES", 'Value of field "type" must be one of (1,).')
    else:
        if len(placed) > MOST_COMPONENTS_V2:
            errors.add("components", "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED", "Maximum of 40 components exceeded")
        if sum(len(item.get("content") or "") for _, item in placed) > LONGEST_TEXT_V2:
            errors.add("components", "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED", "Displayable text exceeds 4000 characters")
        for index, component in enumerate(components):
            if component.get("type") not in {ROW, SECTION, TEXT_DISPLAY, GALLERY, FILE, SEPARATOR, CONTAINER}:
                errors.add(f"components.{index}.type", "UNION_TYPE_CHOICES", "This component cannot stand at the top.")
    seen: set[str] = set()
    for at, component in placed:
        _check_component(at, component, seen, files, errors)


def _check_component(at: str, component: dict[str, Any], seen: set[str], files: set[str], errors: FormErrors) -> None:
    kind = component.get("type")
    custom_id = component.get("custom_id")
    if custom_id is not None:
        errors.length(f"{at}.custom_id", custom_id, 1, 100)
        if custom_id in seen:
            errors.add(f"{at}.custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated")
        seen.add(custom_id)
    if kind == ROW:
        inside = component.get("components") or []
        alone = any(item.get("type") in SELECTS for item in inside)
        if not 1 <= len(inside) <= (1 if alone else 5):
            errors.add(f"{at}.components", "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {1 if alone else 5} in length.")
    elif kind == BUTTON:
        errors.length(f"{at}.label", component.get("label"), 0, 80)
        if not component.get("label") and not component.get("emoji") and component.get("style") != PREMIUM:
            errors.add(at, "BUTTON_COMPONENT_INVALID", "A button needs a label or an emoji.")
        address = component.get("url")
        if component.get("style") == LINK:
            if not address or custom_id is not None or urlsplit(address).scheme not in {"http", "https", "discord"}:
                errors.add(f"{at}.url", "URL_TYPE_INVALID_URL", "A link button needs an address and has no custom id.")
        elif custom_id is None and component.get("style") != PREMIUM:
            errors.required(f"{at}.custom_id")
    elif kind in SELECTS:
        _check_select(at, component, errors)
    elif kind == TEXT_DISPLAY:
        errors.length(f"{at}.content", component.get("content"), 1, LONGEST_TEXT_V2)
    elif kind == SECTION:
        if not 1 <= len(component.get("components") or ()) <= 3:
            errors.add(f"{at}.components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 3 in length.")
        if not component.get("accessory"):
            errors.required(f"{at}.accessory")
    elif kind == GALLERY and not 1 <= len(component.get("items") or ()) <= 10:
        errors.add(f"{at}.items", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 10 in length.")
    for where, media in _media(component):
        address = media.get("url") or ""
        if address.startswith("attachment://"):
            if address.removeprefix("attachment://") not in files:
                errors.add(f"{at}.{where}.url", "UNFURLED_MEDIA_ITEM_REFERENCED_ATTACHMENT_NOT_FOUND", "Attachment not found")
        elif kind == FILE or urlsplit(address).scheme not in {"http", "https"}:
            errors.add(f"{at}.{where}.url", "URL_TYPE_INVALID_SCHEME", "This address cannot be shown here.")


def _check_select(at: str, component: Mapping[str, Any], errors: FormErrors) -> None:
    errors.length(f"{at}.placeholder", component.get("placeholder"), 0, 150)
    if component.get("custom_id") is None:
        errors.required(f"{at}.custom_id")
    if component.get("type") != SELECT:
        return
    options = component.get("options") or []
    if not 1 <= len(options) <= 25:
        errors.add(f"{at}.options", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 25 in length.")
    values = [option.get("value") for option in options]
    for index, option in enumerate(options):
        for name in ("label", "value"):
            errors.length(f"{at}.options.{index}.{name}", option.get(name) or "", 1, 100)
        errors.length(f"{at}.options.{index}.description", option.get("description"), 0, 100)
        if values.index(option.get("value")) != index:
            errors.add(f"{at}.options.{index}.value", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", "This value is already used")
    most = component.get("max_values", 1)
    if not (component.get("min_values", 1) or 0) <= (1 if most is None else most) <= max(1, len(options)):
        errors.add(f"{at}.max_values", "BASE_TYPE_MAX_VALUE", "There are fewer options than may be chosen.")


def _media(component: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(component.get("file"), dict):
        yield "file", component["file"]
    if isinstance(component.get("media"), dict):
        yield "media", component["media"]
    for index, item in enumerate(component.get("items") or ()):
        if isinstance(item, dict) and isinstance(item.get("media"), dict):
            yield f"items.{index}.media", item["media"]


def check_modal(data: Any) -> None:
    """Refuse a modal that Discord would not show (50035)."""
    errors = FormErrors()
    if not isinstance(data, dict):
        raise Refusal(50109)
    errors.length("data.custom_id", data.get("custom_id") or "", 1, 100)
    errors.length("data.title", data.get("title") or "", 1, 45)
    components = data.get("components") or []
    if not 1 <= len(components) <= 5:
        errors.add("data.components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length.")
    seen: set[str] = set()
    for at, component in _placed(components, "data.components"):
        kind = component.get("type")
        custom_id = component.get("custom_id")
        if kind in MODAL_FIELDS:
            errors.length(f"{at}.custom_id", custom_id or "", 1, 100)
            if custom_id in seen:
                errors.add(f"{at}.custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated")
            seen.add(custom_id or "")
        if kind == TEXT_INPUT:
            errors.length(f"{at}.label", component.get("label"), 1, 45)
            errors.length(f"{at}.placeholder", component.get("placeholder"), 0, 100)
            errors.length(f"{at}.value", component.get("value"), 0, component.get("max_length") or 4000)
        elif kind == LABEL:
            errors.length(f"{at}.label", component.get("label") or "", 1, 45)
        elif kind not in MODAL_FIELDS | {ROW, TEXT_DISPLAY}:
            errors.add(f"{at}.type", "UNION_TYPE_CHOICES", "This component cannot stand in a modal.")
    errors.raise_if_any()


def write_message(world: World, message: Message, body: Mapping[str, Any], uploads: Mapping[int, Upload]) -> None:
    """Put an accepted body into a message: what it names is replaced, what it leaves out stays."""
    if "content" in body:
        message.content = body["content"] or ""
        named = [int(number) for number in re.findall(r"<@!?(\d+)>", message.content)]
        message.mentions = [number for number in dict.fromkeys(named) if number in world.users] if _pings(body) else []
    if body.get("flags") is not None:
        # What makes a message ephemeral or a layout is decided once.
        message.flags = message.flags & ~(1 << 2) | body["flags"] & KEPT_FLAGS & ~(1 << 6)
    message.attachments = _attachments(world, message, body, uploads)
    if "embeds" in body:
        message.embeds = [_embed(embed, message.attachments) for embed in body["embeds"] or []]
    if "components" in body:
        number = iter(range(1, 1000))
        message.components = [
            _component(item, message.attachments, lambda: next(number), lambda: str(world.snowflakes.next()))
            for item in body["components"] or []
        ]


def _pings(body: Mapping[str, Any]) -> bool:
    allowed = body.get("allowed_mentions")
    return allowed is None or "users" in (allowed.get("parse") or ()) or bool(allowed.get("users"))


def _attachments(world: World, message: Message, body: Mapping[str, Any], uploads: Mapping[int, Upload]) -> list[Attachment]:
    listed = {int(item["id"]): item for item in body.get("attachments") or ()}
    kept = [item for item in message.attachments if "attachments" not in body or item.id in listed]
    for item in kept:
        if item.id in listed and "description" in listed[item.id]:
            item.description = listed[item.id]["description"]
    for number, upload in sorted(uploads.items()):
        described = listed.get(number, {})
        made = world.store_file(
            message.channel_id,
            described.get("filename") or upload.filename,
            upload.content,
            description=described.get("description"),
            ephemeral=message.ephemeral,
        )
        kept.append(made)
    return kept


def _resolved(address: str, attachments: list[Attachment]) -> tuple[str, Attachment | None]:
    name = address.removeprefix("attachment://")
    found = next((item for item in attachments if name in (item.filename, item.title)), None) if name != address else None
    return (found.url if found else address), found


def _embed(embed: Mapping[str, Any], attachments: list[Attachment]) -> dict[str, Any]:
    """An embed as Discord gives it back: without what was null, with proxied pictures."""
    shown: dict[str, Any] = {name: value for name, value in embed.items() if value is not None}
    shown["type"] = "rich"
    for part in ("image", "thumbnail"):
        if part in shown:
            address, found = _resolved(shown[part].get("url", ""), attachments)
            shown[part] = {"url": address, "proxy_url": address}
            if found and found.picture_size:
                shown[part]["width"], shown[part]["height"] = found.picture_size
    for part in ("footer", "author"):
        if part in shown:
            shown[part] = {name: value for name, value in shown[part].items() if value is not None}
    if "timestamp" in shown:
        shown["timestamp"] = iso(datetime.fromisoformat(shown["timestamp"]).timestamp())
    shown["fields"] = [{"inline": False, **entry} for entry in shown.get("fields", ())]
    return shown


def _emoji(emoji: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in emoji.items() if value is not None}


def _component(
    component: Mapping[str, Any], attachments: list[Attachment], number: Callable[[], int], snowflake: Callable[[], str]
) -> dict[str, Any]:
    """A component as Discord gives it back: numbered, without what was null, with its media resolved."""
    shown: dict[str, Any] = {name: value for name, value in component.items() if value is not None}
    if not shown.get("id"):
        shown["id"] = number()
    kind = shown["type"]
    if "emoji" in shown:
        shown["emoji"] = _emoji(shown["emoji"])
    if kind in SELECTS:
        shown = {"min_values": 1, "max_values": 1, **shown}
    if kind == SELECT:
        shown["options"] = [
            {**option, "emoji": _emoji(option["emoji"])} if option.get("emoji") else option for option in shown["options"]
        ]
    if kind == CONTAINER:
        shown = {"accent_color": None, "spoiler": False, **shown}
    if kind == SEPARATOR:
        shown = {"spacing": 1, "divider": True, **shown}

    def media(item: Mapping[str, Any]) -> dict[str, Any]:
        address, found = _resolved(item.get("url", ""), attachments)
        width, height = (found.picture_size if found else None) or (None, None)
        described: dict[str, Any] = {"id": snowflake(), "url": address, "proxy_url": address, "width": width, "height": height}
        if found:
            described |= {"content_type": found.content_type, "attachment_id": str(found.id)}
        return described

    if kind == GALLERY:
        shown["items"] = [
            {"description": None, "spoiler": False, **item, "media": media(item["media"])} for item in shown["items"]
        ]
    if kind == THUMBNAIL:
        shown = {"description": None, "spoiler": False, **shown, "media": media(shown["media"])}
    if kind == FILE:
        _, found = _resolved(shown["file"]["url"], attachments)
        shown = {"spoiler": False, **shown, "file": media(shown["file"])}
        shown |= {"name": found.filename if found else None, "size": len(found.content) if found else None}
    if "components" in shown:
        shown["components"] = [_component(item, attachments, number, snowflake) for item in shown["components"]]
    if "accessory" in shown:
        shown["accessory"] = _component(shown["accessory"], attachments, number, snowflake)
    return shown
