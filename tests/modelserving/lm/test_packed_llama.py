"""The hand-written blocks against autograd: numbers, gradients, and what they leave to transformers."""

import random
from dataclasses import replace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from modelserving.lm import packed_llama
from modelserving.lm.attention import hidden_states, pack
from modelserving.lm.fused_norm import fuse_norms
from modelserving.lm.heads import Angles
from modelserving.lm.packed_block import BlockCall, BlockWeights, packed_block
from modelserving.lm.packed_llama import fits
from modelserving.lm.tree_plan import TreePlan
from modelserving.lm.tree_visibility import Visibility
from tests.modelserving.lm.test_attention import SEQUENCES

LONG = [[random.Random(i).randrange(3, 64) for _ in range(180)] for i in range(2)]
LONG_TREES = [[[*LONG[0], 5, 6, 7], [*LONG[0], 8, 9]], [LONG[1][:170]], [LONG[1][:40]], [[9, 8]]]
SIZES = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip


def tiny(architecture: str, **overrides: object) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **(SIZES | overrides))
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():  # biases and norms that differ from their neutral start
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return model


def naive(model: PreTrainedModel, groups: list) -> list[torch.Tensor]:
    model.set_attn_implementation("eager")
    return [
        model.base_model(torch.tensor([each])).last_hidden_state[0]
        for group in groups
        for each in group
    ]


# a tree's longest sequence has as many positions as these angles hold for; the row has more tokens
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
LONGROPE = {
    "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 183,
    "factor": 2.0, "short_factor": [1.0, 1.5], "long_factor": [4.0, 8.0],
}  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "overrides"),
    [
        ("llama", {}),
        ("llama", {"num_key_value_heads": 4}),
        ("llama", {"rope_parameters": DYNAMIC, "max_position_embeddings": 183}),
        ("qwen2", {"rope_parameters": LONGROPE, "max_position_embeddings": 366}),
        ("mistral", {"sliding_window": 5}),
        ("qwen2", {}),
    ],
)
@pytest.mark.parametrize("groups", [SEQUENCES, LONG_TREES], ids=["short", "long"])
def test_hidden_states_and_gradients_are_those_of_one_forward_per_sequence(
    architecture: str, overrides: dict, groups: list
):
    model = tiny(architecture, **overrides)
    direction = torch.randn(16)
    row = pack(groups)

    hidden = hidden_states(model, row)
    packed = torch.stack([(hidden[path] @ direction).sin().sum() for path in row.paths])
    packed.sum().backward()
    ours = {name: p.grad.clone() for name, p in model.base_model.named_parameters()}
    model.zero_grad()
    plain = torch.stack([(h @ direction).sin().sum() for h in naive(model, groups)])
    plain.sum().backward()

    assert fits(model.base_model)
    torch.testing.assert_close(packed, plain, rtol=1e-4, atol=1e-4)
    for name, parameter in model.base_model.named_parameters():
        # near-uniform attention cancels: autograd's own float32 is up to 9e-5 from float64 here
        assert (ours[name] - parameter.grad).norm() <= 1e-4 * parameter.grad.norm(), name


@pytest.mark.parametrize("checkpointed", [False, True])
def test_asking_for_some_tokens_gives_their_numbers_and_gradients(checkpointed: bool):
    model = tiny("llama").train()
    if checkpointed:
        model.activation_checkpointing_enable({"use_reentrant": False})
    row = pack(LONG_TREES)
    asked = torch.tensor([7, 179, 179, 182, 3, 200, int(row.ends[-1])])  # one of them twice
    weights = torch.randn(len(asked), 16)
    found = []
    for some in (None, asked):
        model.zero_grad()
        hidden = hidden_states(model, row, asked=some)
        hidden = hidden[asked] if some is None else hidden
        (hidden * weights).sin().sum().backward()
        found.append((hidden.detach(), [p.grad.clone() for p in model.base_model.parameters()]))

    torch.testing.assert_close(found[1][0], found[0][0])
    for ours, theirs in zip(found[1][1], found[0][1], strict=True):
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


@pytest.mark.parametrize(
    ("asked", "places"),
    [(None, None), (torch.tensor([4, 1, 4]), None), (None, torch.tensor([3, 0, 1, 3, 2, 1, 3]))],
    ids=["all", "asked", "equal inputs"],
)
def test_the_backward_pass_is_that_of_the_numbers(
    asked: torch.Tensor | None, places: torch.Tensor | None
):
    torch.manual_seed(0)
    T, E, H, G, D, I = 7, 8, 4, 2, 4, 6  # noqa: E741 -- the file's legend

    def made(*shape: int) -> torch.Tensor:
        return (0.5 * torch.randn(*shape, dtype=torch.float64)).requires_grad_()

    weights = BlockWeights(
        made(E), made(H * D, E), made(G * D, E), made(G * D, E), made(H * D), made(G * D),
        made(G * D), made(E, H * D), made(E), made(I, E), made(I, E), made(E, I),
    )  # fmt: skip
    row = pack([[[1, 2, 3], [1, 4, 5]], [[6, 7]]])
    rule = Visibility(subtree_end=row.subtree_end, positions=row.positions, window=None)
    turns = torch.randn(T, 1, D // 2, dtype=torch.float64)
    cos, sin = turns.cos(), turns.sin()
    angles = Angles(cos=torch.cat((cos, cos), -1), sin=torch.cat((-sin, sin), -1))
    there = angles if asked is None else Angles(cos=angles.cos[asked], sin=angles.sin[asked])
    call = BlockCall(
        plan=TreePlan(starts=row.tree_starts, visibility=rule, queries=asked),
        turns=(there, angles), scale=0.5, epsilon=1e-5, asked=asked, places=places, recompute=False,
    )  # fmt: skip

    def block(x: torch.Tensor, *each: torch.Tensor) -> torch.Tensor:
        return packed_block(x, weights=BlockWeights(*each), call=call)

    inputs = made(T if places is None else 4, E)
    assert torch.autograd.gradcheck(block, (inputs, *weights))
    if places is not None:
        each_its_own = replace(call, places=None)
        spread = packed_block(inputs[places], weights=weights, call=each_its_own)
        torch.testing.assert_close(block(inputs, *weights), spread, rtol=0, atol=1e-12)


def test_bfloat16_is_as_close_to_float32_as_transformers_own(monkeypatch: pytest.MonkeyPatch):
    row = pack(LONG_TREES)
    exact = hidden_states(tiny("llama"), row).detach()
    model = fuse_norms(tiny("llama").bfloat16())
    ours = hidden_states(model, row).detach().float()
    monkeypatch.setattr("modelserving.lm.attention.fits", lambda _backbone: False)
    theirs = hidden_states(model, row).detach().float()

    assert not torch.equal(ours, theirs)
    assert (ours - exact).norm() <= 1.1 * (theirs - exact).norm()


def test_other_models_are_left_to_their_own_forward():
    adapted = tiny("llama")
    projection = adapted.base_model.layers[1].self_attn.q_proj
    adapted.base_model.layers[1].self_attn.q_proj = torch.nn.Sequential(projection)

    assert not fits(adapted.base_model)
    assert not fits(tiny("llama", attention_bias=True).base_model)
    assert not fits(tiny("llama", hidden_act="gelu").base_model)
    assert not fits(tiny("qwen3", head_dim=4).base_model)
    assert packed_llama.LAYERS == ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer")
