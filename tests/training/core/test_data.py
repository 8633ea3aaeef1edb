"""Reading releases and corpora: typed rows, clear refusals, blocks that keep dialogues whole."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelserving.core.dialogue import HH_TEXT, DialogueFormat
from tests.tiny_checkpoints import tiny_tokenizer
from training.core.corpus import (
    BlockReader,
    CorpusRefused,
    MixtureReader,
    encode_document,
    read_documents,
    source_of,
)
from training.core.data import (
    ReleaseRefused,
    chosen_documents,
    read_release,
    require_two_sided,
)

ASKED = [{"role": "user", "content": "Hi"}]
ANSWERED = [{"role": "assistant", "content": "Yo"}]
ROW: dict[str, Any] = {
    "comparison": "c1", "conversation": "v1", "turn": 0,
    "messages": ASKED,
    "picked": "Hello", "other": "Go away", "question": "more_helpful", "objective": "helpful",
    "strength": 4, "tranche": "base", "origin": "crowd", "picked_checkpoint": None,
    "other_checkpoint": None, "finish_reasons": ["end", "end"],
}  # fmt: skip
HALF = "hello \ud83d there"  # of an emoji, as a text cut in UTF-16 leaves it
LAYOUT = DialogueFormat(context_tokens=64)


def write_release(directory: Path, rows: list[Any], *, split: str = "train") -> Path:
    directory.mkdir(exist_ok=True)
    lines = "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows)
    (directory / f"{split}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    return directory


def test_rows_are_typed_and_only_more_harmful_flips(tmp_path: Path) -> None:
    flipped = ROW | {"question": "more_harmful", "objective": "harmless"}

    rows = read_release(write_release(tmp_path, [ROW, flipped]), "train")

    assert [(row.chosen, row.rejected) for row in rows] == [
        ("Hello", "Go away"),
        ("Go away", "Hello"),
    ]
    assert rows[0].first_human_message == "Hi"


def test_a_release_of_before_has_one_sample_on_either_side(tmp_path: Path) -> None:
    rows = read_release(write_release(tmp_path, [ROW, ROW | {"best_of": [16, 1]}]), "train")

    assert [tuple(row.best_of) for row in rows] == [(1, 1), (16, 1)]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "0 comparisons"),
        (["{"], "line 1 is not JSON"),
        ([ROW, {k: v for k, v in ROW.items() if k != "picked"}], "line 2 lacks picked"),
        ([ROW | {"messages": []}], "line 1 cannot be used .*no message"),
        ([ROW, ROW | {"messages": ASKED + ANSWERED}], "line 2 .*do not end on a user"),
        (["5"], "line 1 is not a JSON object"),
        ([ROW | {"messages": ["Hi"]}], "line 1 cannot be used .*message 0 is not an object"),
        ([ROW | {"messages": 5}], "line 1 cannot be used .*no message"),
        ([ROW | {"messages": ASKED * 2}], "line 1 cannot be used .*message 1 has role 'user'"),
        ([ROW | {"question": "nicer"}], "line 1 cannot be used .*question 'nicer'"),
        ([ROW | {"question": ["nicer"]}], "line 1 cannot be used"),
        ([ROW | {"other": None}], "line 1 cannot be used .*other is not text"),
        ([ROW, ROW | {"picked": HALF}], "line 2 cannot be used .*picked holds half of a surrogate"),
        ([ROW | {"messages": [ASKED[0] | {"content": HALF}]}], "line 1 .*message 0 holds half"),
        ([ROW | {"comparison": 7}], "line 1 cannot be used .*comparison is not text"),
        ([ROW | {"tranche": None}], "line 1 cannot be used .*tranche is not text"),
        ([ROW | {"strength": "a"}], "line 1 cannot be used .*strength 'a' is neither"),
        ([ROW | {"strength": 5}], "line 1 cannot be used .*strength 5 is neither"),
        ([ROW | {"turn": "x"}], "line 1 cannot be used .*turn is not a number"),
        ([ROW | {"finish_reasons": None}], "line 1 cannot be used .*finish_reasons is not a list"),
        ([ROW | {"finish_reasons": [["end"]]}], "line 1 .*finish_reasons is not a list of texts"),
        ([ROW | {"best_of": ["a"]}], "line 1 cannot be used .*best_of is not a pair"),
        ([ROW | {"best_of": []}], "line 1 cannot be used .*best_of is not a pair"),
        ([ROW | {"picked_checkpoint": {}}], "line 1 .*picked_checkpoint is neither"),
    ],
)
def test_unusable_releases_are_refused(tmp_path: Path, rows: list[Any], reason: str) -> None:
    with pytest.raises(ReleaseRefused, match=reason):
        read_release(write_release(tmp_path, rows), "train")


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    write_release(tmp_path, [ROW] * 50)
    path = tmp_path / "train.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(ReleaseRefused, match="damaged"):
        read_release(tmp_path, "train")
    with pytest.raises(ReleaseRefused, match=r"test\.jsonl\.gz is not there"):
        read_release(tmp_path, "test")


def test_one_sided_releases_are_refused(tmp_path: Path) -> None:
    rows = read_release(write_release(tmp_path, [ROW | {"other": "Hello"}]), "train")

    with pytest.raises(ReleaseRefused, match="two different responses"):
        require_two_sided(rows)


def test_chosen_documents_are_distinct_dialogues(tmp_path: Path) -> None:
    rows = read_release(write_release(tmp_path, [ROW, ROW, ROW | {"picked": "Hey"}]), "train")

    documents = list(chosen_documents(rows))

    assert [d["messages"][-1]["content"] for d in documents] == ["Hello", "Hey"]


def talk(*contents: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {
        "messages": [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]
    }


def test_response_flags_cover_text_and_end_of_turn_but_not_the_role() -> None:
    tokenizer = tiny_tokenizer()

    [(ids, flags)] = encode_document(
        talk("Hi", "Yo"), tokenizer=tokenizer, layout=LAYOUT, block_tokens=64
    )

    human, assistant, end = (
        tokenizer.token_id(name) for name in ("<|human|>", "<|assistant|>", "<|endoftext|>")
    )
    question, answer = tokenizer.encode("Hi"), tokenizer.encode("Yo")
    assert ids == [human, *question, assistant, *answer, end, end]
    assert flags == [False] * (len(question) + 2) + [True] * (len(answer) + 1) + [False]


@pytest.mark.parametrize(
    ("said", "is_target"), [(("Hi", "Yo"), True), (("Hi",), False), (("Hi", "Yo", "So"), False)]
)
def test_in_hh_text_a_last_reply_learns_to_end(said: tuple[str, ...], is_target: bool) -> None:
    tokenizer = tiny_tokenizer()
    layout = replace(HH_TEXT, context_tokens=64)

    [(ids, flags)] = encode_document(
        talk(*said), tokenizer=tokenizer, layout=layout, block_tokens=64
    )

    assert ids.count(tokenizer.token_id("<|endoftext|>")) == 1
    assert (ids[-1], flags[-1]) == (tokenizer.token_id("<|endoftext|>"), is_target)


def test_in_hh_text_no_token_of_the_role_is_a_target() -> None:
    tokenizer = tiny_tokenizer()

    [(ids, flags)] = encode_document(
        talk("Hi", "Yo", "So", "Ho"), tokenizer=tokenizer, layout=HH_TEXT, block_tokens=64
    )

    end = tokenizer.token_id("<|endoftext|>")
    targets = [token for token, is_target in zip(ids, flags, strict=True) if is_target]
    assert targets == [*tokenizer.encode(" Yo"), *tokenizer.encode(" Ho"), end]
    assert tokenizer.decode(ids) == "\n\nHuman: Hi\n\nAssistant: Yo\n\nHuman: So\n\nAssistant: Ho"


def test_long_dialogues_are_cut_between_exchanges() -> None:
    tokenizer = tiny_tokenizer()
    human = tokenizer.token_id("<|human|>")

    pieces = encode_document(
        talk(*["word " * 4] * 6), tokenizer=tokenizer, layout=LAYOUT, block_tokens=40
    )

    assert len(pieces) > 1
    assert all(ids[0] == human and len(ids) <= 40 for ids, _ in pieces)


def test_every_piece_is_read_once_an_epoch_and_readers_restore() -> None:
    source = source_of(
        "talk",
        [talk(f"question {n}", f"answer {n}") for n in range(7)],
        tokenizer=tiny_tokenizer(),
        layout=LAYOUT,
        block_tokens=64,
    )
    reader = BlockReader(source, block_tokens=64, seed=3)

    first = [reader.next_block()[0] for _ in range(5)]
    state = reader.state()
    after = [reader.next_block()[0] for _ in range(5)]
    again = BlockReader(source, block_tokens=64, seed=3)
    again.restore(state)

    assert all(block.shape == (64,) for block in first)
    assert all(np.array_equal(a, again.next_block()[0]) for a in after)
    assert reader.epoch >= 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "is not JSON"),
        ("5", "neither text"),
        ('{"txt": ""}', "neither text"),
        ('{"text": 5}', "a text that is none"),
        ('{"messages": []}', "is not a dialogue .*no message"),
        (json.dumps({"messages": ANSWERED}), "is not a dialogue .*begin with the user"),
        (json.dumps({"text": HALF}), "has a text .*half of a surrogate"),
        (
            json.dumps({"messages": [ASKED[0] | {"content": HALF}]}),
            "is not a dialogue .*message 0 holds half",
        ),
    ],
)
def test_a_line_that_is_no_document_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "talk.jsonl.gz"
    path.write_bytes(gzip.compress(f'{{"text": "a"}}\n{line}\n'.encode()))

    with pytest.raises(CorpusRefused, match=rf"talk\.jsonl\.gz line 2.*{says}"):
        read_documents(path)


def test_a_damaged_corpus_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a"}\n')[:-4])

    with pytest.raises(CorpusRefused, match=r"talk\.jsonl\.gz is damaged"):
        read_documents(path)


def test_a_mixture_draws_by_weight_and_only_known_sources() -> None:
    sources = {
        name: source_of(
            name, [{"text": name * 40}], tokenizer=tiny_tokenizer(), layout=LAYOUT, block_tokens=32
        )
        for name in ("a", "b")
    }
    mixture = MixtureReader(sources, block_tokens=32, seed=0)
    token_a = tiny_tokenizer().encode("aa")[0]

    ids, flags = mixture.batch(0, blocks=400, weights={"a": 3, "b": 1})

    share = float(np.isin(ids[:, 0], [token_a, *tiny_tokenizer().encode("a")]).mean())
    assert ids.shape == flags.shape == (400, 32)
    assert share == pytest.approx(0.75, abs=0.07)
    with pytest.raises(CorpusRefused, match="'c'"):
        mixture.batch(1, blocks=1, weights={"c": 1})
