"""Next-token training end to end on a tiny corpus: it learns, resumes to the bit, and refuses."""

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from modelserving.core.artifacts import file_sha256, verify
from modelserving.lm.loading import load_language_model
from tests.training.core.tiny import language_model_config, make_corpus, make_run
from training.config import ConfigError, LanguageModelConfig, MixturePhase, from_dict
from training.core.__main__ import NON_FINITE, REFUSED, run
from training.core.distributed import Ranks
from training.core.language_model_loss import next_token_loss
from training.core.language_model_start import open_start
from training.core.language_model_training import train
from training.core.run_directory import RunDirectory
from training.core.schedules import learning_rate_fraction, phase_at

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def status(path: Path) -> dict[str, Any]:
    return json.loads((path / "status.json").read_text())


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def tiny_llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=11, hidden_size=8, intermediate_size=16, num_hidden_layers=1,
            num_attention_heads=2, max_position_embeddings=16, tie_word_embeddings=True,
        )
    )  # fmt: skip


def test_next_token_loss_equals_a_loop_over_tokens() -> None:
    model = tiny_llama()
    ids_BT = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    is_target_BT = torch.tensor([[True, False, True, True], [True, True, False, False]])

    loss = next_token_loss(model, ids_BT=ids_BT, is_target_BT=is_target_BT)

    expected = 0.0
    logprobs = model(ids_BT).logits.detach().log_softmax(-1)
    for row in range(2):
        for place in range(1, 4):
            if is_target_BT[row, place]:
                expected -= float(logprobs[row, place - 1, ids_BT[row, place]])
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)


def test_loss_of_an_untrained_model_is_that_of_a_guess(corpus: Path, tmp_path: Path) -> None:
    config = language_model_config(steps=1, learning_rate=1e-9)
    path = make_run(tmp_path / "run", config=config, inputs={"corpus": corpus})

    assert run(path) == 0

    assert rows(path)[0]["lm/loss"] == pytest.approx(math.log(320), abs=0.2)


def test_training_learns_the_corpus_and_publishes_a_standard_checkpoint(
    corpus: Path, tmp_path: Path
) -> None:
    config = language_model_config(steps=150, learning_rate=0.02, checkpoint_every=100)
    path = make_run(tmp_path / "run", config=config, inputs={"corpus": corpus})

    assert run(path) == 0

    ended = status(path)
    published = path / ended["checkpoint"]
    assert ended["state"] == "done"
    assert rows(path)[-1]["lm/loss"] < 1.5
    assert verify(published).kind == "language_model"
    ours = load_language_model(published)
    plain = AutoModelForCausalLM.from_pretrained(published, dtype=torch.float32)
    ids = ours.tokenizer.encode("The dog went home")
    assert torch.equal(ours.model(torch.tensor([ids])).logits, plain(torch.tensor([ids])).logits)
    spoken = AutoTokenizer.from_pretrained(published).apply_chat_template(
        [{"role": "user", "content": "What is a dog?"}], add_generation_prompt=True, tokenize=False
    )
    assert spoken == "<|human|>What is a dog?<|assistant|>"


@pytest.mark.parametrize(
    ("optimizer", "sent"), [("adamw", signal.SIGKILL), ("muon", signal.SIGTERM)]
)
def test_a_killed_or_interrupted_run_resumes_to_the_same_weights(
    corpus: Path, tmp_path: Path, optimizer: str, sent: signal.Signals
) -> None:
    config = language_model_config(steps=40, optimizer=optimizer, keep_checkpoints=40)
    whole = make_run(tmp_path / "whole", config=config, inputs={"corpus": corpus})
    killed = make_run(tmp_path / "killed", config=config, inputs={"corpus": corpus})
    code = send_after(killed, checkpoint="step-000004", sent=sent)
    if sent == signal.SIGTERM:
        assert (code, status(killed)["state"]) == (0, "interrupted")

    assert run(whole) == 0
    assert run(killed) == 0

    weights = [path / status(path)["checkpoint"] / "model.safetensors" for path in (whole, killed)]
    resume = [p.parent / "resume" / "state.safetensors" for p in weights]
    assert file_sha256(weights[0]) == file_sha256(weights[1])
    assert file_sha256(resume[0]) == file_sha256(resume[1])
    assert [r["step"] for r in rows(killed)] == list(range(1, 41))
    assert [r["lm/loss"] for r in rows(killed)] == [r["lm/loss"] for r in rows(whole)]


def make_stop(path: Path) -> Path:
    (path / "stop.json").write_text("{}")
    return path


def send_after(path: Path, *, checkpoint: str, sent: signal.Signals) -> int:
    """Start the run as a process of its own and send a signal once a checkpoint is there."""
    child = subprocess.Popen(
        [sys.executable, "-m", "training.core", str(path)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (path / "checkpoints" / checkpoint).exists():
        assert child.poll() is None, "the child ended before its checkpoint"
        assert time.monotonic() < deadline, "the child wrote no checkpoint"
        time.sleep(0.002)
    child.send_signal(sent)
    return child.wait(timeout=60)


def test_accumulated_batches_take_the_step_of_one_large_batch(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", answers=(1, 9))  # blocks with few and many targets
    phases = [{"until": 1.0, "weights": {"talk": 1.0}, "loss_on": "responses"}]
    shared = {"phases": phases, "steps": 3, "evaluate_every": 3}
    large = language_model_config(**shared, batch_blocks=4)
    small = language_model_config(**shared, batch_blocks=1, accumulation=4)
    paths = [
        make_run(tmp_path / name, config=config, inputs={"corpus": corpus})
        for name, config in (("large", large), ("small", small))
    ]

    assert [run(path) for path in paths] == [0, 0]

    at_once, accumulated = (rows(path) for path in paths)
    for measure in ("lm/loss", "lm/gradient_norm", "lm/tokens"):
        expected = [each[measure] for each in at_once]
        assert [each[measure] for each in accumulated] == pytest.approx(expected, rel=1e-5)


def test_stop_request_ends_after_the_step_and_publishes(corpus: Path, tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", config=language_model_config(), inputs={"corpus": corpus})
    make_stop(path)

    assert run(path) == 0

    assert status(path)["state"] == "stopped"
    assert status(path)["checkpoint"] == "checkpoints/step-000000"


def test_a_run_by_time_ends_and_its_learning_rate_reaches_the_end(
    corpus: Path, tmp_path: Path
) -> None:
    config = language_model_config(steps=10_000, max_minutes=0.01)
    path = make_run(tmp_path / "run", config=config, inputs={"corpus": corpus})

    assert run(path) == 0

    assert status(path)["state"] == "done"
    assert rows(path)[-1]["lm/learning_rate"] < 0.25 * 0.01


def test_a_loss_that_is_not_finite_stops_before_the_step(corpus: Path, tmp_path: Path) -> None:
    config = language_model_config(learning_rate=1e30, steps=40, max_gradient_norm=1e30)
    path = make_run(tmp_path / "run", config=config, inputs={"corpus": corpus})

    assert run(path) == NON_FINITE

    assert status(path)["state"] == "failed"
    assert "is not finite" in status(path)["reason"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"block_tokens": 128}, "beyond the model's 64 positions"),
        ({"lerning_rate": 1.0}, "did you mean learning_rate"),
        ({"steps": 0}, "steps is 0"),
        ({"phases": [{"until": 1.0, "weights": {"poems": 1.0}}]}, "poems"),
        ({"phases": [{"until": 0.5}, {"until": 1.0, "weights": {"poems": 1.0}}]}, "poems"),
    ],
)
def test_a_wrong_number_is_refused_with_its_name(
    corpus: Path, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    config = language_model_config(**change)
    path = make_run(tmp_path / "run", config=config, inputs={"corpus": corpus})

    assert run(path) == REFUSED

    assert reason in status(path)["reason"]
    assert not (path / "checkpoints").exists()


def test_blocks_that_do_not_divide_among_the_processes_are_refused(
    corpus: Path, tmp_path: Path
) -> None:
    config = language_model_config(batch_blocks=4)
    path = make_run(tmp_path / "run", config=config, inputs={"corpus": corpus})
    directory = RunDirectory(path, ranks=Ranks(rank=1, world=3))

    with pytest.raises(ConfigError, match=r"batch_blocks 4 .* 3 processes: set it to a multiple"):
        train(directory, LanguageModelConfig(batch_blocks=4))


def test_a_changed_input_is_refused(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    path = make_run(tmp_path / "run", config=language_model_config(), inputs={"corpus": corpus})
    (corpus / "train" / "talk.jsonl.gz").write_bytes(b"other")

    assert run(path) == REFUSED

    assert "talk.jsonl.gz" in status(path)["reason"]


def test_a_model_that_trains_in_bfloat16_turns_by_exact_angles(
    corpus: Path, tmp_path: Path
) -> None:
    config = language_model_config(precision="bfloat16")
    path = make_run(tmp_path / "run", config=config, inputs={"corpus": corpus})

    model = open_start(RunDirectory(path), config=from_dict(config)).model

    assert next(model.parameters()).dtype == torch.bfloat16
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32


def test_schedule_warms_up_holds_and_decays_to_zero() -> None:
    config = LanguageModelConfig(warmup_steps=10, decay_from=0.5)

    def share(step: int, progress: float) -> float:
        return learning_rate_fraction(config, step=step, progress=progress)

    assert share(0, 0.0) == pytest.approx(0.1)
    assert share(100, 0.5) == 1.0
    assert share(100, 0.75) == pytest.approx(0.5)
    assert share(100, 1.0) == 0.0


def test_phases_follow_one_another() -> None:
    phases = (MixturePhase(until=0.5), MixturePhase(until=1.0, loss_on="responses"))

    assert phase_at(phases, progress=0.49) is phases[0]
    assert phase_at(phases, progress=0.5) is phases[1]
    assert phase_at(phases, progress=1.0) is phases[1]
