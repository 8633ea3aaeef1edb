"""Read the public text and dialogue sets that the starter checkpoint learns from.

It does not know tokens or training: each reader yields documents, {"text"} or {"messages"}.
"""

import ast
import csv
import gzip
import io
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

Document = dict[str, Any]  # {"text": str} or {"messages": [{"role", "content"}, …]}


class Source(NamedTuple):
    """One folder of the data directory: how it is read, and under which licence it stands."""

    name: str
    folder: str
    licence: str
    read: Callable[[Path], Iterator[Document]]


class SourceMissing(FileNotFoundError):
    """A folder of the data directory is not there; the message names it."""


def dialogue(*contents: str) -> Document:
    """A document of alternating user and assistant messages, beginning with the user."""
    roles = ("user", "assistant")
    return {
        "messages": [
            {"role": roles[index % 2], "content": content.strip()}
            for index, content in enumerate(contents)
        ]
    }


def is_clean(document: Document) -> bool:
    """True when every message says something and a dialogue ends on a reply."""
    if "text" in document:
        return bool(document["text"].strip())
    messages = document["messages"]
    return len(messages) >= 2 and len(messages) % 2 == 0 and all(m["content"] for m in messages)


def merge_speakers(turns: list[tuple[str, str]]) -> list[str]:
    """Join consecutive turns of one speaker, so that contents alternate."""
    merged: list[tuple[str, str]] = []
    for speaker, text in turns:
        if merged and merged[-1][0] == speaker:
            merged[-1] = (speaker, f"{merged[-1][1]} {text}")
        else:
            merged.append((speaker, text))
    return [text for _, text in merged]


def even(contents: list[str]) -> list[str]:
    """Drop the last message when nobody answered it."""
    return contents[: len(contents) // 2 * 2]


STRAIGHT_QUOTES = str.maketrans("“”‘’", "\"\"''")  # as the dialogues have them


def read_books(folder: Path) -> Iterator[Document]:
    """Standard Ebooks, cut into passages of about 4,000 characters at paragraph ends."""
    for path in sorted(folder.glob("*.txt.gz")):
        passage: list[str] = []
        book = gzip.decompress(path.read_bytes()).decode("utf-8").translate(STRAIGHT_QUOTES)
        for paragraph in book.split("\n\n"):
            passage.append(paragraph.strip())
            if sum(map(len, passage)) > 4000:
                yield {"text": "\n\n".join(passage)}
                passage = []
        yield {"text": "\n\n".join(passage)}


def read_gpteacher(folder: Path) -> Iterator[Document]:
    """Instruction, optional input, response; the two files overlap, so repeats are dropped."""
    seen: set[tuple[str, str]] = set()
    for path in sorted(folder.glob("*.json.gz")):
        for row in json.loads(gzip.decompress(path.read_bytes())):
            answer = row.get("response") or row.get("output") or ""
            question = ask(row["instruction"], row.get("input", ""))
            if (question, answer[:40]) not in seen:
                seen.add((question, answer[:40]))
                yield dialogue(question, answer)


def ask(instruction: str, given: str) -> str:
    """One user message of an instruction and its input."""
    return f"{instruction.strip()}\n\n{given.strip()}" if given.strip() else instruction.strip()


def lines_of(content: bytes) -> list[str]:
    """Lines of JSON; other separators than the newline, which `splitlines` cuts at, may stand in its texts."""
    return [line for line in content.decode("utf-8").split("\n") if line.strip()]


def read_self_instruct(folder: Path) -> Iterator[Document]:
    """Seed tasks, user-oriented tasks, and the better of the two model-answer files."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in lines_of(path.read_bytes()):
            row = json.loads(line)
            for instance in row["instances"]:
                yield dialogue(ask(row["instruction"], instance["input"]), instance["output"])
    answers = gzip.decompress((folder / "text-davinci-003_predictions.jsonl.gz").read_bytes())
    for line in lines_of(answers):
        row = json.loads(line)
        yield dialogue(ask(row["instruction"], row["input"]), row["response"])


def read_persona_chat(folder: Path) -> Iterator[Document]:
    """Two people talking; each conversation is read from both sides."""
    for path in sorted(folder.glob("*.csv.gz")):
        with io.TextIOWrapper(gzip.open(path), encoding="utf-8", newline="") as handle:
            for row in csv.DictReader(handle):
                turns = re.findall(
                    r"^User ([12]): (.+)$", row["Best Generated Conversation"], re.MULTILINE
                )
                contents = merge_speakers(turns)
                yield dialogue(*even(contents))
                yield dialogue(*even(contents[1:]))


def read_taskmaster(folder: Path) -> Iterator[Document]:
    """Ordering dialogues between a user and an assistant."""
    for path in sorted(folder.glob("*.jsonl.gz")):
        for line in lines_of(gzip.decompress(path.read_bytes())):
            turns = [(speaker, text) for speaker, text in json.loads(line)["turns"]]
            first = next((i for i, turn in enumerate(turns) if turn[0] == "user"), len(turns))
            yield dialogue(*even(merge_speakers(turns[first:])))


SEQUENTIAL_CHATTERBOT_FILES = ("conversations", "greetings")


def read_chatterbot(folder: Path) -> Iterator[Document]:
    """Short questions and answers; beyond the first answer most files list alternatives."""
    for path in sorted(folder.glob("*.yml")):
        for exchange in parse_exchanges(path.read_text(encoding="utf-8")):
            if path.stem in SEQUENTIAL_CHATTERBOT_FILES:
                yield dialogue(*even(exchange))
            else:
                for answer in exchange[1:]:
                    yield dialogue(exchange[0], answer)


def parse_exchanges(text: str) -> Iterator[list[str]]:
    """The nested lists of a ChatterBot file: `- - question`, `  - answer`, wrapped lines."""
    exchange: list[str] = []
    for line in text.splitlines():
        if line.startswith("- - "):
            if exchange:
                yield [unquote(part) for part in exchange]
            exchange = [line[4:]]
        elif line.startswith("  - ") and exchange:
            exchange.append(line[4:])
        elif line.startswith("   ") and exchange:
            exchange[-1] += " " + line.strip()
    if exchange:
        yield [unquote(part) for part in exchange]


def unquote(scalar: str) -> str:
    """A YAML scalar of these files: plain, or in single or double quotes."""
    scalar = scalar.strip()
    if len(scalar) > 1 and scalar[0] == scalar[-1] == "'":
        return scalar[1:-1].replace("''", "'")
    if len(scalar) > 1 and scalar[0] == scalar[-1] == '"':
        try:
            return str(ast.literal_eval(scalar))
        except (SyntaxError, ValueError):
            return scalar[1:-1]
    return scalar


def read_openassistant(folder: Path) -> Iterator[Document]:
    """Every path down the trees through the two best-ranked replies of each message."""
    with gzip.open(folder / "en_100_tree.jsonl.gz", "rt", encoding="utf-8") as handle:
        for line in handle:
            yield from _paths(json.loads(line)["prompt"], [])


def _paths(prompt: Document, before: list[str]) -> Iterator[Document]:
    replies = sorted(prompt["replies"], key=lambda reply: reply.get("rank") or 0)[:2]
    for reply in replies:
        here = [*before, prompt["text"], reply["text"]]
        yield dialogue(*here)
        for follow_up in reply["replies"]:
            yield from _paths(follow_up, here)


def read_hh(folder: Path, *, pattern: str, side: str = "chosen") -> Iterator[Document]:
    """One side of the human comparisons; the rejected replies, too, are about what was asked."""
    for path in sorted(folder.glob(pattern)):
        with gzip.open(path, "rt", encoding="utf-8") as handle:
            for line in handle:
                yield dialogue(*even(hh_turns(json.loads(line)[side])))


def hh_turns(transcript: str) -> list[str]:
    """Alternating contents of an HH transcript; repeats of one speaker are joined."""
    parts = re.split(r"\n\n(Human|Assistant):", transcript)
    turns = [(parts[i], parts[i + 1].strip()) for i in range(1, len(parts) - 1, 2)]
    first = next((i for i, turn in enumerate(turns) if turn[0] == "Human"), len(turns))
    return merge_speakers(turns[first:])


SHORT_QUESTION_WORDS, SHORT_REPLY_WORDS, BARE_QUESTION_WORDS = 18, 110, 14


def read_short(folder: Path, *, read: Callable[[Path], Iterator[Document]]) -> Iterator[Document]:
    """First exchanges with a short question and a reply that says something, each once.

    They are what a person tries first. A reply that only asks back is left out: a small model
    that learns those asks back about everything.
    """
    seen: set[tuple[str, str]] = set()
    for document in read(folder):
        if not is_clean(document):
            continue
        question, reply = (message["content"] for message in document["messages"][:2])
        words = len(reply.split())
        asks_back = reply.endswith("?") and words <= BARE_QUESTION_WORDS
        is_short = len(question.split()) <= SHORT_QUESTION_WORDS and words <= SHORT_REPLY_WORDS
        if is_short and not asks_back and (question, reply) not in seen:
            seen.add((question, reply))
            yield dialogue(question, reply)


def read_both_sides(folder: Path) -> Iterator[Document]:
    """Chosen and rejected sides of the helpful comparisons."""
    for side in ("chosen", "rejected"):
        yield from read_hh(folder, pattern="helpful-*.jsonl.gz", side=side)


SOURCES = (
    Source("standard-ebooks", "standard-ebooks", "CC0", read_books),
    Source("gpteacher", "gpteacher", "MIT", read_gpteacher),
    Source("self-instruct", "self-instruct", "Apache-2.0", read_self_instruct),
    Source("persona-chat", "synthetic-persona-chat", "CC BY 4.0", read_persona_chat),
    Source("taskmaster", "taskmaster", "CC BY 4.0", read_taskmaster),
    Source("chatterbot", "chatterbot", "BSD-3-Clause", read_chatterbot),
    Source("openassistant", "openassistant", "Apache-2.0", read_openassistant),
    Source("hh-helpful", "hh-rlhf", "MIT", partial(read_hh, pattern="helpful-*.jsonl.gz")),
    Source(
        "hh-helpful-rejected",
        "hh-rlhf",
        "MIT",
        partial(read_hh, pattern="helpful-*.jsonl.gz", side="rejected"),
    ),
    Source("hh-harmless", "hh-rlhf", "MIT", partial(read_hh, pattern="harmless-*.jsonl.gz")),
    Source("short-hh", "hh-rlhf", "MIT", partial(read_short, read=read_both_sides)),
    Source("short-gpteacher", "gpteacher", "MIT", partial(read_short, read=read_gpteacher)),
    Source(
        "short-openassistant",
        "openassistant",
        "Apache-2.0",
        partial(read_short, read=read_openassistant),
    ),
    Source(
        "short-self-instruct",
        "self-instruct",
        "Apache-2.0",
        partial(read_short, read=read_self_instruct),
    ),
    Source(
        "short-persona-chat",
        "synthetic-persona-chat",
        "CC BY 4.0",
        partial(read_short, read=read_persona_chat),
    ),
)


def read_source(source: Source, *, data: Path) -> Iterator[Document]:
    """The clean documents of one source below the data directory."""
    folder = data / source.folder
    if not folder.is_dir():
        raise SourceMissing(f"{folder} is not there: give --data the folder that holds it")
    yield from (document for document in source.read(folder) if is_clean(document))
