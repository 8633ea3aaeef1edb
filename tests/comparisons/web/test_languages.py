"""Crowdworkers read their pages whole in every language of the list: nothing untranslated, nothing stale."""

import ast
import gettext
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.utils.translation.template import templatize

LOCALE = Path(settings.BASE_DIR) / "labelapp" / "locale"
STAFF = re.compile(r"templates/(training|comparisons/manage)|training/|manage_|_status_strip|demo")
FUNCTIONS = {"_", "gettext", "gettext_lazy", "ngettext"}
# what Django's own extractor makes of a template's strings
CALL = re.compile(r"""(?:gettext|ngettext|_)\(u?("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")
OTHERS = [code for code, _ in settings.LANGUAGES if code != "en"]


def entries(language: str) -> list[str]:
    text = (LOCALE / language / "LC_MESSAGES" / "django.po").read_text()
    return text.split("\n\n")[1:]


def is_crowds(entry: str) -> bool:
    places = " ".join(line[2:] for line in entry.splitlines() if line.startswith("#:")).split()
    return any(not STAFF.search(place) for place in places)


def said_by_python(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            first = node.args[0]
            if node.func.id in FUNCTIONS and isinstance(first, ast.Constant):
                yield first.value


def said_by_template(source: str) -> Iterator[str]:
    for found in CALL.finditer(templatize(source)):
        yield ast.literal_eval(found[1])


def crowds_strings() -> set[str]:
    base, found = Path(settings.BASE_DIR), set()
    for path in [*base.glob("comparisons/**/*.py"), *base.glob("templates/**/*.html")]:
        if STAFF.search(str(path.relative_to(base))):
            continue
        said = said_by_python if path.suffix == ".py" else said_by_template
        found.update(said(path.read_text()))
    return found


@pytest.mark.parametrize("language", OTHERS)
def test_every_string_of_the_sources_is_in_the_catalogue_and_none_is_a_guess(language):
    with (LOCALE / language / "LC_MESSAGES" / "django.mo").open("rb") as stream:
        catalogue = gettext.GNUTranslations(stream)._catalog
    known = {key[0] if isinstance(key, tuple) else key for key in catalogue}
    strings = crowds_strings()

    assert len(strings) > 300
    assert sorted(strings - known) == []
    assert [each for each in entries(language) if is_crowds(each) and "#, fuzzy" in each] == []


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
