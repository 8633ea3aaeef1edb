"""Make text from a browser storable everywhere: no NUL, no lone surrogates, one kind of newline.

Pure; knows nothing of who wrote the text or where it goes.
"""

import unicodedata

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
KEPT_CONTROLS = {"\n", "\t"}


def cleaned(text: str) -> str:
    """The text without what PostgreSQL or UTF-8 refuses, white space around it removed.

    >>> cleaned(" a\\x00b\\r\\nc ")
    'ab\\nc'
    """
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    kept = (_kept(character) for character in unified)
    return "".join(kept).strip()


def _kept(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cs":
        return REPLACEMENT
    if category == "Cc" and character not in KEPT_CONTROLS:
        return ""
    return character
