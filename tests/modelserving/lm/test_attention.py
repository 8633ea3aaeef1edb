"""Packed trees give the numbers of one plain forward per sequence."""

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
)

from modelserving.lm.attention import hidden_states, pack, without_dropout
from modelserving.lm.tree_visibility import Visibility

SEQUENCES = [
    [[5, 6, 7, 8, 9, 10], [5, 6, 7, 11], [5, 6, 7, 8, 12, 13, 14]],
    [[20, 21, 22]],
    [[30, 31, 32, 33], [30, 31, 40, 41, 42]],
]


def tiny_llama(**overrides) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "vocab_size": 64}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}
    return LlamaForCausalLM(LlamaConfig(**sizes, **heads, **overrides))


def test_pack_lays_a_tree_out_depth_first():
    row = pack([[[1, 2, 3], [1, 2, 4, 5]], [[9]]])

    assert row.tokens.tolist() == [1, 2, 3, 4, 5, 9]
    assert row.positions.tolist() == [0, 1, 2, 2, 3, 0]
    assert row.subtree_end.tolist() == [5, 5, 3, 5, 5, 6]
    assert row.tree_starts == (0, 5, 6)
    assert [path.tolist() for path in row.paths] == [[0, 1, 2], [0, 1, 3, 4], [5]]


def test_visibility_is_causal_along_the_branch_and_blind_across():
    row = pack([[[1, 2, 3], [1, 2, 4, 5]]])

    rule = Visibility(subtree_end=row.subtree_end, positions=row.positions, window=None)
    index = torch.arange(5)

    allowed = rule.allowed(query=index[:, None], key=index[None, :]).int().tolist()

    assert allowed == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [1, 1, 0, 1, 1],
    ]


def test_a_sequence_that_is_a_prefix_of_another_shares_all_of_it():
    row = pack([[[1, 2, 3, 4], [1, 2]]])

    assert row.tokens.tolist() == [1, 2, 3, 4]
    assert row.paths[1].tolist() == [0, 1]


def test_packed_hidden_states_and_gradients_equal_one_forward_per_sequence():
    model = tiny_llama()
    sequences = [sequence for group in SEQUENCES for sequence in group]

    direction = torch.randn(16)

    row = pack(SEQUENCES)
    hidden = hidden_states(model, row)
    packed = torch.stack([(hidden[path] @ direction).pow(2).sum() for path in row.paths])
    packed.sum().backward()
    packed_gradients = [parameter.grad.clone() for parameter in model.model.parameters()]
    model.zero_grad()
    model.set_attn_implementation("eager")
    plain = [model.model(torch.tensor([each])).last_hidden_state[0] for each in sequences]
    naive = torch.stack([(hidden @ direction).pow(2).sum() for hidden in plain])
    naive.sum().backward()

    torch.testing.assert_close(packed, naive, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(packed_gradients, model.model.parameters(), strict=True):
        assert (ours - theirs.grad).norm() <= 1e-5 * theirs.grad.norm()


def test_a_sliding_window_counts_along_the_branch():
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "mistral",
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=64,
        sliding_window=3,
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    row = pack(SEQUENCES)

    with torch.no_grad():
        hidden = hidden_states(model, row)
        model.set_attn_implementation("eager")
        plain = [
            model.base_model(torch.tensor([each])).last_hidden_state[0]
            for group in SEQUENCES
            for each in group
        ]

    for path, expected in zip(row.paths, plain, strict=True):
        torch.testing.assert_close(hidden[path], expected, rtol=1e-4, atol=1e-5)


def test_checkpointed_activations_give_the_same_gradients():
    model = without_dropout(tiny_llama()).train()
    row = pack(SEQUENCES)
    direction = torch.randn(16)
    gradients = []
    for checkpointed in (False, True):
        if checkpointed:
            model.activation_checkpointing_enable({"use_reentrant": False})
        model.zero_grad()
        (hidden_states(model, row) @ direction).square().sum().backward()
        gradients.append([p.grad.clone() for p in model.model.parameters()])

    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain)


def _tiny_config(architecture: str) -> PretrainedConfig:
    special = {"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if architecture == "gpt2":
        return AutoConfig.for_model(architecture, n_embd=16, n_layer=1, n_head=2, **special)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
    return AutoConfig.for_model(architecture, **sizes, **heads, **special)


ARCHITECTURES = ["llama", "qwen2", "qwen3", "mistral", "gpt2", "gpt_neox", "phi3", "gemma"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_listed_architecture_takes_packed_rows(architecture: str):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(_tiny_config(architecture)).eval()
    row = pack(SEQUENCES)

    with torch.no_grad():
        hidden = hidden_states(model, row)
        model.set_attn_implementation("eager")
        plain = [
            model.base_model(torch.tensor([each])).last_hidden_state[0]
            for group in SEQUENCES
            for each in group
        ]

    for path, expected in zip(row.paths, plain, strict=True):
        torch.testing.assert_close(hidden[path], expected, rtol=1e-4, atol=1e-5)
