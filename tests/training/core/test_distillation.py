"""Context distillation: the 51-way divergence by hand, and a tiny student that takes on the prompt."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from modelserving.core import host_memory
from modelserving.core.artifacts import (
    content_hash,
    file_sha256,
    utc_now,
    verify,
    write_manifest,
)
from modelserving.core.dialogue import DialogueFormat
from tests.tiny_checkpoints import _publish as publish
from tests.tiny_checkpoints import make_tiny_language_model, tiny_tokenizer
from tests.training.core.distilling import config, make_start, stop_after
from tests.training.core.tiny import make_corpus, make_run, write_documents
from training.config import ContextDistillationConfig
from training.core.__main__ import REFUSED, run
from training.core.distillation_loss import teacher_student_kl, top_logprobs
from training.core.distillation_room import answer_bytes
from training.core.hhh_prompt import EXAMPLES, encode_context


def test_divergence_by_hand_of_two_kept_tokens_and_the_rest() -> None:
    teacher_p = torch.tensor([[0.5, 0.3, 0.15, 0.05]])
    student_p = torch.tensor([[0.4, 0.2, 0.3, 0.1]])
    teacher = top_logprobs(teacher_p.log(), count=2)

    kl = teacher_student_kl(teacher=teacher, student_logits=student_p.log())

    expected = 0.5 * math.log(0.5 / 0.4) + 0.3 * math.log(0.3 / 0.2) + 0.2 * math.log(0.2 / 0.4)
    assert teacher.token_ids.tolist() == [[0, 1]]
    assert float(kl) == pytest.approx(expected, abs=1e-6)


def test_divergence_of_a_model_from_itself_is_zero_and_never_below() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(6, 5, 80, generator=generator)
    other = 3 * torch.randn(6, 5, 80, generator=generator)
    teacher = top_logprobs(logits, count=50)

    assert torch.allclose(
        teacher_student_kl(teacher=teacher, student_logits=logits), torch.zeros(6, 5), atol=1e-5
    )
    assert bool((teacher_student_kl(teacher=teacher, student_logits=other) > 0).all())


def test_divergence_has_a_finite_gradient_when_all_the_mass_is_kept() -> None:
    logits = torch.tensor([[40.0, 0.0, -40.0]], requires_grad=True)
    teacher = top_logprobs(torch.tensor([[-40.0, 0.0, 40.0]]), count=3)

    teacher_student_kl(teacher=teacher, student_logits=logits).sum().backward()

    assert bool(torch.isfinite(logits.grad).all())


def test_prompt_takes_whole_examples_until_the_room_is_full() -> None:
    encoder, layout = tiny_tokenizer(), DialogueFormat()

    everything = encode_context(encoder=encoder, layout=layout, room=100_000)
    some = encode_context(encoder=encoder, layout=layout, room=len(everything.token_ids) - 1)

    assert everything.examples == len(EXAMPLES)
    assert some.examples == len(EXAMPLES) - 1
    assert everything.token_ids[: len(some.token_ids)] == some.token_ids


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_start(tmp_path_factory.mktemp("distillation"))


def test_the_student_comes_closer_to_the_prompted_teacher(
    start: dict[str, Path], tmp_path: Path
) -> None:
    path = make_run(tmp_path / "run", config=config(), inputs=start)

    assert run(path) == 0

    status = json.loads((path / "status.json").read_text())
    results = status["results"]
    assert results["held_out_kl"] < 0.8 * results["held_out_kl_before"]
    assert verify(path / status["checkpoint"]).kind == "language_model"
    assert "<svg" in (path / "plots" / "kl.svg").read_text()


def test_a_stopped_run_reports_the_divergence_of_what_it_publishes(
    start: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_run(tmp_path / "run", config=config(evaluate_every=100), inputs=start)
    stop_after(3, path=path, monkeypatch=monkeypatch)

    assert run(path) == 0

    results = json.loads((path / "status.json").read_text())["results"]
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().split("\n")[:-1]]
    measured = {row["step"]: row["held_out/kl"] for row in rows if "held_out/kl" in row}
    assert measured == {0: results["held_out_kl_before"], 3: results["held_out_kl"]}
    assert results["held_out_kl"] < results["held_out_kl_before"]


def test_a_stopped_and_resumed_run_gives_the_same_weights_and_asks_once(
    start: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_run(tmp_path / "whole", config=config(), inputs=start)
    halved = make_run(tmp_path / "halved", config=config(), inputs=start)
    with monkeypatch.context() as patched:
        stop_after(5, path=halved, monkeypatch=patched)
        assert run(halved) == 0
    asked = file_sha256(halved / "teacher" / "train-00000.safetensors")
    stopped_at = json.loads((halved / "status.json").read_text())["step"]
    (halved / "stop.json").unlink()

    assert run(whole) == 0
    assert run(halved) == 0

    assert stopped_at == 5
    final = [path / "checkpoints" / "step-000012" / "model.safetensors" for path in (whole, halved)]
    assert file_sha256(final[0]) == file_sha256(final[1])
    assert file_sha256(halved / "teacher" / "train-00000.safetensors") == asked


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"prompt_tokens": 4000}, "prompt_tokens 4000"),
        ({"top_tokens": 321}, "top_tokens 321 is beyond the vocabulary of 320: lower it"),
    ],
)
def test_a_number_beyond_the_teacher_is_refused(
    start: dict[str, Path], tmp_path: Path, change: dict[str, int], reason: str
) -> None:
    path = make_run(tmp_path / "run", config=config(**change), inputs=start)

    assert run(path) == REFUSED

    assert reason in json.loads((path / "status.json").read_text())["reason"]


def published_again(directory: Path, *, kind: str) -> None:
    """A manifest for what was changed."""
    write_manifest(directory, kind=kind, parents=[], config={}, code="", created=utc_now())


def test_a_corpus_without_held_out_documents_is_refused(
    start: dict[str, Path], tmp_path: Path
) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    for path in (corpus / "valid").iterdir():
        write_documents(path, [])
    published_again(corpus, kind="corpus")
    path = make_run(tmp_path / "run", config=config(), inputs=start | {"corpus": corpus})

    assert run(path) == REFUSED

    assert (
        "corpus/valid has no document" in json.loads((path / "status.json").read_text())["reason"]
    )


def test_a_teacher_without_role_tokens_is_refused(start: dict[str, Path], tmp_path: Path) -> None:
    make_tiny_language_model(tmp_path / "initial", max_position_embeddings=2048)
    layout = tmp_path / "initial" / "dialogue.json"
    layout.write_text(json.dumps(json.loads(layout.read_text()) | {"format": "hh_text"}))
    published_again(tmp_path / "initial", kind="language_model")
    inputs = start | {"initial": tmp_path / "initial"}
    path = make_run(tmp_path / "run", config=config(), inputs=inputs)

    assert run(path) == REFUSED

    assert "this one's is hh_text" in json.loads((path / "status.json").read_text())["reason"]


def test_a_student_that_could_not_read_the_lessons_is_refused_before_the_teacher_is_asked(
    start: dict[str, Path], tmp_path: Path
) -> None:
    make_tiny_language_model(tmp_path / "short", max_position_embeddings=32)
    make_tiny_language_model(tmp_path / "other", max_position_embeddings=2048)
    stored = json.loads((tmp_path / "other" / "tokenizer.json").read_text())
    stored["model"]["merges"] = stored["model"]["merges"][::-1]
    (tmp_path / "other" / "tokenizer.json").write_text(json.dumps(stored))
    published_again(tmp_path / "other", kind="language_model")

    for name, reason in (
        ("short", "sequence_tokens 64 is beyond the student's 32 positions"),
        ("other", "teacher and initial have different tokenizers"),
    ):
        inputs = start | {"initial": tmp_path / name, "teacher": start["initial"]}
        path = make_run(tmp_path / f"run-{name}", config=config(sequence_tokens=64), inputs=inputs)
        assert run(path) == REFUSED
        assert reason in json.loads((path / "status.json").read_text())["reason"]
        assert not (path / "teacher").exists()


@pytest.mark.parametrize(
    ("changes", "available", "reason"),
    [
        (
            {"sequences": 10**9},
            10**6,
            "the teacher's answers need .* lower sequences, sequence_tokens",
        ),
        ({"sequences": 100_000}, 500, "lower sequences, sequence_tokens or top_tokens"),
        ({"batch_size": 8192, "sequences": 8192}, 500, "lower batch_size or sequence_tokens"),
    ],
)
def test_what_cannot_be_used_is_refused_before_the_teacher_is_asked(
    start: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, int],
    available: int,
    reason: str,
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemAvailable: {available * 1000} kB\n")
    monkeypatch.setattr(host_memory, "MEMINFO", meminfo)
    path = make_run(tmp_path / "run", config=config(**changes), inputs=start)

    assert run(path) == REFUSED

    assert re.search(reason, json.loads((path / "status.json").read_text())["reason"])
    assert not (path / "teacher.partial").exists()


def test_the_room_for_answers_by_hand() -> None:
    asked = ContextDistillationConfig(
        top_tokens=5, sequences=3, held_out_sequences=1, sequence_tokens=10
    )

    assert answer_bytes(asked) == 4 * 10 * (4 + 5 * 8 + 4)


def test_a_student_with_dropout_resumes_to_the_same_weights_and_names_its_teacher(
    start: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = start | {"initial": tmp_path / "student", "teacher": start["initial"]}
    gpt2 = {"vocab_size": 320, "n_positions": 64, "n_embd": 16, "n_layer": 1, "n_head": 2}
    student = GPT2LMHeadModel(GPT2Config(**gpt2, resid_pdrop=0.5))
    publish(student, directory=inputs["initial"], kind="language_model", layout=DialogueFormat())
    short = config(sequences=16, epochs=1)
    whole, halved = (
        make_run(tmp_path / name, config=short, inputs=inputs) for name in ("whole", "halved")
    )
    with monkeypatch.context() as patched:
        stop_after(1, path=halved, monkeypatch=patched)
        assert run(halved) == 0
    (halved / "stop.json").unlink()

    assert (run(whole), run(halved)) == (0, 0)

    last = [path / "checkpoints" / "step-000002" for path in (whole, halved)]
    sums = {file_sha256(each / "model.safetensors") for each in last}
    assert len(sums) == 1
    hashes = [content_hash(verify(inputs[role])) for role in ("initial", "teacher", "corpus")]
    assert verify(last[0]).parents == hashes
