"""How a run's matrices are multiplied: as its configuration says, whatever the run before it asked for."""

from collections.abc import Iterator

import pytest
import torch

from modelserving.lm.products import (
    NEEDS,
    has_int16_products,
    multiplies_in_int16,
    multiply_in_int16,
)
from training.config import ConfigError, LanguageModelConfig, PPOConfig
from training.core import seeding


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    multiply_in_int16(is_on=False)


def prepared(precision: str) -> tuple[torch.dtype, bool]:
    config = PPOConfig(device="cpu", precision=precision)
    dtype = seeding.precision_of(config, device=seeding.prepare(config))
    return dtype, multiplies_in_int16()


def test_the_fastest_is_what_this_processor_has():
    dtype, in_int16 = prepared("fastest")

    if seeding.cpu_multiplies_bfloat16():
        assert (dtype, in_int16) == (torch.bfloat16, False)
    else:
        assert (dtype, in_int16) == (torch.float32, has_int16_products())


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_the_next_run_is_not_multiplied_as_the_last_one(precision: str):
    if not has_int16_products():
        pytest.skip(f"no products in int16 here: {NEEDS}")
    assert prepared("int16") == (torch.float32, True)

    _, in_int16 = prepared(precision)

    assert not in_int16


def test_int16_is_refused_where_it_is_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(seeding, "has_int16_products", lambda: False)

    with pytest.raises(ConfigError, match="set it to fastest"):
        prepared("int16")
    assert prepared("fastest")[1] is False


def test_a_kind_that_does_not_know_int16_refuses_it():
    with pytest.raises(ConfigError, match="language models do not know"):
        seeding.prepare(LanguageModelConfig(device="cpu", precision="int16"))
