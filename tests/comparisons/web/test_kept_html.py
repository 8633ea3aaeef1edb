"""What was made once is found again until newer things need its room."""

from comparisons.web.kept_html import Kept


def test_what_was_asked_for_longest_ago_leaves_first():
    kept = Kept(10)
    kept.put("one", 4, html="1" * 4)
    kept.put("two", 4, html="2" * 4)
    kept.get("one", 4)

    kept.put("three", 4, html="3" * 4)

    found = {text: kept.get(text, 4) for text in ("one", "two", "three")}
    assert found == {"one": "1111", "two": None, "three": "3333"}


def test_the_same_text_counts_once_and_each_height_of_headings_has_its_own():
    kept = Kept(10)
    for _time in range(5):
        kept.put("one", 4, html="1" * 4)
    kept.put("one", 2, html="2" * 4)

    assert (kept.get("one", 4), kept.get("one", 2), kept.get("one", 3)) == ("1111", "2222", None)


def test_what_is_larger_than_all_its_room_is_not_kept():
    kept = Kept(10)

    kept.put("\ud800", 4, html="x" * 11)

    assert kept.get("\ud800", 4) is None
