"""Markdown tables of a size that people read; whatever is larger stays text.

A row may leave cells out, which the parser fills up: a text of 1.5 kB made 65,000 cells. Knows the parser's lines and tokens.
"""

from markdown_it.rules_block import StateBlock, table

MOST_COLUMNS = 20
MOST_CELLS = 2_000  # of all tables of a text, those filled up among them
_LEFT = "cells_left"  # in the parser's notes on one text


def small_table(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001 -- the parser passes it so
    """The parser's own rule for a table that has few columns, as long as the text has cells left."""
    left: int = state.env.setdefault(_LEFT, MOST_CELLS)
    columns = _columns(state, start + 1) if start + 2 <= end else 0
    if not 0 < columns <= min(MOST_COLUMNS, left):
        return False
    if silent:
        return table(state, start, end, silent)
    kept, kind = len(state.tokens), state.parentType
    most_rows = left // columns  # the one of headings among them; one more is read, to tell
    if not table(state, start, min(end, start + 2 + most_rows), silent):
        return False
    state.env[_LEFT] = left - sum(
        token.type in {"th_open", "td_open"} for token in state.tokens[kept:]
    )
    if state.env[_LEFT] >= 0:
        return True
    del state.tokens[kept:]
    state.line, state.parentType = start, kind
    return False


def _columns(state: StateBlock, line: int) -> int:
    """How many cells the line of dashes has."""
    begin = state.bMarks[line] + state.tShift[line]
    return sum(bool(cell.strip()) for cell in state.src[begin : state.eMarks[line]].split("|"))
