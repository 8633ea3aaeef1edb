"""Settings read from the environment, loudly.

Knows nothing of Django; each helper says in its error what the variable may hold.
"""

import json
import os
import secrets
from collections.abc import Collection
from pathlib import Path

WRONG_SETTING = 2  # exit code of a command that found one


class EnvError(ValueError):
    """An environment variable holds something it may not."""


def env_str(name: str, default: str = "") -> str:
    """The variable's text, stripped; `default` when it is unset or empty."""
    return os.environ.get(name, "").strip() or default


def env_bool(name: str, default: bool = False) -> bool:  # noqa: FBT001, FBT002 -- reads like the variable
    """The variable as a boolean: true or false, nothing else."""
    text = env_str(name).lower()
    if not text:
        return default
    if text not in {"true", "false"}:
        raise EnvError(f"{name}={text!r}: write true or false")
    return text == "true"


def env_int(name: str, default: int) -> int:
    """The variable as a whole number."""
    text = env_str(name)
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise EnvError(f"{name}={text!r}: write a whole number") from None


def env_word(name: str, default: str, words: Collection[str]) -> str:
    """The variable as one of `words`, which are in capitals; written in any case."""
    text = env_str(name, default).upper()
    if text not in words:
        raise EnvError(f"{name}={env_str(name)!r}: write one of {', '.join(words)}")
    return text


def env_list(name: str, default: str = "") -> list[str]:
    """The variable split at commas, empty parts left out."""
    return [part.strip() for part in env_str(name, default).split(",") if part.strip()]


def running_services(var: Path) -> dict[str, str]:
    """Addresses of the instance that runs on this folder, as its supervisor wrote them."""
    try:
        read = json.loads((var / "services.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return {str(name): str(value) for name, value in read.items()}


def secret_from_file(path: Path) -> str:
    """The secret kept in `path`; made at the first call, readable by the owner alone."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_urlsafe(64))
        try:
            os.link(draft, path)  # two processes may start at once: the first link wins
        except FileExistsError:
            pass
        draft.unlink()
    secret = path.read_text().strip()
    if len(secret) < 50:
        raise EnvError(f"{path} holds fewer than 50 characters: delete it and start again")
    return secret
