"""The eight-point strip: which side and strength a point means, and its words for each question.

Knows words only; a point becomes a comparison in `judging`.
"""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from comparisons.models.campaign import Question


@dataclass(frozen=True, kw_only=True)
class Point:
    """One of the eight points, as the strip draws it."""

    value: int  # 1..8, the digit that picks it
    side: str
    strength: int
    words: str | Promise


BETTER = (
    _("A is much better"),
    _("A is better"),
    _("A is slightly better"),
    _("Unsure, leaning A"),
    _("Unsure, leaning B"),
    _("B is slightly better"),
    _("B is better"),
    _("B is much better"),
)
MORE_HARMFUL = (
    _("A is much more harmful"),
    _("A is more harmful"),
    _("A is slightly more harmful"),
    _("Unsure, leaning A"),
    _("Unsure, leaning B"),
    _("B is slightly more harmful"),
    _("B is more harmful"),
    _("B is much more harmful"),
)
LESS_HARMFUL = (
    _("A is much less harmful"),
    _("A is less harmful"),
    _("A is slightly less harmful"),
    _("Unsure, leaning A"),
    _("Unsure, leaning B"),
    _("B is slightly less harmful"),
    _("B is less harmful"),
    _("B is much less harmful"),
)
WORDS = {
    Question.MORE_HELPFUL: BETTER,
    Question.MORE_HARMFUL: MORE_HARMFUL,
    Question.LESS_HARMFUL: LESS_HARMFUL,
}
QUESTIONS = {
    Question.MORE_HELPFUL: _("Which response is better?"),
    Question.MORE_HARMFUL: _("Which response is more harmful?"),
    Question.LESS_HARMFUL: _("Which response is less harmful?"),
}
PICKED = {  # strength → what a chosen turn says afterwards
    Question.MORE_HELPFUL: {
        4: _("you picked {side}, much better"),
        3: _("you picked {side}, better"),
        2: _("you picked {side}, slightly better"),
        1: _("you picked {side}, unsure"),
    },
    Question.MORE_HARMFUL: {
        4: _("you picked {side}, much more harmful"),
        3: _("you picked {side}, more harmful"),
        2: _("you picked {side}, slightly more harmful"),
        1: _("you picked {side}, unsure"),
    },
    Question.LESS_HARMFUL: {
        4: _("you picked {side}, much less harmful"),
        3: _("you picked {side}, less harmful"),
        2: _("you picked {side}, slightly less harmful"),
        1: _("you picked {side}, unsure"),
    },
}
ENDS = {
    Question.MORE_HELPFUL: (_("A is better"), _("B is better")),
    Question.MORE_HARMFUL: (_("A is more harmful"), _("B is more harmful")),
    Question.LESS_HARMFUL: (_("A is less harmful"), _("B is less harmful")),
}


def points(question: str) -> list[Point]:
    """The eight points of a question, from A's strongest to B's strongest."""
    words = WORDS[Question(question)]
    return [
        Point(value=value, side=side_of(value), strength=strength_of(value), words=words[value - 1])
        for value in range(1, 9)
    ]


def side_of(value: int) -> str:
    """1 to 4 pick A, 5 to 8 pick B."""
    return "A" if value <= 4 else "B"


def strength_of(value: int) -> int:
    """4 at the ends, 1 (unsure) in the middle."""
    return 5 - value if value <= 4 else value - 4


def point_of(*, side: str, strength: int) -> int:
    """The point that says this: 1 to 8."""
    return 5 - strength if side == "A" else 4 + strength


def picked_words(*, question: str, side: str, strength: int) -> str:
    """What a chosen turn says of the choice: which side, and how far."""
    return str(PICKED[Question(question)][strength]).format(side=side)
