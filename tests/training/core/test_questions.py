"""Question sets are read in every public form, refused with the place and the cure, and answered as plain forwards do."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from modelserving.core.artifacts import ArtefactError, read_manifest, verify
from modelserving.lm.loading import load_language_model, load_preference_model
from modelserving.lm.preference_model import score_dialogues
from tests.tiny_checkpoints import make_tiny_language_model, make_tiny_preference_model
from tests.training.core.test_evaluation_run import CONFIG
from tests.training.core.test_preference_training import status
from tests.training.core.test_ranks import torchrun
from tests.training.core.tiny import make_run, write_documents
from tests.training.core.tiny_release import make_release, row
from training.config import ConfigError
from training.core.__main__ import run
from training.core.evaluation.questions import Answered, histogram, summary
from training.core.questions import main, publish_questions, read_published

OWN = {"question": "Tea?", "choices": ["no", "yes", "maybe"], "answer": 1, "category": "drinks"}
HHH = {"category": "honest", "prompt": "Is it so?", "chosen": "I do not know.", "rejected": "Yes."}
TRUTHFUL = {"question": "Tea?", "mc1_targets": {"no": 0, "yes": 1}}
ARC = {
    "question": "Tea?",
    "choices": {"text": ["no", "yes"], "label": ["A", "B"]},
    "answerKey": "B",
}


def file_of(folder: Path, rows: list[Any]) -> Path:
    path = folder / "source.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(("stored", "choices", "answer"), [
    (OWN, ["no", "yes", "maybe"], 1),
    (HHH, ["I do not know.", "Yes."], 0),
    (TRUTHFUL, ["no", "yes"], 1),
    ({"question": "Tea?", "mc1_targets": {"yes": 1, "": 0, "no": 0}}, ["yes", "no"], 0),
    (ARC, ["no", "yes"], 1),
])  # fmt: skip
def test_every_public_form_is_read(tmp_path: Path, stored: Any, choices: list[str], answer: int):
    publish_questions(file_of(tmp_path, [stored]), tmp_path / "set")

    (found,) = read_published(tmp_path / "set")

    assert (list(found.choices), found.answer) == (choices, answer)
    assert [each["role"] for each in found.messages] == ["user"]
    assert found.category == stored.get("category", "all")


@pytest.mark.parametrize("whole", [[OWN, HHH], {"name": "hhh", "examples": [OWN, HHH]}])
def test_an_array_and_a_big_bench_task_are_read_as_lines_are(tmp_path: Path, whole: Any):
    path = tmp_path / "task.json"
    path.write_text(json.dumps(whole, indent=1))
    publish_questions(path, tmp_path / "whole")
    publish_questions(file_of(tmp_path, [OWN, HHH]), tmp_path / "lines")

    assert read_published(tmp_path / "whole") == read_published(tmp_path / "lines")


def test_a_dialogue_written_within_the_prompt_becomes_turns(tmp_path: Path):
    prompt = "Hi.\n\nAssistant:  Hello!\n\nHuman:  Is it late?"
    publish_questions(file_of(tmp_path, [HHH | {"prompt": prompt}]), tmp_path / "set")

    (found,) = read_published(tmp_path / "set")

    said = [(each["role"], each["content"]) for each in found.messages]
    assert said == [("user", "Hi."), ("assistant", "Hello!"), ("user", "Is it late?")]


@pytest.mark.parametrize(("stored", "why"), [
    (OWN | {"answer": 3}, "answer 3 is none of its 3 choices"),
    (OWN | {"answer": -1}, "answer -1 is none of its 3 choices"),
    (OWN | {"answer": True}, "not the index of a choice"),
    (OWN | {"choices": ["yes", "yes"]}, "all different"),
    (OWN | {"choices": ["yes"], "answer": 0}, "two choices or more"),
    (OWN | {"choices": ["yes", 3]}, "a choice is not text"),
    (OWN | {"choices": ["yes", "\ud800"]}, "a choice is not text"),
    (TRUTHFUL | {"mc1_targets": {"no": 1, "yes": 1}}, "2 choices are right"),
    (ARC | {"answerKey": "E"}, "is not in list"),
    (HHH | {"prompt": 3}, "expected string"),
    ({"messages": [{"role": "assistant", "content": "Tea?"}], "choices": ["a", "b"], "answer": 0}, "expected 'user'"),
    (OWN | {"category": "a\nb"}, "its category is not one line"),
    (OWN | {"category": "\ud800"}, "its category is not one line"),
    (OWN | {"category": "x" * 41}, "its category is not one line of 40 characters"),
    ("Tea?", "is not a question"),
    ({}, "is not a question"),
])  # fmt: skip
def test_a_broken_question_is_refused_with_its_place(tmp_path: Path, stored: Any, why: str):
    with pytest.raises(ConfigError, match="line 2 is not a question") as refused:
        publish_questions(file_of(tmp_path, [OWN, stored]), tmp_path / "set")

    assert why in str(refused.value)
    assert not (tmp_path / "set").exists()


def test_a_set_is_published_once_with_what_it_was_made_from(tmp_path: Path):
    source = file_of(tmp_path, [OWN])
    publish_questions(source, tmp_path / "set")

    assert verify(tmp_path / "set").kind == "questions"
    assert len(read_manifest(tmp_path / "set").parents) == 1
    with pytest.raises(ArtefactError, match="exists"):
        publish_questions(source, tmp_path / "set")


def test_the_command_names_what_is_wrong(tmp_path: Path, capsys):
    for source in (tmp_path / "none.jsonl", file_of(tmp_path, [])):
        with pytest.raises(SystemExit) as ended:
            main([str(source), "--out", str(tmp_path / "set")])
        assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "No such file" in said
    assert "holds no question" in said


def test_ties_are_shared_and_chance_is_one_of_the_choices():
    answered = [
        Answered(category="a", answer=0, values=[2.0, 1.0]),
        Answered(category="a", answer=1, values=[1.0, 1.0, 0.0, 0.0]),
        Answered(category="b", answer=1, values=[1.0, 0.0]),
    ]

    found = summary(answered)

    assert found["headline"]["value"] == pytest.approx(1.5 / 3)
    assert found["chance"] == pytest.approx((0.5 + 0.25 + 0.5) / 3)
    assert found["by_category"]["a"]["value"] == pytest.approx(0.75)


@pytest.mark.parametrize("margins", [[-1.0, 0.5, 2.0], [0.0], [1.0, 1.0], [-3.0, -1e-9, 1e-9]])
def test_no_bin_holds_right_and_wrong(margins: list[float]):
    found = histogram(margins)

    counts = found["counts"]
    width = (found["high"] - found["low"]) / len(counts)
    below = round(-found["low"] / width)
    assert sum(counts) == len(margins)
    assert sum(counts[:below]) == sum(each < 0 for each in margins)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("asked")
    make_tiny_language_model(folder / "policy")
    make_tiny_preference_model(folder / "ranker")
    rows = [row(index) for index in range(4)]
    make_release(folder / "release", train=rows, test=rows)
    dialogue = {"messages": [
        {"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "How are you today?"},
    ]}  # fmt: skip
    asked = [OWN, HHH, dialogue | {"choices": ["I am well, thank you", "no"], "answer": 0}]
    publish_questions(file_of(folder, asked), folder / "questions")
    return folder


def asked(folder: Path, run_directory: Path, *, initial: str) -> dict[str, Any]:
    inputs = {
        "initial": folder / initial,
        "release": folder / "release",
        "questions": folder / "questions",
    }
    path = make_run(run_directory, config=CONFIG | {"suites": ["questions"]}, inputs=inputs)
    assert run(path) == 0
    found: dict[str, Any] = json.loads((path / "evaluation.json").read_text())["questions"]
    assert status(path)["results"]["questions"] == found["headline"]
    return found


def test_a_preference_model_picks_what_it_scores_highest(folder: Path, tmp_path: Path):
    found = asked(folder, tmp_path / "run", initial="ranker")

    model = load_preference_model(folder / "ranker")
    margins, right = [], 0
    for each in read_published(folder / "questions"):
        ended = [[*each.messages, {"role": "assistant", "content": text}] for text in each.choices]
        scores = score_dialogues(model, ended).tolist()
        best_other = max(s for i, s in enumerate(scores) if i != each.answer)
        margins.append(scores[each.answer] - best_other)
        right += margins[-1] > 0
    assert found["headline"]["value"] == pytest.approx(right / 3)
    assert found["margins"]["low"] <= min(margins)
    assert max(margins) <= found["margins"]["high"]
    assert set(found["by_category"]) == {"drinks", "honest", "all"}


def test_a_language_model_picks_what_it_finds_likeliest(folder: Path, tmp_path: Path):
    found = asked(folder, tmp_path / "run", initial="policy")

    policy = load_language_model(folder / "policy")
    policy.model.set_attn_implementation("eager")
    tokenizer, layout = policy.tokenizer, policy.dialogue_format
    roles = {"user": layout.human, "assistant": layout.assistant}
    ways = {"sum": 0.0, "mean": 0.0}
    for each in read_published(folder / "questions"):
        prompt: list[int] = []
        for message in each.messages:
            prompt += [
                tokenizer.token_id(roles[message["role"]]),
                *tokenizer.encode(message["content"]),
            ]
            if message["role"] == "assistant":
                prompt.append(tokenizer.token_id(layout.end_of_turn))
        prompt.append(tokenizer.token_id(layout.assistant))
        values: dict[str, list[float]] = {"sum": [], "mean": []}
        for text in each.choices:
            reply = [*tokenizer.encode(text), tokenizer.token_id(layout.end_of_turn)]
            ids = torch.tensor([prompt + reply])
            with torch.no_grad():
                logprobs = policy.model(ids).logits[0].log_softmax(-1)
            said = torch.stack(
                [logprobs[len(prompt) - 1 + i, token] for i, token in enumerate(reply)]
            )
            values["sum"].append(float(said.sum()))
            values["mean"].append(float(said.mean()))
        for way, each_value in values.items():
            ways[way] += each_value.index(max(each_value)) == each.answer
    assert found["headline"]["value"] == pytest.approx(ways["sum"] / 3)
    assert found["per_token"]["headline"]["value"] == pytest.approx(ways["mean"] / 3)


def test_without_a_set_the_suite_is_left_out_or_refused(folder: Path, tmp_path: Path):
    inputs = {"initial": folder / "ranker", "release": folder / "release"}
    path = make_run(tmp_path / "all", config=CONFIG, inputs=inputs)
    assert run(path) == 0
    assert "questions" not in status(path)["results"]

    path = make_run(tmp_path / "asked", config=CONFIG | {"suites": ["questions"]}, inputs=inputs)
    assert run(path) == 2
    assert "there is no question set" in status(path)["reason"]


def test_a_gzipped_file_is_read(tmp_path: Path):
    write_documents(tmp_path / "source.jsonl.gz", [OWN])

    assert publish_questions(tmp_path / "source.jsonl.gz", tmp_path / "set") == 1


@pytest.mark.timeout(200)
def test_two_processes_answer_as_one_does(folder: Path, tmp_path: Path):
    alone = {
        initial: asked(folder, tmp_path / f"alone-{initial}", initial=initial)
        for initial in ("ranker", "policy")
    }
    paths = {}
    for initial, sharding in (("ranker", "full"), ("policy", "none")):
        inputs = {
            "initial": folder / initial,
            "release": folder / "release",
            "questions": folder / "questions",
        }
        config = CONFIG | {"suites": ["questions"], "sharding": sharding}
        paths[initial] = make_run(tmp_path / initial, config=config, inputs=inputs)

    ended = torchrun(*map(str, paths.values()))

    assert ended.returncode == 0, ended.stderr[-4000:]
    for initial, path in paths.items():
        found = json.loads((path / "evaluation.json").read_text())["questions"]
        assert found["by_category"] == alone[initial]["by_category"]
        if initial == "ranker":
            assert found["margins"]["low"] == pytest.approx(
                alone[initial]["margins"]["low"], abs=1e-4
            )
            assert found["margins"]["counts"] == alone[initial]["margins"]["counts"]
