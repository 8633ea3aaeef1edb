"""Files, functions and templates stay small enough to be read at one sitting."""

from tests.architecture.sources import APPS, files, functions, name_of, python_files

MOST_FILE_LINES = 300
MOST_FUNCTION_LINES = 40
MOST_TEMPLATE_LINES = 100
MAY_BE_LONGER = {
    "labelapp/settings.py": 332,  # one flat file, read from top to bottom
    "tests/comparisons/web/test_manage.py": 365,  # one page after the other, as people meet them
}


def _lines(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def test_files_are_short():
    sources = [*python_files(*APPS, "tests"), *files("labelapp/static", ".js", ".css")]

    too_long = {
        name_of(path): _lines(path)
        for path in sources
        if _lines(path) > MAY_BE_LONGER.get(name_of(path), MOST_FILE_LINES)
    }

    assert too_long == {}


def test_functions_are_short():
    too_long = {
        f"{name_of(path)}:{node.name}": node.end_lineno - node.lineno + 1
        for path in python_files(*APPS)
        for node in functions(path)
        if node.end_lineno - node.lineno + 1 > MOST_FUNCTION_LINES
    }

    assert too_long == {}


def test_templates_are_short():
    templates = files("templates", ".html")

    too_long = {
        name_of(path): _lines(path) for path in templates if _lines(path) > MOST_TEMPLATE_LINES
    }

    assert templates
    assert too_long == {}
