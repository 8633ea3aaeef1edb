"""Machine code that is compiled once for many folders; knows where the product looks for it."""

from pathlib import Path


def share_compiled(var: Path, *, into: Path) -> None:
    """Have the product that keeps its files in another folder find, and leave, its compiled code in this one."""
    (var / "native").mkdir(mode=0o700, parents=True, exist_ok=True)
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    (into / "native").symlink_to(var.resolve() / "native", target_is_directory=True)
