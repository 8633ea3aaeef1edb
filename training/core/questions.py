"""Question sets: multiple-choice questions of known answer, published once so that every checkpoint meets the same.

It does not know models. `python -m training.core.questions FILE --out DIR` reads the public forms of HHH (`chosen` and
`rejected`), TruthfulQA (`mc1_targets`), BIG-bench (`target_scores`) and ARC (`choices` and `answerKey`).
"""

import argparse
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelserving.core.artifacts import (
    ArtefactError,
    file_sha256,
    publish,
    utc_now,
    write_manifest,
)
from modelserving.core.dialogue import DialogueError, check_dialogue, is_whole
from training.config import ConfigError
from training.core.code_version import code_version
from training.core.lines import numbered_lines

KIND = "questions"  # of the published folder, and its role among a run's inputs
FILE = "questions.jsonl"
NO_CATEGORY = "all"
LONGEST_CATEGORY = 40
ROLES = {"Human": "user", "Assistant": "assistant"}
FORMS = "`prompt` (or `messages`, `question`, `input`) with `choices` and `answer`, or with `chosen` and `rejected`"


@dataclass(frozen=True, kw_only=True)
class MultipleChoice:
    """One question, the replies to choose from, and which of them is right."""

    messages: Sequence[Mapping[str, str]]
    choices: Sequence[str]
    answer: int  # index into choices
    category: str


def read_published(directory: Path) -> list[MultipleChoice]:
    """The questions of a published set."""
    path = directory / FILE
    return [
        _from(json.loads(line), where=where)
        for where, line in numbered_lines(path, cure="make the question set again")
    ]


def publish_questions(source: Path, final: Path) -> int:
    """Read any known form and publish it as a folder `final`; how many questions it holds. Refuses the first bad one."""
    questions = [_from(stored, where=where) for where, stored in _stored(source)]
    if not questions:
        raise ConfigError(f"{source} holds no question: give each {FORMS}")
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=".partial-") as scratch:
        partial = Path(scratch) / "set"
        partial.mkdir(mode=0o700)
        with (partial / FILE).open("w", encoding="utf-8") as lines:
            for each in questions:
                lines.write(json.dumps(asdict(each), ensure_ascii=False) + "\n")
        write_manifest(
            partial, kind=KIND, parents=[file_sha256(source)], config={}, code=code_version(),
            created=utc_now(),
        )  # fmt: skip
        publish(partial, final)
    return len(questions)


def _stored(source: Path) -> Iterator[tuple[str, Any]]:
    """Where each question stands, and what stands there: of a JSON array, of BIG-bench's `examples`, or line by line."""
    lines = list(numbered_lines(source, cure="copy it again"))
    try:
        whole = json.loads("".join(line for _, line in lines))
    except (ValueError, RecursionError):
        whole = None  # JSON lines, or broken: then the line is named
    if isinstance(whole, dict):
        whole = whole.get("examples", [whole])
    if isinstance(whole, list):
        for number, stored in enumerate(whole, start=1):
            yield f"{source.name} question {number}", stored
        return
    for where, line in lines:
        if line.strip():
            yield where, _parsed(line, where=where)


def _parsed(line: str, *, where: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as broken:
        raise ConfigError(f"{where} is not valid JSON ({broken}): mend or drop it") from None


def _from(stored: Any, *, where: str) -> MultipleChoice:
    """One question in any known form; refused with where it stands."""
    try:
        choices, answer = _choices(stored)
        found = MultipleChoice(
            messages=_messages(stored),
            choices=choices,
            answer=answer,
            category=str(stored.get("category") or NO_CATEGORY),
        )
        _check(found)
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as odd:
        raise ConfigError(f"{where} is not a question ({odd!s}): it needs {FORMS}") from None
    return found


def _messages(stored: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """The dialogue that ends on the question; HHH writes longer ones with Human: and Assistant: inside the prompt."""
    if "messages" in stored:
        return list(stored["messages"])
    name = next((key for key in ("prompt", "question", "input") if key in stored), "prompt")
    first, *rest = re.split(r"\n\n(Human|Assistant):\s*", stored[name])
    if not rest or rest[0] != "Assistant" or rest[-2] != "Human":
        return [{"role": "user", "content": stored[name]}]
    later = zip(rest[::2], rest[1::2], strict=True)
    return [
        {"role": "user", "content": first.strip()},
        *({"role": ROLES[role], "content": text.strip()} for role, text in later),
    ]


def _choices(stored: Mapping[str, Any]) -> tuple[list[str], int]:
    if "chosen" in stored:
        return [stored["chosen"], stored["rejected"]], 0
    for name in ("mc1_targets", "target_scores"):
        if name in stored:
            scores = {text: score for text, score in stored[name].items() if text.strip() or score}
            return list(scores), _the_one(list(scores.values()))  # TruthfulQA has empty wrong ones
    choices = stored["choices"]
    if isinstance(choices, Mapping):
        return list(choices["text"]), list(choices["label"]).index(stored["answerKey"])
    return list(choices), stored["answer"]


def _the_one(scores: Sequence[float]) -> int:
    right = [index for index, score in enumerate(scores) if score > 0]
    if len(right) != 1:
        raise ValueError(f"{len(right)} choices are right, one is needed")
    return right[0]


def _check(question: MultipleChoice) -> None:
    try:
        check_dialogue(question.messages)
    except DialogueError as refused:
        raise ValueError(str(refused)) from None
    texts = question.choices
    if not all(isinstance(text, str) and text.strip() and is_whole(text) for text in texts):
        raise ValueError("a choice is not text")
    if len(set(texts)) != len(texts) or len(texts) < 2:
        raise ValueError("it needs two choices or more, all different")
    if isinstance(question.answer, bool) or not isinstance(question.answer, int):
        raise TypeError("the answer is not the index of a choice, counted from 0")
    if not 0 <= question.answer < len(texts):
        raise ValueError(f"answer {question.answer} is none of its {len(texts)} choices")
    name = question.category
    if not name.isprintable() or len(name) > LONGEST_CATEGORY:  # it stands in figures
        raise ValueError(f"its category is not one line of {LONGEST_CATEGORY} characters at most")
    if question.messages[-1]["role"] != "user":
        raise ValueError("the dialogue ends on a reply")


def main(arguments: list[str] | None = None) -> None:
    """Entry point; 2 when the file is refused."""
    parser = argparse.ArgumentParser(
        prog="python -m training.core.questions",
        description=f"Publish a question set. Each question: {FORMS}.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="JSONL or JSON, may end in .gz")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="made anew")
    options = parser.parse_args(arguments)
    try:
        count = publish_questions(options.file, options.out)
    except (ConfigError, ArtefactError) as refused:
        parser.exit(2, f"{refused}\n")
    except OSError as failure:
        parser.exit(2, f"{failure.filename}: {failure.strerror}: mend FILE or --out\n")
    parser.exit(0, f"{count} questions in {options.out}\n")


if __name__ == "__main__":
    main()
