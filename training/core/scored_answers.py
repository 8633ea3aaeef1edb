"""Questions with scored answers: from a StackExchange dump or any scored JSONL, to pairs for pretraining.

It does not know models. One line of a file: {"question", "answers": [{"text", "upvotes", "accepted"} or {"text", "score"}]}.

`python -m training.core.scored_answers --posts Posts.xml --out answers.jsonl.gz` imports a dump.
"""

import argparse
import gzip
import html
import json
import math
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from training.config import ConfigError

QUESTION, ANSWER = "1", "2"


@dataclass(frozen=True, kw_only=True)
class ScoredAnswer:
    """One answer and how good its readers found it."""

    text: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question and at least two answers."""

    text: str
    answers: tuple[ScoredAnswer, ...]


def answer_score(*, upvotes: int, accepted: bool) -> int:
    """round(log2(1 + upvotes)), one more when accepted, −1 when negative (Askell et al. 2021, §4)."""
    if upvotes < 0:
        return -1
    return round(math.log2(1 + upvotes)) + int(accepted)


def read_questions(path: Path) -> Iterator[Question]:
    """Questions with two or more answers, from a JSONL file that may be gzipped."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                stored = json.loads(line)
                answers = tuple(_answer(each) for each in stored["answers"])
                question = Question(text=stored["question"], answers=answers)
            except (ValueError, KeyError, TypeError) as broken:
                raise ConfigError(
                    f"{path.name} line {number} is no scored question ({broken}): mend or drop it"
                ) from None
            if len(answers) >= 2:
                yield question


def _answer(stored: Mapping[str, Any]) -> ScoredAnswer:
    if "score" in stored:
        return ScoredAnswer(text=stored["text"], score=float(stored["score"]))
    accepted = bool(stored.get("accepted", False))
    score = answer_score(upvotes=int(stored["upvotes"]), accepted=accepted)
    return ScoredAnswer(text=stored["text"], score=score)


def ranked_pairs(
    question: Question, *, limit: int, seed: int
) -> list[tuple[ScoredAnswer, ScoredAnswer]]:
    """At most `limit` pairs (better, worse) of one question; equal scores say nothing."""
    pairs = [
        (better, worse)
        for better in question.answers
        for worse in question.answers
        if better.score > worse.score and better.text != worse.text
    ]
    random.Random(f"{seed}:{question.text}").shuffle(pairs)
    return pairs[:limit]


def stackexchange_questions(posts: Path) -> Iterator[dict[str, Any]]:
    """Questions of a dump's Posts.xml with their answers; only ids and votes of two passes are held."""
    questions: dict[str, dict[str, Any]] = {}
    for row in _rows(posts):
        if row.get("PostTypeId") == QUESTION:
            text = f"{row.get('Title', '')}\n\n{plain_text(row.get('Body', ''))}".strip()
            accepted = row.get("AcceptedAnswerId", "")
            questions[row["Id"]] = {"question": text, "accepted": accepted, "answers": []}
    for row in _rows(posts):
        question = questions.get(row.get("ParentId", ""))
        if row.get("PostTypeId") == ANSWER and question is not None:
            answer = {
                "text": plain_text(row.get("Body", "")),
                "upvotes": int(row.get("Score", "0")),
                "accepted": row["Id"] == question["accepted"],
            }
            question["answers"].append(answer)
    for question in questions.values():
        if len(question["answers"]) >= 2:
            yield {"question": question["question"], "answers": question["answers"]}


def _rows(posts: Path) -> Iterator[Mapping[str, str]]:
    for _, element in ET.iterparse(posts, events=("end",)):  # noqa: S314 -- expat expands no external entity
        if element.tag == "row":
            yield dict(element.attrib)
            element.clear()


def plain_text(markup: str) -> str:
    """A post's HTML as text: paragraphs and list items on lines of their own."""
    broken = re.sub(r"</(p|li|pre|h\d|blockquote)>|<br\s*/?>", "\n", markup)
    return html.unescape(re.sub(r"<[^>]+>", "", broken)).strip()


def main() -> None:
    """Entry point of the importer."""
    parser = argparse.ArgumentParser(prog="python -m training.core.scored_answers")
    parser.add_argument("--posts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    opener = gzip.open if options.out.suffix == ".gz" else open
    with opener(options.out, "wt", encoding="utf-8") as handle:
        for question in stackexchange_questions(options.posts):
            handle.write(json.dumps(question, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
