"""The README lists every source file with what it is for."""

import pytest

from labelapp import tree
from labelapp.tree import ROOT, said, source_files, with_tree


def test_every_source_file_says_what_it_is_for() -> None:
    silent = [path.relative_to(ROOT) for path in source_files() if not said(path)]

    assert silent == []


def test_readme_holds_todays_tree() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert readme == with_tree(readme), "run: .venv/bin/python -m labelapp.tree"


@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("--check", 2), ("docs", 2)])
def test_asking_for_help_or_for_what_is_not_there_writes_nothing(
    monkeypatch, tmp_path, argument, status
) -> None:
    (tmp_path / "README.md").write_text("as it was")
    monkeypatch.setattr(tree, "ROOT", tmp_path)

    with pytest.raises(SystemExit) as ended:
        tree.main([argument])

    assert ended.value.code == status
    assert (tmp_path / "README.md").read_text() == "as it was"
