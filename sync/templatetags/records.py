"""How a value of a record is shown."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import orjson
from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from sync.core.text import marked
from sync.markdown import as_html

register = template.Library()

MOST_SHOWN: Final = 8_000
"""Characters of a segment on the page of its thought; the rest is a click away."""
MOST_CHANGED: Final = 4_000
MOST_BETWEEN: Final = 400
"""Characters of a piece of text that a history shows: of one that changed, of one that did not."""
_CODE: Final = ("code", "source", "json", "yaml", "sql", "latex")
_FIELDS: Final = {
    "title": gettext_lazy("title"),
    "description": gettext_lazy("description"),
    "content": gettext_lazy("text"),
    "content_type": gettext_lazy("kind"),
    "color": gettext_lazy("colour"),
    "position_x": gettext_lazy("place on the canvas (x)"),
    "position_y": gettext_lazy("place on the canvas (y)"),
    "sort_order": gettext_lazy("order"),
    "local_priority": gettext_lazy("priority"),
    "abstraction_level": gettext_lazy("level"),
    "cluster_id": gettext_lazy("cluster"),
    "created_at": gettext_lazy("made"),
    "updated_at": gettext_lazy("changed"),
    "thought_id": gettext_lazy("thought"),
    "tag_id": gettext_lazy("tag"),
    "relationship_type": gettext_lazy("kind of link"),
}
_KINDS: Final = {
    "thoughts": gettext_lazy("thought"),
    "segments": gettext_lazy("segment"),
    "tags": gettext_lazy("tag"),
    "thought_tags": gettext_lazy("tag on a thought"),
    "segment_tags": gettext_lazy("tag on a segment"),
    "segment_fields": gettext_lazy("field of a segment"),
    "segment_neighbors": gettext_lazy("link"),
    "segment_related_context": gettext_lazy("context of a segment"),
    "segment_llm_history": gettext_lazy("question to a language model"),
    "embeddings": gettext_lazy("embedding"),
}


@register.filter
def as_text(value: Any) -> str:
    """Text as it is, nothing for null, all else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


@register.filter
def field_name(path: str) -> str:
    """A field in the words of a person; what somebody named themselves keeps its name."""
    return str(_FIELDS.get(path) or path.removeprefix("fields.").removeprefix("metadata."))


@register.filter
def kind_name(type_: str) -> str:
    """A record type in the words of a person."""
    return str(_KINDS.get(type_, type_))


@register.filter
def rendered(segment: dict[str, Any], most: int = MOST_SHOWN) -> SafeString:
    """The text of a segment as its kind wants it: Markdown rendered, code and diagrams as they are."""
    text, kind = segment.get("content") or "", (segment.get("content_type") or "").lower()
    text = text[:most] if most else text
    if kind in ("markdown", "md", "text/markdown"):
        return format_html('<div class="prose">{}</div>', as_html(text))
    if kind == "mermaid":
        return format_html(
            '<figure class="source"><figcaption>{}</figcaption><pre><code>{}</code></pre></figure>',
            _("Mermaid diagram, as text"),
            text,
        )
    if kind.partition("/")[0] in _CODE:
        return format_html("<pre><code>{}</code></pre>", text)
    return format_html('<div class="text">{}</div>', text)


@register.filter
def is_cut(segment: dict[str, Any]) -> bool:
    """Whether `rendered` leaves out the end of a segment."""
    return len(segment.get("content") or "") > MOST_SHOWN


@register.filter
def changes_in(sides: dict[str, Any]) -> dict[str, list[tuple[str, bool]]]:
    """Old and new value of a field in pieces: (words, whether they differ). What is equal is cut short."""
    old, new = marked(as_text(sides["old"]), as_text(sides["new"]))
    return {"old": _abridged(old), "new": _abridged(new)}


def _abridged(pieces: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """The pieces with what stands between two differences in its beginning and end alone."""
    return [
        (shortened(words, MOST_CHANGED) if differs else shortened(words, MOST_BETWEEN), differs)
        for words, differs in pieces
    ]


@register.filter
def shortened(text: str, most: int) -> str:
    """A text of more than so many characters without its middle."""
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"


@register.simple_tag
def thought_url(space_id: Any, id_: str, **more: Any) -> str:
    """The address of a thought: an id may hold anything, so it stands in the query."""
    return address("thought_page", space_id, id=id_, **more)


@register.simple_tag
def record_url(space_id: Any, type_: str, id_: str) -> str:
    """The address of a record's history."""
    return address("history_page", space_id, type=type_, id=id_)


def address(view: str, space_id: Any, /, **query: Any) -> str:
    """The address of a page of a space, with all of the query percent-encoded."""
    asked = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in query.items() if value != "")
    return f"{reverse(view, args=[space_id])}{'?' if asked else ''}{asked}"
