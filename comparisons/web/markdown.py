"""Human and model text as safe HTML: the one place where text becomes markup.

Raw HTML is never parsed, images never load, links name their whole address, and the sanitiser runs last over what was rendered.
What would cost more than a page is worth stays text. Knows Markdown and allowed tags; knows nothing of who wrote the text.
"""

import nh3
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore

from comparisons.web.kept_html import Kept
from comparisons.web.small_tables import small_table

MOST_CHARACTERS = 100_000
MOST_NESTED = 20  # quotes in lists in quotes, marks in marks
MOST_TOKENS = 20_000  # of paragraphs, items and cells; some 0.3 s of work
MOST_HTML = 500_000  # characters
MOST_KEPT = 4_000_000  # characters of HTML, in each process
TAGS = {
    "p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li",
    "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "a",
}  # fmt: skip
ATTRIBUTES: dict[str, set[str]] = {"*": set(), "a": {"href"}, "ol": {"start"}}


class _TooMuch(Exception):
    """The text has more parts, or makes more HTML, than a page should carry."""


def _parser_of_texts() -> MarkdownIt:
    parser = MarkdownIt(
        "commonmark",
        {"html": False, "linkify": False, "breaks": True, "maxNesting": MOST_NESTED},
    )
    parser.enable(["table", "strikethrough"])
    # a long address named once and used a thousand times makes a page of hundreds of megabytes
    parser.disable(["image", "html_block", "html_inline", "reference"])
    parser.block.ruler.at("table", small_table, {"alt": ["paragraph", "reference"]})
    parser.core.ruler.after("block", "few_tokens", _refuse_many)  # before the costly half
    return parser


def _refuse_many(state: StateCore) -> None:
    if len(state.tokens) > MOST_TOKENS:
        raise _TooMuch


_parser = _parser_of_texts()
_kept = Kept(MOST_KEPT)


def rendered(text: str, *, top_heading: int = 4) -> SafeString:
    """The text as HTML with only the listed tags; its headings begin below the page's own.

    Kept for the next view of the same text: the pages show each text many times.
    """
    text = text[:MOST_CHARACTERS]
    html = _kept.get(text, top_heading)
    if html is None:
        html = _made(text, top_heading=top_heading)
        _kept.put(text, top_heading, html=html)
    return mark_safe(html)  # noqa: S308 -- sanitised where it was made


def _made(text: str, *, top_heading: int) -> str:
    try:
        return _marked_up(text, top_heading=top_heading)
    except _TooMuch:
        return _sanitised("<p>" + escape(text).replace("\n", "<br>\n") + "</p>")


def _marked_up(text: str, *, top_heading: int) -> str:
    tokens = _parser.parse(text)
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, max(top_heading, top_heading + int(token.tag[1]) - 3))}"
    html = _sanitised(_parser.renderer.render(tokens, _parser.options, {}))
    if len(html) > MOST_HTML:
        raise _TooMuch
    return html


def _sanitised(html: str) -> str:
    return nh3.clean(
        html,
        tags=TAGS,
        attributes=ATTRIBUTES,
        attribute_filter=_whole_address,
        url_schemes={"http", "https"},
        link_rel="noopener noreferrer nofollow",
        strip_comments=True,
    )


def _whole_address(_tag: str, attribute: str, value: str) -> str | None:
    """A link of a text never leads to a page of ours, nor elsewhere without saying how."""
    is_link = attribute == "href"
    return value if not is_link or value.lower().startswith(("https://", "http://")) else None
