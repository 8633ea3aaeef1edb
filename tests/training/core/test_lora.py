"""Adapters: nothing changes before training, and what is published is plain and the same."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from modelserving.core.adapters import WEIGHTS, adapter_config
from modelserving.core.architectures import CheckpointRefused
from modelserving.core.artifacts import content_hash, file_sha256, verify
from modelserving.lm.adapters import load_adapter
from modelserving.lm.loading import load_language_model, load_preference_model
from tests.modelserving.adapters import write_adapter
from tests.tiny_checkpoints import make_tiny_language_model, make_tiny_preference_model
from tests.training.core.ppo_inputs import CONFIG as PPO
from tests.training.core.test_preference_training import CONFIG as PM
from tests.training.core.test_preference_training import metrics, status
from tests.training.core.tiny import make_run
from tests.training.core.tiny_release import make_release, row
from training.config import ConfigError, LoraConfig, from_dict
from training.core.__main__ import run
from training.core.adapter import main as publish
from training.core.checkpointing import read_resume
from training.core.lora import add_adapters, merged
from training.core.master_weights import MASTER, MasterWeights

LORA = {"rank": 4, "alpha": 8.0}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("inputs")
    make_tiny_language_model(folder / "initial")
    make_tiny_preference_model(folder / "ranker")
    train, test = [row(index) for index in range(8)], [row(index) for index in range(100, 104)]
    release = make_release(folder / "release", train=train, test=test)
    return {"initial": folder / "initial", "ranker": folder / "ranker", "release": release}


def test_merged_weights_give_the_logits_of_the_adapted_model(inputs: dict[str, Path]):
    config = LoraConfig(rank=2, alpha=6.0)
    model = add_adapters(load_language_model(inputs["initial"]).model, config=config, seed=0)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if ".lora_B" in name:
            torch.nn.init.normal_(parameter)
    ids = torch.tensor([[5, 6, 7, 8]])

    plain = load_language_model(inputs["initial"]).model
    before = plain(ids).logits
    plain.load_state_dict(merged(dict(model.named_parameters()), config=config), strict=False)

    model.set_attn_implementation("eager")
    torch.testing.assert_close(plain(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(plain(ids).logits, before)


def test_a_module_that_is_not_there_is_refused(inputs: dict[str, Path]):
    config = LoraConfig(rank=2, target_modules=("no_such",))

    with pytest.raises(ConfigError, match="target_modules"):
        add_adapters(load_language_model(inputs["initial"]).model, config=config, seed=0)


def test_an_output_layer_of_its_own_is_adapted_where_it_is_merged_alone(inputs: dict[str, Path]):
    make = {"rank": 2, "target_modules": ("lm_head",)}
    model = load_language_model(inputs["initial"]).model

    with pytest.raises(ConfigError, match=r"or set lora\.publish to merged"):
        add_adapters(model, config=LoraConfig(publish="adapter", **make), seed=0)
    add_adapters(model, config=LoraConfig(**make), seed=0)


def tiny_gpt2() -> GPT2LMHeadModel:
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=320, n_positions=64, n_embd=16, n_layer=1, n_head=2)
    )


def tied_llama() -> LlamaForCausalLM:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=320, tie_word_embeddings=True, **sizes, **heads))


@pytest.mark.parametrize(
    ("make", "target", "reason"),
    [
        (tiny_gpt2, "c_attn", "h.0.attn.c_attn, which is not a linear layer but a Conv1D"),
        # square: merged without an error
        (tiny_gpt2, "attn.c_proj", "not a linear layer but a Conv1D"),
        (
            tied_llama,
            "embed_tokens",
            "model.embed_tokens, which is not a linear layer but a Embedding",
        ),
        (tied_llama, "mlp", "not a linear layer but a LlamaMLP"),
        (tied_llama, "lm_head", "lm_head, which shares its weights"),
    ],
)
def test_what_cannot_be_merged_is_no_target(
    make: Callable[[], torch.nn.Module], target: str, reason: str
):
    config = LoraConfig(rank=2, target_modules=("q_proj", target))

    with pytest.raises(ConfigError, match=rf"lora\.target_modules names .*{reason}"):
        add_adapters(make(), config=config, seed=0)


def test_only_what_adapters_train_is_kept_in_float32(inputs: dict[str, Path]):
    model = load_language_model(inputs["initial"], dtype=torch.bfloat16).model
    add_adapters(model, config=LoraConfig(rank=2), seed=0)

    master = MasterWeights(model)

    parameters = dict(model.named_parameters())
    adapters = {name for name in parameters if ".lora_" in name}
    assert {k for k, each in master.parameters.items() if each is not parameters[k]} == adapters
    assert {each.removeprefix(MASTER) for each in master.tensors()} == adapters
    assert all(each.dtype == torch.float32 for each in master.tensors().values())


def test_weights_kept_by_an_earlier_version_with_those_that_do_not_learn_are_taken_back(
    inputs: dict[str, Path],
):
    model = load_language_model(inputs["initial"], dtype=torch.bfloat16).model
    add_adapters(model, config=LoraConfig(rank=2), seed=0)
    master = MasterWeights(model)
    earlier = {
        name: torch.full_like(each, 0.5)
        for name, each in (master.tensors() | master.frozen_tensors()).items()
    }
    start = model.model.embed_tokens.weight.clone()

    master.restore(earlier)

    for name, parameter in model.named_parameters():
        assert bool((parameter == 0.5).all()) == (".lora_" in name)
    assert torch.equal(model.model.embed_tokens.weight, start)


def test_a_policy_of_adapters_in_bfloat16_resumes_to_the_same_weights(
    inputs: dict[str, Path], tmp_path: Path
):
    config = PPO | {"lora": LORA, "steps": 2, "learning_rate": 1e-2, "precision": "bfloat16"}
    path = make_run(tmp_path / "run", config=config, inputs=inputs)
    assert run(path) == 0
    last = path / "checkpoints" / "step-000002"
    before = file_sha256(last / "model.safetensors")
    kept = read_resume(path / "checkpoints" / "step-000001").tensors
    shutil.rmtree(last)

    assert run(path) == 0

    assert file_sha256(last / "model.safetensors") == before
    masters = {name for name in kept if name.startswith(f"policy.{MASTER}")}
    assert masters
    assert all(".lora_" in name for name in masters)


def test_a_preference_model_learns_through_adapters(inputs: dict[str, Path], tmp_path: Path):
    config = PM | {"lora": LORA, "epochs": 30, "batch_comparisons": 8, "learning_rate": 1e-2}
    models = {"initial": inputs["initial"], "release": inputs["release"]}
    path = make_run(tmp_path / "run", config=config, inputs=models)

    assert run(path) == 0

    losses = [each["pm/loss"] for each in metrics(path)]
    assert losses[-1] < 0.1 < losses[0]
    published = load_preference_model(path / status(path)["checkpoint"]).model.state_dict()
    start = load_language_model(inputs["initial"]).model.base_model.state_dict()
    same = "model.layers.0.mlp.up_proj.weight"
    torch.testing.assert_close(published[same], start[same[6:]], rtol=1e-2, atol=1e-2)
    assert not any("lora" in name for name in published)
    kept = read_resume(path / status(path)["checkpoint"]).tensors
    masters = {name for name in kept if name.startswith(MASTER)}
    assert all(".lora_" in name or name == f"{MASTER}score.weight" for name in masters)


def test_a_policy_learns_through_adapters(inputs: dict[str, Path], tmp_path: Path):
    config = PPO | {"lora": LORA, "steps": 2, "learning_rate": 1e-2}
    path = make_run(tmp_path / "run", config=config, inputs=inputs)

    assert run(path) == 0

    rows = metrics(path)[1:]
    assert all(each["ppo/policy/first_ratio_error"] == 0.0 for each in rows)
    assert rows[0]["objective/kl_k3"] == 0.0 < rows[1]["objective/kl_k3"]
    AutoModelForCausalLM.from_pretrained(path / status(path)["checkpoint"])


def test_a_run_is_published_as_an_adapter_that_says_what_its_merged_weights_say(
    inputs: dict[str, Path], tmp_path: Path
):
    config = PPO | {"lora": LORA, "steps": 2, "learning_rate": 1e-2}
    path = make_run(tmp_path / "run", config=config, inputs=inputs)
    assert run(path) == 0
    step, out = path / status(path)["checkpoint"], tmp_path / "adapter"

    done = publish(["--base", str(inputs["initial"]), "--out", str(out), str(step)])
    wrong = publish(["--base", str(inputs["ranker"]), "--out", str(out), str(step)])

    assert (done, wrong) == (0, 2)
    manifest = verify(out)
    assert manifest.parents == [content_hash(verify(inputs["initial"]))]
    base = load_language_model(inputs["initial"]).model
    load_adapter(out, config=adapter_config(out, manifest=manifest), base=base)  # it fits
    written, before = load_file(out / WEIGHTS), base.state_dict()
    published = load_language_model(step).model.state_dict()
    names = {name.split(".lora_")[0] for name in written}
    assert len(names) == 2 * 4  # layers, matrices of attention
    for name in names:
        down, up = (written[f"{name}.lora_{part}.weight"] for part in "AB")
        plain = f"{name.removeprefix('base_model.model.')}.weight"
        told = before[plain] + LORA["alpha"] / LORA["rank"] * (up @ down)
        assert not torch.equal(told, before[plain])
        torch.testing.assert_close(published[plain], told.bfloat16().float())


def test_a_run_publishes_only_its_adapter_where_that_is_asked_for(
    inputs: dict[str, Path], tmp_path: Path
):
    config = PPO | {"lora": LORA, "steps": 2, "learning_rate": 1e-2}
    merged_run = make_run(tmp_path / "merged", config=config, inputs=inputs)
    config |= {"lora": LORA | {"publish": "adapter"}}
    path = make_run(tmp_path / "adapter", config=config, inputs=inputs)

    assert (run(merged_run), run(path)) == (0, 0)

    step = path / status(path)["checkpoint"]
    manifest = verify(step)
    assert set(manifest.files) == {WEIGHTS, "adapter_config.json"}
    assert adapter_config(step, manifest=manifest).base == content_hash(verify(inputs["initial"]))
    found = load_language_model(step, base=inputs["initial"])
    told = load_language_model(merged_run / status(merged_run)["checkpoint"]).model.state_dict()
    start = load_language_model(inputs["initial"]).model.state_dict()
    for name, weight in found.model.state_dict().items():
        torch.testing.assert_close(weight.bfloat16().float(), told[name])
    changed = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(found.model.state_dict()[changed], start[changed])
    assert found.hash == content_hash(manifest)


def test_a_run_goes_on_from_an_adapter_and_publishes_whole_weights(
    inputs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_adapter(
        tmp_path / "adapter", base=inputs["initial"], seed=3,
        parent=content_hash(verify(inputs["initial"])),
    )  # fmt: skip
    initial = content_hash(verify(inputs["initial"]))
    (tmp_path / initial).symlink_to(inputs["initial"])
    models = inputs | {"initial": tmp_path / "adapter"}
    whole = make_run(tmp_path / "whole", config=PPO | {"steps": 1, "lora": LORA}, inputs=models)
    config = PPO | {"steps": 1, "lora": LORA | {"publish": "adapter"}}
    refused = make_run(tmp_path / "refused", config=config, inputs=models)

    assert (run(whole), run(refused)) == (0, 2)

    AutoModelForCausalLM.from_pretrained(whole / status(whole)["checkpoint"])
    assert "adapter of an adapter" in status(refused)["reason"]
    arguments = ["--base", str(models["initial"]), "--out", str(tmp_path / "out")]
    assert publish([*arguments, str(whole / status(whole)["checkpoint"])]) == 2
    assert "an adapter of an adapter is not served" in capsys.readouterr().err


def test_an_adapter_is_read_over_its_own_base_only(inputs: dict[str, Path], tmp_path: Path):
    parent = content_hash(verify(inputs["initial"]))
    write_adapter(tmp_path / "adapter", base=inputs["initial"], seed=3, parent=parent)
    make_tiny_language_model(tmp_path / "other", seed=9)

    with pytest.raises(CheckpointRefused, match="does not stand beside it"):
        load_language_model(tmp_path / "adapter")
    with pytest.raises(CheckpointRefused, match="is another"):
        load_language_model(tmp_path / "adapter", base=tmp_path / "other")


@pytest.mark.parametrize(
    ("lora", "kind", "reason"),
    [
        ({"publish": "adapter"}, PPO, "set lora.rank above 0"),
        ({"rank": 4, "publish": "half"}, PPO, "one of"),
        ({"rank": 4, "publish": "adapter"}, PM, "preference models are published merged"),
    ],
)
def test_what_cannot_be_published_is_refused(lora: dict, kind: dict, reason: str):
    with pytest.raises(ConfigError, match=reason):
        from_dict(kind | {"lora": lora})
