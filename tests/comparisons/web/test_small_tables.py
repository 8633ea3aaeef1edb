"""Tables that people read become tables; what was made to be large stays text."""

import pytest

from comparisons.web.markdown import rendered
from comparisons.web.small_tables import MOST_CELLS, MOST_COLUMNS


def table(*, columns: int, rows: int, row: str = "|") -> str:
    """A Markdown table whose rows may leave cells out."""
    return "|" + "a|" * columns + "\n|" + "-|" * columns + "\n" + f"{row}\n" * rows


@pytest.mark.parametrize(
    "text",
    [
        table(columns=200, rows=328),
        table(columns=MOST_COLUMNS + 1, rows=1),
        table(columns=MOST_COLUMNS, rows=MOST_CELLS // MOST_COLUMNS),
        table(columns=1, rows=MOST_CELLS),
        table(columns=200, rows=328).replace("|\n", "|\n> ").join(["> ", ""]),
    ],
    ids=("wide", "one column more", "one row more", "long", "quoted"),
)
def test_a_table_beyond_the_bounds_stays_text(text):
    html = str(rendered(text))

    assert "<t" not in html
    assert html.count("|") == text.count("|")


@pytest.mark.parametrize("columns", [1, 2, 7, MOST_COLUMNS])
def test_a_table_within_the_bounds_is_whole(columns):
    rows = MOST_CELLS // columns - 1

    html = str(rendered(table(columns=columns, rows=rows)))

    assert (html.count("<th>"), html.count("<td>")) == (columns, columns * rows)


def test_all_tables_of_a_text_share_the_cells():
    half = table(columns=10, rows=MOST_CELLS // 10 // 2 - 1)

    html = str(rendered(f"first\n\n{half}\n{half}\nbetween\n\n{half}\n{half}\n**last**"))

    assert html.count("<table>") == 2
    assert html.count("<th>") + html.count("<td>") == MOST_CELLS
    assert "<p>between</p>" in html
    assert "<strong>last</strong>" in html


def test_what_follows_a_table_that_stayed_text_is_read_as_ever():
    html = str(rendered("> " + table(columns=1, rows=1) + table(columns=30, rows=2) + "\n- item"))

    assert "<li>item</li>" in html
    assert "<blockquote>" in html
