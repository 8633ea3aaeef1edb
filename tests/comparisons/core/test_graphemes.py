"""A text is cut between the characters that people see, never within one."""

import pytest

from comparisons.core.graphemes import LONGEST, cut_at

WHOLE = (
    "a",
    "e\u0301",  # a letter and its accent
    "\r\n",
    "👍🏽",  # a hand and the tone of its skin
    "👩‍👩‍👧",  # three people, joined
    "🏴\U000e0067\U000e0062\U000e007f",  # a flag with tags
    "❤\ufe0f",
    "نَ",
    "กำ",
    "क्षि",
    "\u1112\u1161\u11ab",  # a Korean syllable in parts
)


@pytest.mark.parametrize("character", WHOLE)
def test_a_character_of_several_code_points_is_whole_or_absent(character):
    text = f"x{character}y"

    found = {cut_at(text, most) for most in range(len(text) + 1)}

    assert found == {0, 1, 1 + len(character), len(text)}


def test_flags_are_cut_between_pairs_of_letters():
    text = "🇩🇪🇫🇷🇸🇾"

    assert [cut_at(text, most) for most in range(7)] == [0, 0, 2, 2, 4, 4, 6]


def test_a_cut_is_the_last_one_that_is_possible():
    text = "".join(WHOLE) * 3
    cuts = [cut_at(text, most) for most in range(len(text) + 1)]

    assert cuts == sorted(cuts)
    assert all(place - cut < 6 for place, cut in enumerate(cuts))
    assert cuts[-1] == len(text)


def test_a_pile_of_accents_without_end_is_cut_somewhere():
    text = "e" + "\u0301" * 1000

    assert cut_at(text, LONGEST // 2) == 0
    assert cut_at(text, 900) == 900
