"""Sample a list of prompts to the end, as training needs it.

Does not know rewards, users or HTTP.
"""

from collections.abc import Collection, Sequence

from transformers import PreTrainedModel

from modelserving.lm import graph_sampling
from modelserving.lm.graph_steps import Drawing
from modelserving.lm.packed_reading import packed_reader_of
from modelserving.lm.sample_requests import Sampled, SampleRequest, TokenDrawn
from modelserving.lm.sampler import Sampler

PROMPT_TOKENS = 8192  # read before the first samples start, where there are so many


def sample(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    samples_per_prompt: int,
    max_new_tokens: int,
    temperature: float,
    seeds: Sequence[Sequence[int]],
    stop_ids: Collection[int],
    max_rows: int = 64,
) -> list[list[Sampled]]:
    """`samples_per_prompt` responses to each prompt; `seeds[i][j]` decides response j of prompt i.

    Log-probabilities are those of the drawn tokens at `temperature`, over the whole vocabulary. `max_rows` bounds the
    running batch; on a GPU as many run together as its memory holds.
    """
    assert all(len(each) == samples_per_prompt for each in seeds), "one seed per sample"
    if graph_sampling.suits(model):
        drawing = Drawing(temperature=temperature, stop_ids=stop_ids, most_tokens=max_new_tokens)
        return graph_sampling.sample(model, prompts, seeds=seeds, drawing=drawing)
    sampler = Sampler(
        packed_reader_of(model), max_rows=max_rows, prefix_cache_bytes=0,
        prompt_tokens_per_step=PROMPT_TOKENS,
    )  # fmt: skip
    for index, (prompt, own_seeds) in enumerate(zip(prompts, seeds, strict=True)):
        sampler.add(
            SampleRequest(
                key=str(index), prompt=tuple(prompt), seeds=tuple(own_seeds), max_tokens=max_new_tokens,
                temperature=temperature, stop_ids=frozenset(stop_ids),
            )
        )  # fmt: skip
    found = [[Sampled() for _ in range(samples_per_prompt)] for _ in prompts]
    was_training = model.training
    model.eval()
    while sampler.running or sampler.waiting:
        for event in sampler.step():
            if isinstance(event, TokenDrawn):
                _write(found[int(event.key)][event.sample], event)
    model.train(was_training)
    return found


def _write(sampled: Sampled, event: TokenDrawn) -> None:
    sampled.token_ids.append(event.token_id)
    sampled.logprobs.append(event.logprob)
    sampled.finish_reason = event.finish or ""
