"""What is new in a text since an earlier wording of it, by its headings.

Pure; knows Markdown headings and nothing of instructions or people.
"""

MOST_MARKS = 6


def changed_sections(*, before: str, after: str) -> list[str]:
    """Headings of the later text under which something is new or different, in order.

    What stands before the first heading is a section without a name.

    >>> changed_sections(before="# One\\nsame", after="# One\\nsame\\n# Facts\\nlook them up")
    ['Facts']
    """
    known = _sections(before)
    return [heading for heading, text in _sections(after).items() if known.get(heading) != text]


def _sections(text: str) -> dict[str, str]:
    """Heading → what stands under it, white space evened out; under the same heading twice, both."""
    words: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        heading = _heading(line)
        name = heading or name
        under = words.setdefault(name, [])
        if not heading:
            under.extend(line.split())
    return {heading: " ".join(under) for heading, under in words.items() if heading or under}


def _heading(line: str) -> str:
    """The words of a heading, or nothing where the line is none."""
    rest = line.lstrip("#")
    marks = len(line) - len(rest)
    if not 1 <= marks <= MOST_MARKS or not rest[:1].isspace():
        return ""
    return rest.strip().rstrip("#").rstrip()
