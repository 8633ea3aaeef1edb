"""Scores of answers by hand, the dump importer, and pretraining that a preference model goes on from."""

import json
import re
import tracemalloc
from pathlib import Path

import pytest

from modelserving.core.artifacts import verify
from modelserving.core.dialogue import DialogueFormat
from tests.tiny_checkpoints import make_tiny_language_model, tiny_tokenizer
from tests.training.core.test_preference_training import CONFIG, status
from tests.training.core.tiny import make_run
from tests.training.core.tiny_release import make_release, row
from training.config import ConfigError, PreferencePretrainingConfig
from training.core.__main__ import run
from training.core.preference_pretraining import read_pairs
from training.core.scored_answers import (
    Question,
    ScoredAnswer,
    answer_score,
    main,
    ranked_pairs,
    read_questions,
    stackexchange_questions,
)

POSTS = """<?xml version="1.0" encoding="utf-8"?>
<posts>
  <row Id="1" PostTypeId="1" AcceptedAnswerId="3" Title="Why?" Body="&lt;p&gt;Tell me&lt;/p&gt;" Score="2" />
  <row Id="2" PostTypeId="2" ParentId="1" Body="&lt;p&gt;a &amp;amp; b&lt;/p&gt;" Score="-4" />
  <row Id="3" PostTypeId="2" ParentId="1" Body="because" Score="3" />
  <row Id="4" PostTypeId="1" Title="Alone" Body="x" Score="0" />
</posts>"""


@pytest.mark.parametrize(
    ("upvotes", "accepted", "score"),
    [(0, False, 0), (1, False, 1), (3, True, 3), (10, False, 3), (-1, True, -1)],
)
def test_answer_scores_by_hand(upvotes: int, accepted: bool, score: int):
    assert answer_score(upvotes=upvotes, accepted=accepted) == score


def test_a_dump_becomes_questions_with_scored_answers(tmp_path: Path):
    (tmp_path / "Posts.xml").write_text(POSTS)

    found = list(stackexchange_questions(tmp_path / "Posts.xml"))

    assert found == [
        {
            "question": "Why?\n\nTell me",
            "answers": [
                {"text": "a & b", "upvotes": -4, "accepted": False},
                {"text": "because", "upvotes": 3, "accepted": True},
            ],
        }
    ]


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (POSTS[:-40], "Posts.xml is not a complete dump"),
        ("", "Posts.xml is not a complete dump"),
        (POSTS.replace('Score="3"', 'Score="many"'), "post 3 of .*Posts.xml is none .*many"),
        (POSTS.replace('Id="1" ', "", 1), "post without Id of .*Posts.xml is none"),
    ],
)
def test_a_dump_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damaged: str, reason: str
):
    (tmp_path / "Posts.xml").write_text(damaged)

    with pytest.raises(SystemExit) as ended:
        main(["--posts", str(tmp_path / "Posts.xml"), "--out", str(tmp_path / "answers.jsonl")])

    assert ended.value.code == 2
    assert re.search(reason, capsys.readouterr().err)


ANSWERS = '"answers": [{"text": "a", "upvotes": 1}, {"text": "b", "upvotes": 0}]'


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "Expecting"),
        ("5", "not subscriptable"),
        (f'{{"question": 5, {ANSWERS}}}', "5 is not text"),
        (f'{{"question": "?", {ANSWERS}}}'.replace('"a"', "null"), "None is not text"),
        (f'{{"question": "?", {ANSWERS}}}'.replace("1", "Infinity"), "infinity"),
        (f'{{"question": "?", {ANSWERS}}}'.replace('"upvotes": 1', '"score": NaN'), "not finite"),
        ('{"question": "?", "answers": ["a", "b"]}', "must be integers"),
        (f'{{"question": "\\ud83d", {ANSWERS}}}', "half of a surrogate"),
        (f'{{"question": "?", {ANSWERS}}}'.replace('"a"', '"\\ud83d"'), "half of a surrogate"),
    ],
)
def test_a_line_that_is_no_scored_question_is_named(tmp_path: Path, line: str, says: str):
    path = tmp_path / "answers.jsonl"
    path.write_text(f'{{"question": "?", {ANSWERS}}}\n{line}\n')

    with pytest.raises(
        ConfigError, match=rf"answers.jsonl line 2 is not a scored question .*{says}"
    ):
        list(read_questions(path))


def test_a_dump_is_read_in_little_memory(tmp_path: Path):
    dump = tmp_path / "Posts.xml"
    with dump.open("w") as handle:
        handle.write("<posts>\n")
        for number in range(0, 6000, 3):
            body = f'Body="{number} {"word " * 200}"'
            handle.write(f'<row Id="{number}" PostTypeId="1" {body} />\n')
            for answer in (number + 1, number + 2):
                handle.write(f'<row Id="{answer}" PostTypeId="2" ParentId="{number}" {body} />\n')
        handle.write("</posts>")

    tracemalloc.start()
    try:
        found = sum(len(each["answers"]) for each in stackexchange_questions(dump))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert found == 4000
    assert peak < dump.stat().st_size / 4


def test_pairs_put_the_better_answer_first_and_leave_ties_out():
    answers = tuple(
        ScoredAnswer(text=text, score=score) for text, score in (("a", 1), ("b", 1), ("c", 3))
    )

    pairs = ranked_pairs(Question(text="?", answers=answers), limit=9, seed=0)

    assert {(better.text, worse.text) for better, worse in pairs} == {("c", "a"), ("c", "b")}


@pytest.mark.parametrize(("context", "cut"), [(64, 30), (32, 60)])
def test_pairs_that_do_not_fit_are_counted(tmp_path: Path, context: int, cut: int):
    answers = tmp_path / "answers.jsonl"
    lines = [
        {
            "question": f"What is a dog {index}?",
            "answers": [
                {"text": "a small brown dog " * (1 + 9 * (index % 2)), "upvotes": 9},
                {"text": "Hello there, how are you today? I am well", "upvotes": 0},
            ],
        }
        for index in range(60)
    ]
    answers.write_text("".join(json.dumps(line) + "\n" for line in lines))

    sets = read_pairs(
        answers,
        encoder=tiny_tokenizer(),
        layout=DialogueFormat(context_tokens=context),
        config=PreferencePretrainingConfig(form="ranked"),
    )

    assert sets.counts["cut_from_the_left"] == cut


@pytest.mark.parametrize("form", ["ranked", "binarised"])
def test_a_preference_model_goes_on_from_pretraining(tmp_path: Path, form: str):
    make_tiny_language_model(tmp_path / "initial")
    lines = [
        {
            "question": f"What is a dog {index}?",
            "answers": [
                {"text": "a small brown dog", "upvotes": 9},
                {"text": "Hello", "upvotes": 0},
            ],
        }
        for index in range(60)
    ]
    answers = tmp_path / "answers.jsonl"
    answers.write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = CONFIG | {
        "kind": "preference_pretraining",
        "form": form,
        "learning_rate": 3e-3,
        "epochs": 4,
    }
    inputs = {"initial": tmp_path / "initial", "answers": answers}
    path = make_run(tmp_path / "pmp", config=config, inputs=inputs)

    assert run(path) == 0

    pretrained = path / status(path)["checkpoint"]
    assert status(path)["results"]["test_accuracy"]["value"] == 1.0
    assert verify(pretrained).kind == "preference_model"
    rows = [row(index) for index in range(8)]
    release = make_release(tmp_path / "release", train=rows, test=rows)
    inputs = {"initial": pretrained, "release": release}
    onward = make_run(tmp_path / "pm", config=CONFIG, inputs=inputs)
    assert run(onward) == 0
