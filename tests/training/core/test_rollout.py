"""Rollouts: decided by their seed, scored as they are rendered, prompts mixed as weights say."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from modelserving.core.dialogue import HH_TEXT, encode_prompt, encode_replies
from modelserving.lm.loading import LoadedModel, load_preference_model
from modelserving.lm.preference_model import score_dialogues
from tests.tiny_checkpoints import make_tiny_preference_model
from tests.training.core.tiny_rollout import prompt
from training.core.prompts import Prompt, PromptMixture, written_prompts
from training.core.rollout import Rollout, collect, score_rollout
from training.core.rollout_source import Wanted


def test_a_rollout_depends_on_its_seed_alone(policy: LoadedModel):
    prompts = [prompt(policy, "Hello there")]
    settings = {"samples_per_prompt": 3, "max_new_tokens": 8, "temperature": 1.0}

    first, again, other = (collect(policy, prompts, **settings, seed=seed) for seed in (1, 1, 2))

    assert first.responses == again.responses
    assert first.responses != other.responses
    assert len(set(first.responses)) == 3


def test_a_response_ends_where_a_chat_would(policy: LoadedModel):
    settings = {"samples_per_prompt": 4, "max_new_tokens": 24, "temperature": 1.0, "seed": 5}
    prompts = [prompt(policy, "Hello there")]
    free = collect(policy, prompts, **settings)
    long = max(range(4), key=lambda index: len(free.texts[index]))
    stop = free.texts[long][3:6]
    layout = replace(policy.dialogue_format, stop_strings=("never said", stop))

    stopped = collect(replace(policy, dialogue_format=layout), prompts, **settings)

    assert len(stop) == 3
    for index, (whole, kept) in enumerate(zip(free.responses, stopped.responses, strict=True)):
        before, found, _ = policy.tokenizer.decode(list(whole)).partition(stop)
        assert stopped.texts[index] == before
        assert kept == whole[: len(kept)]
        assert stop not in policy.tokenizer.decode(list(kept[:-1]))
        assert (stop in policy.tokenizer.decode(list(kept))) == bool(found)
        assert bool(stopped.ended[index]) == (bool(found) or bool(free.ended[index]))
    assert len(stopped.responses[long]) < len(free.responses[long])
    assert stopped.is_response.sum(1).tolist() == [len(each) for each in stopped.responses]


class Told:
    """A source that says the same to every prompt, as an endpoint that knows no role token might."""

    def __init__(self, token_ids: list[int]) -> None:
        self._token_ids = token_ids

    def take_weights(self) -> None: ...

    def sample(self, wanted: Wanted) -> list[list[list[int]]]:
        return [[self._token_ids for _ in own] for own in wanted.seeds]

    def close(self) -> None: ...


@pytest.mark.parametrize("ending", ["<|human|>", "<|assistant|>", "<|score|>", "<|pad|>"])
def test_a_response_ends_at_every_token_that_ends_a_chats_reply(policy: LoadedModel, ending: str):
    encode, token_id = policy.tokenizer.encode, policy.tokenizer.token_id
    own = [*encode("I am well."), token_id(ending)]
    told = Told([*own, *encode("And you?"), token_id("<|assistant|>"), *encode("Fine.")])
    settings = {"samples_per_prompt": 1, "max_new_tokens": 64, "temperature": 1.0, "seed": 0}

    found = collect(policy, [prompt(policy, "How are you?")], source=told, **settings)

    assert found.texts == ("I am well.",)
    assert found.responses == (tuple(own),)
    assert found.ended.tolist() == [True]


@pytest.mark.parametrize("text", ["Hello there", " a line\n", "a dog and a cat "])
@pytest.mark.parametrize("stop", [(), HH_TEXT.stop_strings])
def test_in_hh_text_a_response_read_again_is_what_was_drawn(
    policy: LoadedModel, text: str, stop: tuple[str, ...]
):
    own = replace(HH_TEXT, context_tokens=128, stop_strings=stop)
    talker, read = replace(policy, dialogue_format=own), policy.tokenizer
    asked = ({"role": "user", "content": "Tell me"},)
    ids = tuple(encode_prompt(asked, encoder=read, layout=own, room=64).token_ids)
    drawn = [*read.encode(f" {text}"), read.token_id(own.end_of_turn)]
    settings = {"samples_per_prompt": 1, "max_new_tokens": 64, "temperature": 1.0, "seed": 0}

    asking = Prompt(messages=asked, objective="helpful", token_ids=ids, opening="")
    found = collect(talker, [asking], source=Told(drawn), **settings)

    assert found.texts == (text,)
    again = encode_replies(asked, found.texts, encoder=read, layout=own)
    assert again.dialogues[0][:-1] == [*ids, *drawn]
    follow = [*asked, {"role": "assistant", "content": text}, *asked]
    next_ids = encode_prompt(follow, encoder=read, layout=own, room=127).token_ids
    assert next_ids[: len(ids) + len(drawn) - 1] == [*ids, *drawn[:-1]]


def test_own_samples_stop_at_every_end_that_the_config_declares(
    policy: LoadedModel, monkeypatch: pytest.MonkeyPatch
):
    settings = {"samples_per_prompt": 4, "max_new_tokens": 24, "temperature": 1.0, "seed": 5}
    prompts = [prompt(policy, "Hello there")]
    free = collect(policy, prompts, **settings)
    long = max(range(4), key=lambda index: len(free.responses[index]))
    declared = free.responses[long][3]
    ends = [policy.model.config.eos_token_id, declared]
    monkeypatch.setattr(policy.model.config, "eos_token_id", ends)

    stopped = collect(policy, prompts, **settings)

    assert len(stopped.responses[long]) < len(free.responses[long])
    for index, (whole, kept) in enumerate(zip(free.responses, stopped.responses, strict=True)):
        count = whole.index(declared) + 1 if declared in whole else len(whole)
        said = whole[: count - (declared in whole)]
        assert kept == whole[:count]
        assert stopped.texts[index] == policy.tokenizer.decode(list(said))
        assert bool(stopped.ended[index]) == (declared in whole or bool(free.ended[index]))


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_scores_are_those_of_the_rendered_dialogues(
    rollout: Rollout, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    make_tiny_preference_model(tmp_path / "pm")
    ranker = load_preference_model(tmp_path / "pm")
    monkeypatch.setattr("training.core.rollout.threads_for", lambda _model: threads)

    scores = score_rollout(ranker, rollout)

    replies = [{"role": "assistant", "content": text} for text in rollout.texts]
    alone = [
        score_dialogues(ranker, [[*prompt.messages, reply]])
        for prompt, reply in zip(rollout.prompts, replies, strict=True)
    ]
    torch.testing.assert_close(scores, torch.cat(alone), rtol=1e-4, atol=1e-5)
    assert len(set(scores.tolist())) > 1


def test_prompt_mixture_follows_weights_seed_and_step(policy: LoadedModel):
    pool = [prompt(policy, f"a {i}") for i in range(20)]
    pool += [prompt(policy, f"b {i}", objective="harmless") for i in range(20)]
    weights = {"helpful": 3.0, "harmless": 1.0}
    mixture = PromptMixture(pool, weights=weights, seed=0)

    batches = [mixture.batch(step=step, count=8) for step in range(100)]

    share = sum(p.objective == "helpful" for batch in batches for p in batch) / 800
    assert share == pytest.approx(0.75, abs=0.05)
    assert mixture.batch(step=7, count=8) == batches[7]
    assert all(len(set(batch)) == 8 for batch in ([p.token_ids for p in b] for b in batches))


def test_the_model_writes_prompts_of_its_own(policy: LoadedModel):
    examples = [
        prompt(policy, f"Tell me about a {word}")
        for word in ["dog", "cat", "cow", "hen", "fox", "owl", "bee", "ant", "elk", "emu"]
    ]

    written = written_prompts(policy, examples, count=6, room=64, seed=0)
    again = written_prompts(policy, examples, count=6, room=64, seed=0)

    assert written == again
    assert 0 < len(written) <= 6
    assert all(each.token_ids[-1] == policy.tokenizer.token_id("<|assistant|>") for each in written)
    mixture = PromptMixture(examples, weights={}, seed=0, written=written, written_share=0.5)
    batch = mixture.batch(step=0, count=8)
    assert sum(each in written for each in batch) == 4
