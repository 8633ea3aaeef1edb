"""What each kind of run is made from: the roles of inputs.json, and what stands behind each.

It does not know settings, nor reads what the inputs hold.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelserving.core.artifacts import MANIFEST, read_manifest
from training.config import ConfigError

RELEASE, CORPUS, QUESTIONS = ("release",), ("corpus",), ("questions",)
POLICIES = ("language_model", "policy")
RANKERS = ("preference_model",)
FILE: tuple[str, ...] = ()  # a single file, without a manifest
MADE_BY = {
    CORPUS: "write one as docs/paper.md shows",
    QUESTIONS: "publish one with `python -m training.core.questions FILE --out DIR`",
}


@dataclass(frozen=True, kw_only=True)
class Role:
    """One input of a kind of run."""

    name: str
    holds: str
    kinds: tuple[str, ...]  # of artefacts that may stand here
    is_needed: bool = True
    instead: str = ""  # another role that does as well


START = Role(name="initial", holds="the language model to start from", kinds=POLICIES)
EITHER = Role(
    name="initial",
    holds="the language or preference model to start from",
    kinds=POLICIES + RANKERS,
)
RANKER = Role(name="ranker", holds="the preference model that scores", kinds=RANKERS)
PROMPTS = Role(
    name="prompts",
    holds='JSONL of {"prompt": …} or {"messages": […]}, each perhaps with "objective"',
    kinds=FILE,
    is_needed=False,
)
TEACHING = "folder with train/*.jsonl.gz and valid/*.jsonl.gz"

ROLES: dict[str, tuple[Role, ...]] = {
    "language_model": (
        Role(name="release", holds="its chosen responses", kinds=RELEASE, instead="corpus"),
        Role(name="corpus", holds=TEACHING, kinds=CORPUS, instead="release"),
        Role(
            name="initial",
            holds="the language model to go on from; without it, weights are new and the corpus has tokenizer/",
            kinds=POLICIES,
            is_needed=False,
        ),
    ),
    "context_distillation": (
        START,
        Role(name="corpus", holds=TEACHING, kinds=CORPUS),
        Role(
            name="teacher",
            holds="who reads the prompt; without it, the start",
            kinds=POLICIES,
            is_needed=False,
        ),
    ),
    "preference_pretraining": (
        EITHER,
        Role(name="answers", holds="JSONL of questions with scored answers", kinds=FILE),
    ),
    "preference_model": (
        EITHER,
        Role(name="release", holds="comparisons", kinds=RELEASE),
    ),
    "ppo": (
        START,
        RANKER,
        Role(name="release", holds="comparisons, whose prompts are answered", kinds=RELEASE),
        Role(
            name="test_pm",
            holds="a preference model that only watches",
            kinds=RANKERS,
            is_needed=False,
        ),
        PROMPTS,
    ),
    "best_of_k": (
        START,
        RANKER,
        Role(
            name="release",
            holds="comparisons, whose test prompts are answered",
            kinds=RELEASE,
            instead="prompts",
        ),
        Role(
            name="prompts",
            holds=PROMPTS.holds,
            kinds=FILE,
            instead="release",
        ),
    ),
    "evaluation": (
        Role(name="initial", holds="the checkpoint to measure", kinds=POLICIES + RANKERS),
        Role(name="release", holds="comparisons, of which the test split is read", kinds=RELEASE),
        Role(
            name="ranker",
            holds="the preference model that scores a policy's samples",
            kinds=RANKERS,
            is_needed=False,
        ),
        Role(
            name="held_out_scores",
            holds="JSON of models' mean scores from other runs",
            kinds=FILE,
            is_needed=False,
        ),
        Role(
            name="questions",
            holds="multiple-choice questions, as python -m training.core.questions publishes them",
            kinds=QUESTIONS,
            is_needed=False,
        ),
    ),
}


def require_roles(kind: str, inputs: Mapping[str, Path]) -> None:
    """Refuse inputs that this kind of run does not take, lacks, or cannot be made from."""
    roles = {role.name: role for role in ROLES[kind]}
    for name, path in inputs.items():
        if name not in roles:
            near = difflib.get_close_matches(name, roles, n=1)
            cure = f"did you mean {near[0]}?" if near else f"it takes {', '.join(roles)}"
            raise ConfigError(f"{kind} takes no input {name}: {cure}")
        if roles[name].instead in inputs:
            raise ConfigError(
                f"{kind} reads {name} or {roles[name].instead}: leave one of them out"
            )
        _require_kind(roles[name], path)
    for role in roles.values():
        if role.is_needed and not {role.name, role.instead} & set(inputs):
            other = f", or {role.instead}=PATH" if role.instead else ""
            raise ConfigError(
                f"{kind} needs an input {role.name} ({role.holds}): add --input {role.name}=PATH{other}"
            )


def _require_kind(role: Role, path: Path) -> None:
    """Refuse what does not stand there, or is something else."""
    if not path.exists():
        raise ConfigError(f"the {role.name} {path} is not there: mend its path")
    if role.kinds == FILE:
        if path.is_dir():
            raise ConfigError(f"the {role.name} {path} is a folder: name its file")
        return
    if not (path / MANIFEST).is_file():
        usual = f"name a directory that was published as {' or '.join(role.kinds)}"
        cure = MADE_BY.get(role.kinds, usual)
        raise ConfigError(f"the {role.name} {path} has no {MANIFEST}: {cure}")
    found = read_manifest(path).kind
    if found not in role.kinds:
        raise ConfigError(f"the {role.name} {path} is a {found}: name a {' or '.join(role.kinds)}")


def roles_in_words(kind: str) -> list[str]:
    """A line for each role of a kind, for help texts."""
    lines = []
    for role in ROLES[kind]:
        need = "needed" if role.is_needed else "may be given"
        if role.instead:
            need = f"this or {role.instead}"
        lines.append(f"{role.name} ({need}): {role.holds}")
    return lines
