"""What is new in an instruction text, by heading."""

import pytest

from comparisons.core.wording import changed_sections

BEFORE = "# Choosing\nTake your time.\n\n# Facts\nLook them up.\n"


def test_new_and_changed_sections_are_named_in_order():
    after = "# Tone\nBe kind.\n# Choosing\nTake  your\ntime.\n# Facts\nLook them all up.\n"

    assert changed_sections(before=BEFORE, after=after) == ["Tone", "Facts"]


def test_the_same_text_has_nothing_new():
    assert changed_sections(before=BEFORE, after=BEFORE) == []


@pytest.mark.parametrize(
    ("before", "after", "new"),
    [
        ("Be kind.", "Be fair.", [""]),
        ("Be kind.", "# Tone\nBe kind.", ["Tone"]),
        ("Be kind.\n# Tone\nWarm.", "Be fair.\n# Tone\nWarm.", [""]),
        ("", "", []),
        ("", "\n \n# Tone\n", ["Tone"]),
        ("#\n####### a\n#b", "# \n####### a\n#b", []),
        ("# A\r\nx\r\n", "# A ##\nx", []),
        ("# A\n1\n# A\n2", "# A\n3\n# A\n2", ["A"]),
    ],
)
def test_text_before_the_first_heading_is_a_section_without_a_name(before, after, new):
    assert changed_sections(before=before, after=after) == new


@pytest.mark.parametrize("line", ["# {}x", "# a{}x", "# a {}", "#{}"])
@pytest.mark.parametrize("filling", [" ", " #", "#", "\t", "\n"])
def test_a_text_of_any_form_is_read_in_one_go(line, filling):
    text = line.format(filling * 500_000)

    assert changed_sections(before=text, after=text) == []
