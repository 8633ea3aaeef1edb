"""The commit of this code, which manifests and status.json name.

It does not know what was run.
"""

import subprocess
from pathlib import Path


def code_version() -> str:
    """The commit where the code runs from a clone, else nothing."""
    root = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
