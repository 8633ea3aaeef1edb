"""Crowdworkers read their pages whole in every language of the list: nothing untranslated, nothing stale."""

import gettext
import re
from pathlib import Path

import pytest
from django.conf import settings

LOCALE = Path(settings.BASE_DIR) / "labelapp" / "locale"
STAFF = re.compile(r"templates/(training|comparisons/manage)|training/|manage_|_status_strip|demo")
OTHERS = [code for code, _ in settings.LANGUAGES if code != "en"]


def entries(language: str) -> list[str]:
    text = (LOCALE / language / "LC_MESSAGES" / "django.po").read_text()
    return text.split("\n\n")[1:]


def is_crowds(entry: str) -> bool:
    places = " ".join(line[2:] for line in entry.splitlines() if line.startswith("#:")).split()
    return any(not STAFF.search(place) for place in places)


@pytest.mark.parametrize("language", OTHERS)
def test_every_string_of_the_crowds_pages_is_translated(language):
    crowds = [entry for entry in entries(language) if is_crowds(entry)]

    missing = [each for each in crowds if re.search(r'^msgstr(\[\d\])? ""$', each, re.MULTILINE)]
    assert len(crowds) > 300
    assert missing == []


@pytest.mark.parametrize("language", OTHERS)
def test_placeholders_survive_translation(language):
    for entry in entries(language):
        original, _, translated = entry.partition("msgstr")
        singular = original.partition("msgid_plural")[0].partition("msgid")[2]
        if not is_crowds(entry) or "msgid_plural" in original:
            continue
        names = re.compile(r"%\(\w+\)s|\{\w+[^}]*\}")
        assert sorted(names.findall(singular)) == sorted(names.findall(translated)), entry


@pytest.mark.parametrize("language", OTHERS)
def test_the_compiled_catalogue_is_the_written_one(language):
    with (LOCALE / language / "LC_MESSAGES" / "django.mo").open("rb") as stream:
        compiled = gettext.GNUTranslations(stream)
    for entry in entries(language):
        found = re.search(r'^msgid "(.+)"\nmsgstr "(.+)"$', entry, re.MULTILINE)
        if found and "\\" not in found[0] and "fuzzy" not in entry:
            assert compiled.gettext(found[1]) == found[2]
