"""Machine code that is compiled once for many folders; knows where the product looks for it."""

import os
from pathlib import Path


def share_compiled(var: Path) -> None:
    """Have the product that keeps its files there find, and leave, its compiled code where `./start test` says."""
    given = os.environ.get("TESTS_COMPILED")
    if given is None:
        return
    for folder in (Path(given), var):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (var / "native").symlink_to(Path(given).resolve(), target_is_directory=True)
