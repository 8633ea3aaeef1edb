"""Configurations: they round-trip, refuse what cannot run, and name the number to change."""

import dataclasses
from typing import Any

import pytest

from training.config import (
    KINDS,
    ConfigError,
    LanguageModelConfig,
    LoraConfig,
    MixturePhase,
    ModelShape,
    PPOConfig,
    PreferenceModelConfig,
    from_dict,
    kind_of,
    presets,
    to_dict,
    with_overrides,
)

ALL_PRESETS = [(kind, name) for kind in KINDS for name in presets(kind)]
NUMBERED = [
    *(presets(kind)["demo"] for kind in KINDS), LoraConfig(), MixturePhase(until=1.0), ModelShape(),
]  # fmt: skip
NUMBERS = [
    (config, field.name)
    for config in NUMBERED
    for field in dataclasses.fields(config)
    if type(getattr(config, field.name)) in {int, float}
]


@pytest.mark.parametrize(("kind", "name"), ALL_PRESETS)
def test_every_preset_round_trips(kind: str, name: str) -> None:
    config = presets(kind)[name]

    assert kind_of(config) == kind
    assert from_dict(to_dict(config)) == config


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_the_three_presets(kind: str) -> None:
    assert set(presets(kind)) == {"demo", "small", "paper"}


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ({}, "no kind"),
        ({"kind": "poem"}, "set it to one of language_model"),
        ({"kind": "ppo", "lerning_rate": 1.0}, "did you mean learning_rate"),
        ({"kind": "ppo", "lora": {"rnk": 4}}, "unknown key lora.rnk: did you mean lora.rank"),
        ({"kind": "ppo", "lora": {"dropout": 0.1}}, "lora.dropout is 0.1: .* leave it out"),
        ({"kind": "ppo", "steps": "many"}, "steps is 'many': it must be of type int"),
        ({"kind": "ppo", "steps": True}, "steps is True"),
        ({"kind": "ppo", "steps": -1}, "steps is -1: set it above 0"),
        ({"kind": "ppo", "value_network": "none"}, "value_network is 'none'"),
        ({"kind": "ppo", "gamma": 1.5}, "gamma is 1.5: set it between 0 and 1"),
        ({"kind": "language_model", "phases": []}, "phases is empty"),
        ({"kind": "language_model", "phases": [{"until": 0.5}]}, "let the last end at 1.0"),
        ({"kind": "language_model", "shape": {"hidden_size": 10}}, "attention_heads"),
        ({"kind": "language_model", "shape": 3}, "write an object"),
        ({"kind": "language_model", "seed": 2**32}, "seed is 4294967296: set it between 0 and"),
        ({"kind": "language_model", "beta2": 1.0}, "beta2 is 1.0: set it to 0 or more, below 1"),
        ({"kind": "ppo", "halve_every": -10}, "halve_every is -10: set it to 0 or more"),
        ({"kind": "ppo", "max_gradient_norm": 0}, "max_gradient_norm is 0.0: set it above 0"),
        (
            {"kind": "ppo", "objective_weights": {"helpful": -1}},
            "objective_weights gives helpful -1.0: set it to 0 or more",
        ),
        (
            {"kind": "ppo", "batch_prompts": 6, "minibatches": 4},
            "6 prompts a step do not divide into 4",
        ),
        ({"kind": "ppo", "adaptive_kl_target": 6, "kl_weight": 0}, "set kl_weight above 0"),
        (
            {"kind": "ppo", "adaptive_kl_target": 6, "adaptive_kl_horizon": 10},
            "10 samples, less than the 64 of one step",
        ),
        ({"kind": "language_model", "schedule": "constant", "decay_from": 0.5}, "never decays"),
        (
            {
                "kind": "preference_model",
                "objectives": ["helpful"],
                "objective_weights": {"harmless": 3},
            },
            "objective_weights names harmless, which objectives leaves out",
        ),
        ({"kind": "preference_model", "strength": "margin"}, "a margin needs both"),
        ({"kind": "preference_model", "strength_margin": 0.5}, "a margin needs both"),
        ({"kind": "language_model", "block_tokens": 1}, "block_tokens is 1: set it to 2"),
        ({"kind": "context_distillation", "sequence_tokens": 1}, "sequence_tokens is 1"),
        (
            {"kind": "language_model", "phases": [{"until": 1.0, "weights": {"books": 0}}]},
            "weights gives every source 0",
        ),
    ],
)
def test_what_cannot_run_is_refused_with_its_name(stored: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        from_dict(stored)


@pytest.mark.parametrize(("config", "name"), NUMBERS)
def test_no_number_may_be_negative(config: Any, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"\b{name} is -1: set it"):
        dataclasses.replace(config, **{name: -1})


@pytest.mark.parametrize(
    ("key", "text", "reason"),
    [
        ("learning_rate", "inf", "finite"),
        ("learning_rate", "nan", "finite"),
        ("seed", "9" * 40, "64 bits"),
        ("seed", f"-{'9' * 40}", "64 bits"),
    ],
)
def test_numbers_that_nothing_can_store_are_refused(key: str, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        with_overrides(presets("preference_model")["demo"], {key: text})


@pytest.mark.parametrize("number", [1e30, -1e30, float(2**63)])
def test_a_whole_number_written_as_a_float_is_bounded_too(number: float) -> None:
    with pytest.raises(ConfigError, match="steps is beyond 64 bits"):
        from_dict({"kind": "ppo", "steps": number})


def test_whole_numbers_serve_as_floats_and_back() -> None:
    config = from_dict({"kind": "ppo", "temperature": 1, "steps": 5.0})

    assert isinstance(config, PPOConfig)
    assert (config.temperature, config.steps) == (1.0, 5)


def test_nested_values_become_dataclasses() -> None:
    stored = {"kind": "language_model", "phases": [{"until": 1.0, "weights": {"books": 2}}]}

    config = from_dict(stored)

    assert isinstance(config, LanguageModelConfig)
    assert config.phases == (MixturePhase(until=1.0, weights={"books": 2.0}),)


@pytest.mark.parametrize("kind", ["preference_model", "preference_pretraining", "ppo"])
def test_a_configuration_of_an_earlier_version_is_read_where_it_asks_for_nothing_else(
    kind: str,
) -> None:
    stored = to_dict(presets(kind)["demo"])

    earlier = stored | {"lora": stored["lora"] | {"dropout": 0.0}}

    assert to_dict(from_dict(earlier)) == stored


def test_overrides_are_read_by_the_type_of_the_field() -> None:
    config = with_overrides(
        PreferenceModelConfig(),
        {
            "learning_rate": "1e-4",
            "activation_checkpointing": "false",
            "lora.rank": "8",
            "objectives": "helpful,harmless",
            "objective_weights": '{"harmless": 2}',
        },
    )

    assert isinstance(config, PreferenceModelConfig)
    assert config.learning_rate == 1e-4
    assert config.activation_checkpointing is False
    assert config.lora.rank == 8
    assert config.objectives == ("helpful", "harmless")
    assert config.objective_weights == {"harmless": 2.0}


@pytest.mark.parametrize(
    ("key", "text", "reason"),
    [
        ("steps", "1.5", "whole number"),
        ("learning_rate", "fast", "a number"),
        ("whiten_advantages", "maybe", "true or false"),
        ("stepz", "1", "did you mean steps"),
        ("lora.rnk", "1", "did you mean"),
        ("lora.rank.x", "1", "unknown key lora.rank.x: rank has no named values, set it whole"),
        ("seed.x", "1", "unknown key seed.x: seed has no named values"),
        ("kl_weight", "-1", "kl_weight is -1"),
    ],
)
def test_wrong_overrides_say_what_to_write(key: str, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        with_overrides(PPOConfig(), {key: text})


@pytest.mark.parametrize("text", ['["helpful", "harmless"', "[" * 9999])
def test_half_a_list_is_not_the_name_of_an_objective(text: str) -> None:
    with pytest.raises(ConfigError, match=r"objectives is .*: write it as JSON"):
        with_overrides(PreferenceModelConfig(), {"objectives": text})


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("phases.until", "unknown key phases.until: phases has no named values, set it whole"),
        ("shape.layers.x", "unknown key shape.layers.x: layers has no named values"),
        ("shape.heads", "unknown key shape.heads: did you mean shape"),
    ],
)
def test_overrides_within_a_list_or_number_are_refused(key: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        with_overrides(LanguageModelConfig(), {key: "1"})


def test_an_override_within_a_table_is_one_of_its_numbers() -> None:
    config = with_overrides(PPOConfig(), {"objective_weights.harmless": "2"})

    assert isinstance(config, PPOConfig)
    assert config.objective_weights == {"harmless": 2.0}
    with pytest.raises(ConfigError, match=r"unknown key objective_weights\.a\.b"):
        with_overrides(PPOConfig(), {"objective_weights.a.b": "2"})
