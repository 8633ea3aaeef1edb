"""The README lists every source file with what it is for."""

from labelapp.tree import ROOT, said, source_files, with_tree


def test_every_source_file_says_what_it_is_for() -> None:
    silent = [path.relative_to(ROOT) for path in source_files() if not said(path)]

    assert silent == []


def test_readme_holds_todays_tree() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert readme == with_tree(readme), "run: .venv/bin/python -m labelapp.tree"
