"""Where a text may be cut so that nobody sees half a character: a letter without its accent, half a flag.

Knows code points alone: a short form of Unicode's rules (UAX 29) that errs towards keeping code points together.
"""

import unicodedata

LONGEST = 64  # code points; a longer pile of accents is nobody's letter, and is cut
JOINER = "\u200d"
JOINED_TO = ("Mn", "Me", "Mc")  # categories that belong to what stands before them
VIRAMA = 9  # the combining class of signs that join two consonants


def cut_at(text: str, most: int) -> int:
    """The last place at or before `most` where a character that people see ends.

    >>> cut_at("ae\\u0301b", 2), cut_at("ae\\u0301b", 3)
    (1, 3)
    """
    most = max(0, min(most, len(text)))
    for place in range(most, max(0, most - LONGEST), -1):
        if _is_boundary(text, place):
            return place
    return most if most > LONGEST else 0


def _is_boundary(text: str, place: int) -> bool:
    """Whether a character ends before `place` and another one begins there."""
    if place in {0, len(text)}:
        return True
    before, after = text[place - 1], text[place]
    if before == "\r" and after == "\n":
        return False
    if before.isascii() and after.isascii():
        return True
    if _is_joined(after) or before == JOINER:
        return False
    if _is_flag_letter(after):
        return _flag_letters_before(text, place) % 2 == 0
    if unicodedata.combining(before) == VIRAMA and after.isalpha():
        return False
    return not (_is_first_jamo(before) and (_is_first_jamo(after) or "\uac00" <= after <= "\ud7a3"))


def _is_joined(after: str) -> bool:
    return (
        unicodedata.category(after) in JOINED_TO
        or after in {JOINER, "\u200c", "\u0e33", "\u0eb3"}  # Thai and Lao AM are drawn as one
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # tones of skin
        or "\U000e0020" <= after <= "\U000e007f"  # tags: flags of regions
        or "\u1160" <= after <= "\u11ff"  # vowels and finals of Korean syllables
    )


def _is_flag_letter(one: str) -> bool:
    return "\U0001f1e6" <= one <= "\U0001f1ff"


def _flag_letters_before(text: str, place: int) -> int:
    count = 0
    while place > count and _is_flag_letter(text[place - count - 1]):
        count += 1
    return count


def _is_first_jamo(one: str) -> bool:
    return "\u1100" <= one <= "\u115f"
