"""Markdown that somebody wrote, as HTML that is safe on a page of ours.

HTML inside it is shown as text, and what the renderer makes is cleaned once more by a list of what
may stand there: two locks, so a mistake in one opens nothing. Pictures become links: a page that fetched
them would tell others that it is being read.
"""

from __future__ import annotations

from typing import Final

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

MOST: Final = 200_000
"""Characters; a longer text is shown as it is."""
_TAGS: Final = {
    "p", "br", "hr", "h3", "h4", "h5", "h6", "strong", "em", "s", "code", "pre", "blockquote",
    "ul", "ol", "li", "a", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
_ATTRIBUTES: Final = {"a": {"href", "title"}, "ol": {"start"}}
_SCHEMES: Final = {"http", "https", "mailto"}


def _suited(state: StateCore) -> None:
    """Headings stand below those of the page, and a picture is a link to it."""
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 3)}"
        if token.children:
            token.children = [new for child in token.children for new in _without_picture(child)]


def _without_picture(token: Token) -> list[Token]:
    if token.type != "image":
        return [token]
    source = token.attrs.get("src", "")
    shown = Token("text", "", 0, content=token.content or str(source))
    return [Token("link_open", "a", 1, {"href": source}), shown, Token("link_close", "a", -1)]


_RENDERER: Final = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_RENDERER.core.ruler.push("suited", _suited)


def as_html(text: str) -> SafeString:
    """The text rendered, or as it is where it is very long."""
    made = _RENDERER.render(text) if len(text) <= MOST else f"<pre>{nh3.clean_text(text)}</pre>"
    clean = nh3.clean(made, tags=_TAGS, attributes=_ATTRIBUTES, url_schemes=_SCHEMES)
    return mark_safe(clean)  # noqa: S308
