"""Read the JSON objects that a run is made from: its settings, its inputs, what it notes of itself.

It does not know what they mean.
"""

import json
from pathlib import Path
from typing import Any

from training.config import ConfigError


def read_object(
    path: Path, *, refusal: type[ConfigError], absent: str, cure: str
) -> dict[str, Any]:
    """The object in a file; `absent` is what to do where there is no file, `cure` where it holds something else."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise refusal(f"{path} is not there: {absent}") from None
    except OSError as failure:
        raise refusal(f"{path} cannot be read ({failure.strerror}): {cure}") from None
    except (ValueError, RecursionError) as broken:
        raise refusal(f"{path} is not valid JSON ({broken}): {cure}") from None
    if isinstance(stored, dict):
        return stored
    raise refusal(f"{path} holds no object of named values: {cure}")
