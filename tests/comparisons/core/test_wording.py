"""What is new in an instruction text, by heading."""

from comparisons.core.wording import changed_sections

BEFORE = "# Choosing\nTake your time.\n\n# Facts\nLook them up.\n"


def test_new_and_changed_sections_are_named_in_order():
    after = "# Tone\nBe kind.\n# Choosing\nTake  your\ntime.\n# Facts\nLook them all up.\n"

    assert changed_sections(before=BEFORE, after=after) == ["Tone", "Facts"]


def test_the_same_text_has_nothing_new():
    assert changed_sections(before=BEFORE, after=BEFORE) == []
