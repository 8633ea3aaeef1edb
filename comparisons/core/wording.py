"""What is new in a text since an earlier wording of it, by its headings.

Pure; knows Markdown headings and nothing of instructions or people.
"""

import re

_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


def changed_sections(*, before: str, after: str) -> list[str]:
    """Headings of the later text under which something is new or different, in order.

    >>> changed_sections(before="# One\\nsame", after="# One\\nsame\\n# Facts\\nlook them up")
    ['Facts']
    """
    known = _sections(before)
    return [heading for heading, text in _sections(after).items() if known.get(heading) != text]


def _sections(text: str) -> dict[str, str]:
    """Heading → what stands under it, white space evened out."""
    places = list(_HEADING.finditer(text))
    ends = [place.start() for place in places[1:]] + [len(text)]
    return {
        place[1]: " ".join(text[place.end() : end].split())
        for place, end in zip(places, ends, strict=True)
    }
