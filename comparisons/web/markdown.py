"""Human and model text as safe HTML: the one place where text becomes markup.

Raw HTML is never parsed, images never load, links name their whole address, and the sanitiser runs last over what was rendered.
Knows Markdown and allowed tags; knows nothing of who wrote the text.
"""

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

MOST_CHARACTERS = 100_000
TAGS = {
    "p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li",
    "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "a",
}  # fmt: skip
ATTRIBUTES: dict[str, set[str]] = {"*": set(), "a": {"href"}, "ol": {"start"}}

_parser = (
    MarkdownIt("commonmark", {"html": False, "linkify": False, "breaks": True})
    .enable(["table", "strikethrough"])
    # a long address named once and used a thousand times makes a page of hundreds of megabytes
    .disable(["image", "html_block", "html_inline", "reference"])
)


def rendered(text: str, *, top_heading: int = 4) -> SafeString:
    """The text as HTML with only the listed tags; its headings begin below the page's own."""
    tokens = _parser.parse(text[:MOST_CHARACTERS])
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, max(top_heading, top_heading + int(token.tag[1]) - 3))}"
    html = _parser.renderer.render(tokens, _parser.options, {})
    return mark_safe(_sanitised(html))  # noqa: S308 -- sanitised in the line before


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
