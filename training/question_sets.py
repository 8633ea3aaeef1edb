"""Question sets in the artefact folder, by the names that staff gave them.

Knows names and folders; what a question is, `training.core.questions` knows.
"""

import re
from pathlib import Path

from django.conf import settings

from modelserving.core.artifacts import MANIFEST, ArtefactError
from training.config import ConfigError
from training.core.questions import publish_questions

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class QuestionsRefused(Exception):
    """A question set that cannot be taken in, or is not there; the message says what to change."""


def names() -> list[str]:
    """The sets that are here, in order."""
    found = _folder().glob(f"*/{MANIFEST}")
    return sorted(path.parent.name for path in found if NAME.fullmatch(path.parent.name))


def directory_of(name: str) -> Path:
    """The folder of a set; refuses a name that none has."""
    known = names()
    if name not in known:
        listed = f"there are: {', '.join(known)}" if known else "there is none yet"
        raise QuestionsRefused(
            f"No question set is called {name!r} ({listed}): bring one in with `import_questions FILE --name NAME`."
        )
    return _folder() / name


def take_in(source: Path, *, name: str) -> int:
    """Publish a file of questions under a name that none has yet; how many it holds."""
    if not NAME.fullmatch(name):
        raise QuestionsRefused(
            f"{name!r} cannot name a question set: use small letters, digits, '.', '_' and '-', 64 at most."
        )
    try:
        return publish_questions(source, _folder() / name)
    except (ConfigError, ArtefactError) as refused:
        raise QuestionsRefused(str(refused)) from None
    except OSError as failure:
        raise QuestionsRefused(
            f"{failure.filename or source}: {failure.strerror or failure}."
        ) from None


def _folder() -> Path:
    return Path(settings.ARTEFACTS) / "questions"
