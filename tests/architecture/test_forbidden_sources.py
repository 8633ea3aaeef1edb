"""Words that open a door: each stands nowhere, or only where a reason is written down."""

import re

import pytest

from tests.architecture.sources import APPS, files, name_of, python_files

IN_PYTHON = {
    r"\bmark_safe\b": {"comparisons/web/markdown.py"},  # right after the sanitiser
    r"\bimport pickle\b|\bpickle\.": set(),
    r"\btorch\.load\(": set(),
    r"\bcsrf_exempt\b": {"comparisons/web/arrival_hook_views.py"},  # a signature decides, no cookie
    r"filter\(\*\*request": set(),
    r"trust_remote_code=True": set(),
    r"shell=True": set(),
    r"\byaml\.load\(": set(),
    r"(?<![.\w])(eval|exec)\(": set(),
    r"\.extra\(|\bRawSQL\b": set(),
    r"\.(delay|apply_async|delay_on_commit|send_task)\(": {
        "modelserving/doorbell.py"
    },  # rings briefly
}
IN_TEMPLATES = [
    r"\|\s*safe\b",
    r"\{%\s*autoescape off",
    r"\sstyle=",
    r"<style\b",
    r"\son[a-z]+=\"",
    r"javascript:",
]
IN_SCRIPTS = [
    r"\binnerHTML\b",
    r"\bouterHTML\b",
    r"insertAdjacentHTML",
    r"document\.write",
    r"\beval\(",
]
BANNED_NAMES = {"utils", "helpers", "helper", "manager", "managers", "misc", "common_utils"}


def _hits(pattern, paths):
    found = re.compile(pattern)
    return {name_of(path) for path in paths if found.search(path.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("pattern", IN_PYTHON)
def test_python_does_not_say(pattern):
    assert _hits(pattern, python_files(*APPS)) - IN_PYTHON[pattern] == set()


@pytest.mark.parametrize("pattern", IN_TEMPLATES)
def test_templates_do_not_say(pattern):
    assert _hits(pattern, files("templates", ".html")) == set()


def test_templates_hold_no_inline_script():
    inline = re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*type=\"application/json\")[^>]*>")

    assert _hits(inline.pattern, files("templates", ".html")) == set()


@pytest.mark.parametrize("pattern", IN_SCRIPTS)
def test_scripts_do_not_say(pattern):
    assert _hits(pattern, files("labelapp/static", ".js")) == set()


def test_no_file_or_folder_has_a_name_that_means_nothing():
    paths = python_files(*APPS)

    assert {name_of(path) for path in paths if path.stem in BANNED_NAMES} == set()
    assert {name_of(path.parent) for path in paths if path.parent.name in BANNED_NAMES} == set()


def test_no_class_is_called_manager_or_helper():
    assert _hits(r"^class \w*(Manager|Helper|Service|Util)\b", python_files(*APPS)) == set()


def test_no_secret_is_committed():
    assert _hits(r"SECRET_KEY\s*=\s*[\"'][^\"']{20,}", python_files(*APPS)) == set()
