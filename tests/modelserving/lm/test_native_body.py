"""The compiled step reads bfloat16 models in float32, and counts what that takes."""

import pytest
import torch

from modelserving.lm.llama_body import is_llama_like
from modelserving.lm.native.body import NativeBody
from modelserving.lm.native.compiling import library
from modelserving.lm.rollouts import sample
from tests.modelserving.lm.test_sampler import CONFIGS, naive_logprobs, prompt_of, tiny


def test_copies_of_weights_count_as_memory_used() -> None:
    compiled = library()
    assert compiled is not None, "the compiled step needs g++"
    model = tiny("llama")
    matrices = sum(each.numel() for name, each in model.named_parameters() if each.ndim == 2)
    vectors = sum(each.numel() for each in model.parameters() if each.ndim == 1)
    embedding = model.base_model.embed_tokens.weight.numel()

    wide = NativeBody(model, compiled).bytes_used
    half = NativeBody(tiny("llama").bfloat16(), compiled).bytes_used

    assert wide == 4 * (matrices - embedding)  # it reads the model's own embedding
    assert half == 4 * (matrices + vectors)


@pytest.mark.usefixtures("step")
@pytest.mark.parametrize("name", [name for name in CONFIGS if is_llama_like(tiny(name))])
def test_bfloat16_is_as_close_to_float32_as_transformers_own(name: str) -> None:
    model, exact = tiny(name).bfloat16(), tiny(name).bfloat16().float()
    prompts = [prompt_of(length) for length in (1, 65, 130)]

    found = sample(
        model, prompts, samples_per_prompt=2, max_new_tokens=40, temperature=1.0,
        seeds=[[10 * i, 10 * i + 1] for i in range(len(prompts))], stop_ids=(),
    )  # fmt: skip

    errors = torch.zeros(2)
    for prompt, samples in zip(prompts, found, strict=True):
        for each in samples:
            truth = naive_logprobs(exact, prompt, each.token_ids, temperature=1.0)
            theirs = naive_logprobs(model, prompt, each.token_ids, temperature=1.0)
            errors += torch.stack(
                [(other - truth).square().sum() for other in (torch.tensor(each.logprobs), theirs)]
            )
    assert 0 < errors[0] <= 1.1 * errors[1]
