"""Rollouts: sampled responses, their scores, and how they are packed.

It does not know losses, advantages or optimizers.

Legend: B responses, R tokens of the longest response, N response tokens of a row.
"""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor

from modelserving.core.dialogue import Dialogue, reply_opening
from modelserving.core.sampling import sample_seed
from modelserving.core.text_stream import TextStream
from modelserving.lm.attention import PackedRow
from modelserving.lm.loading import LoadedModel
from modelserving.lm.policy import ResponseTokens, pack_responses
from modelserving.lm.preference_model import score_dialogues
from modelserving.lm.stopping import stop_ids
from modelserving.lm.threads import balanced_bins, in_threads, threads_for
from training.core.batching import balanced_rows
from training.core.distributed import Ranks
from training.core.prompts import Prompt
from training.core.rollout_source import OwnSampler, ResponseSource, Wanted
from training.core.sharding import whole

ALONE = Ranks()


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Sampled responses, those to one prompt next to each other."""

    prompts: tuple[Prompt, ...]  # one per response: B
    responses: tuple[tuple[int, ...], ...]  # with the stop token or stop string, where it came
    texts: tuple[str, ...]  # without them
    ended: Tensor  # (B,) True where the response reached a stop token or a stop string
    is_response: Tensor  # (B, R) True on real response tokens

    @property
    def size(self) -> int:
        """B."""
        return len(self.responses)

    @property
    def lengths(self) -> Tensor:
        """Response tokens of each response: (B,)."""
        return self.is_response.sum(dim=1)


def collect(
    policy: LoadedModel,
    prompts: Sequence[Prompt],
    *,
    source: ResponseSource | None = None,
    samples_per_prompt: int,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    ranks: Ranks = ALONE,
) -> Rollout:
    """Sample responses (top-p 1, top-k off), each decided by the seed and its place; whole on every rank.

    `source` samples in the policy's stead; without one it is the policy itself.
    """
    ends = stop_ids(policy)
    mine = range(ranks.rank, len(prompts), ranks.world)
    places = [range(i * samples_per_prompt, (i + 1) * samples_per_prompt) for i in mine]
    seeds = [[sample_seed(seed=seed, index=place) for place in each] for each in places]
    wanted = Wanted(
        prompts=[prompts[i].token_ids for i in mine], seeds=seeds, max_new_tokens=max_new_tokens,
        temperature=temperature, stop_ids=ends,
    )  # fmt: skip
    source = source or OwnSampler(model=policy.model)
    with whole(policy.model) if isinstance(source, OwnSampler) else nullcontext():
        sampled = source.sample(wanted) if seeds else []
    shape = (len(prompts), samples_per_prompt, max_new_tokens + 1)
    whole_samples = _of_all(sampled, places=mine, shape=shape, ranks=ranks)
    responses = [_until_stop(each, policy=policy, ends=ends) for each in whole_samples]
    lengths = torch.tensor([len(each.token_ids) for each in responses])
    return Rollout(
        prompts=tuple(prompt for prompt in prompts for _ in range(samples_per_prompt)),
        responses=tuple(each.token_ids for each in responses),
        texts=tuple(each.text for each in responses),
        ended=torch.tensor([each.has_ended for each in responses]),
        is_response=torch.arange(int(lengths.max()))[None, :] < lengths[:, None],
    )


@dataclass(frozen=True, kw_only=True)
class _Response:
    """One sampled response up to its end."""

    token_ids: tuple[int, ...]
    text: str
    has_ended: bool


def _until_stop(
    token_ids: tuple[int, ...], *, policy: LoadedModel, ends: frozenset[int]
) -> _Response:
    """Where a chat would end it: at a stop token, or at the token that completes the format's first stop string."""
    decode, stop = policy.tokenizer.decode, policy.dialogue_format.stop_strings
    opening = reply_opening(policy.dialogue_format)
    said = tuple(takewhile(lambda token: token not in ends, token_ids))
    whole = token_ids[: len(said) + 1]  # with its stop token, also where a source drew on
    has_ended = len(said) < len(token_ids)
    if not stop:
        text = decode(list(said)).removeprefix(opening)
        return _Response(token_ids=whole, text=text, has_ended=has_ended)
    stream = TextStream(decode=lambda ids: decode(list(ids)), stop=stop, opening=opening)
    text = ""
    for count, token in enumerate(said, start=1):
        text += stream.push(token)
        if stream.stopped:
            return _Response(token_ids=said[:count], text=text, has_ended=True)
    text += stream.close()
    return _Response(token_ids=whole, text=text, has_ended=has_ended or stream.stopped)


def _of_all(
    sampled: Sequence[Sequence[Sequence[int]]],
    *,
    places: Sequence[int],
    shape: tuple[int, int, int],
    ranks: Ranks,
) -> tuple[tuple[int, ...], ...]:
    """Every rank's responses, in the order of the prompts."""
    tokens = torch.zeros(shape, dtype=torch.long)
    for i, group in zip(places, sampled, strict=True):
        _put(tokens[i], group)
    rows = ranks.sum_tensor(tokens).flatten(0, 1).tolist()
    return tuple(tuple(row[1 : 1 + row[0]]) for row in rows)


def _put(tokens: Tensor, group: Sequence[Sequence[int]]) -> None:
    """Each sample as its length, then its token ids: (samples, longest + 1)."""
    for row, each in zip(tokens, group, strict=True):
        row[0] = len(each)
        row[1 : 1 + len(each)] = torch.tensor(each)


def score_rollout(ranker: LoadedModel, rollout: Rollout, *, ranks: Ranks = ALONE) -> Tensor:
    """The ranker's centred score of each finished dialogue, rendered as in serving from what the policy saw of it: (B,)."""
    threads = threads_for(ranker.model)
    trees = _trees(rollout, range(ranks.rank, rollout.size, ranks.world))
    bins = balanced_bins([tree.tokens for tree in trees], count=threads)
    parts = [[index for tree in own for index in trees[tree].samples] for own in bins if own]

    def read(part: Sequence[int]) -> Tensor:
        return score_dialogues(ranker, [_dialogue(rollout, index) for index in part])

    scores = torch.zeros(rollout.size)
    with whole(ranker.model):
        found = in_threads(read, parts, threads=threads)
    for part, own in zip(parts, found, strict=True):
        scores[part] = own
    return ranks.sum_tensor(scores)


def _dialogue(rollout: Rollout, index: int) -> Dialogue:
    reply = {"role": "assistant", "content": rollout.texts[index]}
    return [*rollout.prompts[index].messages, reply]


@dataclass(frozen=True, kw_only=True)
class _Tree:
    """A prompt and which of the rollout's responses are to it."""

    prompt: tuple[int, ...]
    samples: tuple[int, ...]  # indices into the rollout
    tokens: int


def _trees(rollout: Rollout, samples: Iterable[int]) -> list[_Tree]:
    """One for each prompt, in the order of their first samples."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index in samples:
        groups.setdefault(rollout.prompts[index].token_ids, []).append(index)
    return [
        _Tree(
            prompt=prompt,
            samples=tuple(own),
            tokens=len(prompt) + sum(len(rollout.responses[index]) for index in own),
        )
        for prompt, own in groups.items()
    ]


@dataclass(frozen=True, kw_only=True)
class SampleRow:
    """Some of a rollout's responses behind their prompts, packed for one forward pass."""

    row: PackedRow
    samples: tuple[int, ...]  # indices into the rollout
    tokens: ResponseTokens


def packed_rows(
    rollout: Rollout,
    samples: Sequence[int],
    *,
    micro_tokens: int,
    ranks: Ranks = ALONE,
    multiple: int = 1,
) -> list[SampleRow]:
    """This rank's rows of at most about `micro_tokens`; responses to one prompt share it as one tree."""
    trees = _trees(rollout, samples)
    mine = balanced_bins([tree.tokens for tree in trees], count=ranks.world)[ranks.rank]
    own_lengths = [trees[index].tokens for index in mine]
    return [
        _sample_row(rollout, [trees[mine[index]] for index in row])
        for row in balanced_rows(own_lengths, row_tokens=micro_tokens, multiple=multiple)
    ]


def _sample_row(rollout: Rollout, trees: Sequence[_Tree]) -> SampleRow:
    row, tokens = pack_responses(
        [(tree.prompt, [rollout.responses[index] for index in tree.samples]) for tree in trees]
    )
    samples = tuple(index for tree in trees for index in tree.samples)
    return SampleRow(row=row, samples=samples, tokens=tokens)
