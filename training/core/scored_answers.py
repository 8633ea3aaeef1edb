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
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from modelserving.core.dialogue import is_whole
from training.config import ConfigError
from training.core.lines import numbered_lines

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
    for where, line in numbered_lines(path, cure="copy it again"):
        try:
            stored = json.loads(line)
            answers = tuple(_answer(each) for each in stored["answers"])
            question = Question(text=_text(stored["question"]), answers=answers)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as broken:
            raise ConfigError(
                f"{where} is not a scored question ({broken}): mend or drop it"
            ) from None
        if len(answers) >= 2:
            yield question


def _answer(stored: Mapping[str, Any]) -> ScoredAnswer:
    text = _text(stored["text"])
    if "score" in stored:
        score = float(stored["score"])
        if not math.isfinite(score):
            raise ValueError(f"the score {score} is not finite")
        return ScoredAnswer(text=text, score=score)
    accepted = bool(stored.get("accepted", False))
    score = answer_score(upvotes=int(stored["upvotes"]), accepted=accepted)
    return ScoredAnswer(text=text, score=score)


def _text(stored: Any) -> str:
    if not isinstance(stored, str):
        raise TypeError(f"{stored!r} is not text")
    if not is_whole(stored):
        raise ValueError("a text holds half of a surrogate pair")
    return stored


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


TABLES = """
CREATE TABLE question (id TEXT, text TEXT, accepted TEXT);
CREATE TABLE answer (question TEXT, id TEXT, text TEXT, upvotes INTEGER);
"""


def stackexchange_questions(posts: Path) -> Iterator[dict[str, Any]]:
    """Questions of a dump's Posts.xml with their answers, in its order; a dump may be larger than the memory."""
    with closing(sqlite3.connect("")) as held:  # SQLite's own temporary file
        held.executescript(TABLES)
        for row in _rows(posts):
            try:
                _hold(row, held=held)
            except (KeyError, ValueError) as odd:
                raise ConfigError(
                    f"post {row.get('Id', 'without Id')} of {posts} is none ({odd}): mend or drop it"
                ) from None
        held.execute("CREATE INDEX answer_of ON answer (question)")
        for identity, text, accepted in held.execute("SELECT * FROM question ORDER BY rowid"):
            found = held.execute(
                "SELECT id, text, upvotes FROM answer WHERE question = ? ORDER BY rowid",
                (identity,),
            )
            answers = [
                {"text": answer, "upvotes": upvotes, "accepted": each == accepted}
                for each, answer, upvotes in found
            ]
            if len(answers) >= 2:
                yield {"question": text, "answers": answers}


def _hold(row: Mapping[str, str], *, held: sqlite3.Connection) -> None:
    text = plain_text(row.get("Body", ""))
    if row.get("PostTypeId") == QUESTION:
        question = f"{row.get('Title', '')}\n\n{text}".strip()
        values = (row["Id"], question, row.get("AcceptedAnswerId", ""))
        held.execute("INSERT INTO question VALUES (?, ?, ?)", values)
    elif row.get("PostTypeId") == ANSWER:
        answer = (row.get("ParentId", ""), row["Id"], text, int(row.get("Score", "0")))
        held.execute("INSERT INTO answer VALUES (?, ?, ?, ?)", answer)


def _rows(posts: Path) -> Iterator[Mapping[str, str]]:
    events = ET.iterparse(posts, events=("start", "end"))  # noqa: S314 -- expat expands no external entity
    try:
        _, root = next(events)
        for event, element in events:
            if event == "end" and element.tag == "row":
                yield dict(element.attrib)
                root.clear()  # it would hold every row
    except ET.ParseError as broken:
        raise ConfigError(f"{posts} is not a complete dump ({broken}): unpack it again") from None


def plain_text(markup: str) -> str:
    """A post's HTML as text: paragraphs and list items on lines of their own."""
    broken = re.sub(r"</(p|li|pre|h\d|blockquote)>|<br\s*/?>", "\n", markup)
    return html.unescape(re.sub(r"<[^>]+>", "", broken)).strip()


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the importer."""
    parser = argparse.ArgumentParser(prog="python -m training.core.scored_answers")
    parser.add_argument("--posts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    opener = gzip.open if options.out.suffix == ".gz" else open
    try:
        with opener(options.out, "wt", encoding="utf-8") as handle:
            for question in stackexchange_questions(options.posts):
                handle.write(json.dumps(question, ensure_ascii=False) + "\n")
    except ConfigError as refused:
        parser.exit(2, f"{refused}\n")
    except OSError as failure:
        parser.exit(2, f"{failure.filename}: {failure.strerror}: mend --posts or --out\n")


if __name__ == "__main__":
    main()
