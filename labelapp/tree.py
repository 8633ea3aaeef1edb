"""The project's file tree with a line per file: `python -m labelapp.tree` writes it into README.md.

Reads the first line of each module's docstring; knows nothing of what the files do.
"""

import argparse
import ast
import sys
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("labelapp", "comparisons", "modelserving", "training")
BEGIN, END = "<!-- tree -->", "<!-- end of tree -->"


def said(path: Path) -> str:
    """The first line of a module's docstring, without its full stop."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].rstrip(".")


def source_files() -> list[Path]:
    """Every module of the four parts that says something, in order; migrations say nothing."""
    found = (path for part in PARTS for path in (ROOT / part).rglob("*.py"))
    spoken = (path for path in found if "migrations" not in path.parts and path.stat().st_size)
    return sorted(spoken, key=lambda path: (path.relative_to(ROOT).parent.parts, path.name))


def tree() -> str:
    """The tree as text, a heading per folder and a line per file."""
    lines: list[str] = []
    for folder, paths in groupby(source_files(), key=lambda path: path.relative_to(ROOT).parent):
        lines.append(f"{folder}/")
        lines += [f"  {path.name:<28} {said(path)}" for path in paths]
    return "\n".join(lines)


def with_tree(readme: str) -> str:
    """The README with its tree replaced by today's."""
    head, _, rest = readme.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n```text\n{tree()}\n```\n{END}{tail}"


def main(arguments: list[str] | None = None) -> None:
    """Write today's tree into README.md."""
    argparse.ArgumentParser(
        prog="python -m labelapp.tree",
        description="Write the file tree, with a line per file, into README.md.",
    ).parse_args(arguments)
    path = ROOT / "README.md"
    path.write_text(with_tree(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
