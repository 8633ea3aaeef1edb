"""The starter's corpus from a small made-up data folder: formats read, tests left out, bytes equal."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from comparisons.core.splits import split_of
from modelserving.core.artifacts import content_hash, verify
from training.core.corpus import read_documents
from training.core.starter_corpus import HH_TEST_PERCENT, build_corpus, main
from training.core.starter_sources import (
    BARE_QUESTION_WORDS,
    SHORT_QUESTION_WORDS,
    SHORT_REPLY_WORDS,
    dialogue,
    hh_turns,
    merge_speakers,
    parse_exchanges,
    read_short,
)

HH_OPENINGS = [f"How do I make dish number {number}?" for number in range(40)]


def gz(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode("utf-8"), mtime=0))


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def hh_row(opening: str) -> dict[str, str]:
    asked = f"\n\nHuman: {opening}\n\nAssistant:"
    return {"chosen": f"{asked} Gladly.", "rejected": f"{asked} No."}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    gz(root / "standard-ebooks" / "a.txt.gz", "“Well,” he said.\n\n" + "It rained. " * 900)
    taught = [{"instruction": "Say hi", "input": "to Bo", "response": "Hi Bo"}]
    gz(root / "gpteacher" / "b.json.gz", json.dumps(taught * 2))
    tasks = [{"instruction": "Add\u2028up", "instances": [{"input": "1 1", "output": "2"}]}]
    (root / "self-instruct").mkdir()
    (root / "self-instruct" / "seed.jsonl").write_text(lines(tasks))
    answered = [{"instruction": "Sum\u0085up", "input": "", "response": " 3"}]
    gz(root / "self-instruct" / "text-davinci-003_predictions.jsonl.gz", lines(answered))
    with (tmp_path / "p.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["user 1 personas", "Best Generated Conversation"])
        writer.writerow(["x", "User 1: Hi!\nUser 2: Hello!\nUser 1: Fun?\nUser 2: Chess."])
    gz(root / "synthetic-persona-chat" / "p.csv.gz", (tmp_path / "p.csv").read_text())
    order = {"turns": [["assistant", "Yes?"], ["user", "A\u2029tea"], ["assistant", "Here"]]}
    gz(root / "taskmaster" / "t.jsonl.gz", lines([order]))
    (root / "chatterbot").mkdir()
    (root / "chatterbot" / "ai.yml").write_text(
        "conversations:\n- - Who?\n  - Me\n  - 'It''s me'\n"
    )
    best = {"text": "A", "rank": 0, "replies": []}
    worst = {"text": "C", "rank": 2, "replies": []}
    tree = {"prompt": {"text": "Q", "replies": [worst, best, {**best, "text": "B", "rank": 1}]}}
    gz(root / "openassistant" / "en_100_tree.jsonl.gz", lines([tree]))
    gz(root / "hh-rlhf" / "helpful-base.jsonl.gz", lines([hh_row(text) for text in HH_OPENINGS]))
    gz(root / "hh-rlhf" / "harmless-base.jsonl.gz", lines([hh_row("Be rude")]))
    gz(root / "truthfulqa" / "never-read.gz", "an evaluation set")
    return root


def contents(corpus: Path, source: str) -> list[list[str]]:
    found: list[list[str]] = []
    for part in ("train", "valid"):
        found += [
            [message["content"] for message in document.get("messages", [])] or [document["text"]]
            for document in read_documents(corpus / part / f"{source}.jsonl.gz")
        ]
    return sorted(found)


def test_every_format_becomes_documents(data: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"

    build_corpus(data=data, out=corpus, vocabulary_size=300)

    assert contents(corpus, "gpteacher") == [["Say hi\n\nto Bo", "Hi Bo"]]
    assert contents(corpus, "self-instruct") == [["Add\u2028up\n\n1 1", "2"], ["Sum\u0085up", "3"]]
    assert contents(corpus, "persona-chat") == [
        ["Hello!", "Fun?"],
        ["Hi!", "Hello!", "Fun?", "Chess."],
    ]
    assert contents(corpus, "taskmaster") == [["A\u2029tea", "Here"]]
    assert contents(corpus, "chatterbot") == [["Who?", "It's me"], ["Who?", "Me"]]
    assert contents(corpus, "openassistant") == [["Q", "A"], ["Q", "B"]]
    assert contents(corpus, "standard-ebooks")[0][0].startswith('"Well," he said.')
    assert verify(corpus).kind == "corpus"


def test_conversations_of_the_test_split_are_left_out(data: Path, tmp_path: Path) -> None:
    counts = build_corpus(data=data, out=tmp_path / "corpus", vocabulary_size=300)

    expected = [t for t in HH_OPENINGS if split_of(t, test_percent=HH_TEST_PERCENT) == "train"]
    assert [c[0] for c in contents(tmp_path / "corpus", "hh-helpful")] == sorted(expected)
    assert counts["hh-helpful"]["left_out_as_test"] == len(HH_OPENINGS) - len(expected) > 0
    assert all(c[1] == "Gladly." for c in contents(tmp_path / "corpus", "hh-helpful"))


def test_the_same_data_gives_the_same_corpus(data: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        build_corpus(data=data, out=tmp_path / name, vocabulary_size=300)

    assert content_hash(verify(tmp_path / "one")) == content_hash(verify(tmp_path / "two"))


def test_a_missing_source_is_named(data: Path, tmp_path: Path, capsys: Any) -> None:
    (data / "taskmaster" / "t.jsonl.gz").unlink()
    (data / "taskmaster").rmdir()

    code = main(["--data", str(data), "--out", str(tmp_path / "corpus")])

    assert code == 2
    assert "taskmaster is not there" in capsys.readouterr().err


def test_odd_transcripts_and_wrapped_yaml() -> None:
    assert hh_turns("\n\nHuman: a\n\nHuman: b\n\nAssistant: c") == ["a b", "c"]
    assert merge_speakers([("x", "1"), ("x", "2"), ("y", "3")]) == ["1 2", "3"]
    text = 'categories:\n- t\nconversations:\n- - A long\n    question?\n  - "Quoted"\n'
    assert list(parse_exchanges(text)) == [["A long question?", "Quoted"]]


def test_short_exchanges_are_first_ones_that_say_something_and_stand_once(tmp_path: Path) -> None:
    kept = ("How do plants grow?", "From seeds, with water and light.")
    asking_long = " ".join(["word"] * BARE_QUESTION_WORDS) + " or what?"
    documents = [
        dialogue(*kept, "And trees?", "Slowly."),
        dialogue(*kept),
        dialogue("How do plants grow?", "What kind?"),
        dialogue("Why?", asking_long),
        dialogue("why " * (SHORT_QUESTION_WORDS + 1), "Because."),
        dialogue("Why not?", "no " * (SHORT_REPLY_WORDS + 1)),
    ]

    found = list(read_short(tmp_path, read=lambda _folder: iter(documents)))

    assert found == [dialogue(*kept), dialogue("Why?", asking_long)]
