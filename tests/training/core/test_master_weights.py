"""Which optimizer takes which weights; the steps themselves are tested with whole runs."""

import pytest
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from training.config import ConfigError, LanguageModelConfig
from training.core.master_weights import MasterWeights, make_optimizers


def gpt2() -> nn.Module:
    return GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=8, n_embd=8, n_layer=1, n_head=2))


def test_muon_is_refused_where_it_finds_no_matrices() -> None:
    parameters = MasterWeights(gpt2()).parameters

    with pytest.raises(ConfigError, match=r"optimizer is muon, .* set it to adamw"):
        make_optimizers(parameters, config=LanguageModelConfig(optimizer="muon"))

    assert len(make_optimizers(parameters, config=LanguageModelConfig()).members) == 1
