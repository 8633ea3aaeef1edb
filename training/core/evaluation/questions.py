"""The suite of multiple-choice questions: how often a checkpoint finds the right reply best (Bai et al. 2022, §4.6, figs. 5, 10).

It does not know where questions come from.

A preference model picks the reply of the highest score. A language model picks the likeliest: by the whole reply's
log-probability, as TruthfulQA's MC1 does, and by its mean per token, which does not favour short replies.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modelserving.core.dialogue import EncodedReplies, encode_replies
from modelserving.lm.loading import LoadedModel, load_preference_model
from modelserving.lm.policy import packed_logprobs
from modelserving.lm.preference_model import score_token_sequences
from training.config import EvaluationConfig
from training.core.batching import balanced_rows
from training.core.distributed import Ranks
from training.core.evaluation.intervals import share
from training.core.evaluation.policies import ROW_TOKENS, load_policy
from training.core.outcome import NonFinite
from training.core.preference_sets import stable_order
from training.core.questions import MultipleChoice, read_published
from training.core.run_directory import RunDirectory
from training.core.seeding import prepare
from training.core.sharding import loading, shard, whole

HISTOGRAM_BINS = 40


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What a checkpoint says of the replies to one question."""

    category: str
    answer: int
    values: Sequence[float]  # one per reply; the highest is picked

    @property
    def correct(self) -> float:
        """1 where the right reply alone is highest; shared where others tie with it."""
        highest = max(self.values)
        if self.values[self.answer] < highest:
            return 0.0
        return 1 / sum(value == highest for value in self.values)

    @property
    def margin(self) -> float:
        """The right reply's value − the best other's."""
        others = [value for index, value in enumerate(self.values) if index != self.answer]
        return self.values[self.answer] - max(others)


def preferred_answers(run: RunDirectory, config: EvaluationConfig) -> dict[str, Any]:
    """How often a preference model scores the right reply highest, by category, and by how much."""
    prepare(config)
    how = loading(config, ranks=run.ranks, is_trained=False)
    model = load_preference_model(run.inputs("initial"), **how)
    shard(model.model, config=config, ranks=run.ranks)
    questions = chosen_questions(run, most=config.max_examples)
    replies = _encoded(questions, model)
    with whole(model.model):
        scores = _in_rows(replies, read=_scores_of(model.model), columns=1, ranks=run.ranks)
    answered = _answered(questions, scores[:, 0])
    margins = histogram([each.margin for each in answered])
    return {**summary(answered), "margins": margins, "cut": _cut(replies)}


def likeliest_answers(run: RunDirectory, config: EvaluationConfig) -> dict[str, Any]:
    """How often a language model finds the right reply likeliest, by category: the headline by the whole reply."""
    policy = load_policy(run, config)
    questions = chosen_questions(run, most=config.max_examples)
    replies = _encoded(questions, policy)
    with whole(policy.model):
        found = _in_rows(replies, read=_logprobs_of(policy.model), columns=2, ranks=run.ranks)
    return {
        **summary(_answered(questions, found[:, 0])),
        "per_token": summary(_answered(questions, found[:, 1])),
        "cut": _cut(replies),
    }


def chosen_questions(run: RunDirectory, *, most: int) -> list[MultipleChoice]:
    """Up to `most` questions of the run's set, in an order fixed by hash."""
    found = read_published(run.inputs("questions"))
    return sorted(found, key=lambda each: stable_order(f"{each.messages}{each.choices}"))[:most]


def summary(answered: Sequence[Answered]) -> dict[str, Any]:
    """Share of right picks, of all and by category, and what a guess would get."""
    parts: dict[str, list[float]] = {}
    for each in answered:
        parts.setdefault(each.category, []).append(each.correct)
    return {
        "headline": share([each.correct for each in answered]),
        "chance": sum(1 / len(each.values) for each in answered) / len(answered),
        "by_category": {name: share(parts[name]) for name in sorted(parts)},
    }


def histogram(margins: Sequence[float]) -> dict[str, Any]:
    """Counts of margins over equal bins; one of their edges is 0."""
    low, high = min(*margins, 0.0), max(*margins, 0.0)
    width = (high - low) / (HISTOGRAM_BINS - 1) or 1.0
    low = width * (low // width)  # 0 is an edge, so that right and wrong share no bin
    counts = [0] * HISTOGRAM_BINS
    for margin in margins:
        counts[min(int((margin - low) / width), HISTOGRAM_BINS - 1)] += 1
    return {"low": low, "high": low + width * HISTOGRAM_BINS, "counts": counts}


def _encoded(questions: Sequence[MultipleChoice], model: LoadedModel) -> list[EncodedReplies]:
    return [
        encode_replies(
            each.messages, each.choices, encoder=model.tokenizer, layout=model.dialogue_format
        )
        for each in questions
    ]


def _cut(replies: Sequence[EncodedReplies]) -> int:
    return sum(each.is_cut for each in replies)


def _answered(questions: Sequence[MultipleChoice], values: Tensor) -> list[Answered]:
    """The questions with their replies' values, which lie one after another in (N,)."""
    split = values.split([len(each.choices) for each in questions])
    return [
        Answered(category=question.category, answer=question.answer, values=part.tolist())
        for question, part in zip(questions, split, strict=True)
    ]


@torch.no_grad()
def _in_rows(
    replies: Sequence[EncodedReplies],
    *,
    read: Callable[[Sequence[EncodedReplies]], Tensor],
    columns: int,
    ranks: Ranks,
) -> Tensor:
    """What `read` says of all N replies, (N, columns), each rank reading its rows; refuses what is no number."""
    sizes = [len(each.dialogues) for each in replies]
    places = torch.arange(sum(sizes)).split(sizes)
    found = torch.zeros(sum(sizes), columns, dtype=torch.float64)
    lengths = [sum(map(len, each.dialogues)) for each in replies]
    for row in balanced_rows(lengths, row_tokens=ROW_TOKENS)[ranks.rank :: ranks.world]:
        found[torch.cat([places[i] for i in row])] = read([replies[i] for i in row])
    found = ranks.sum_tensor(found)
    if not found.isfinite().all():
        raise NonFinite("a value of a reply", step=0)
    return found


def _scores_of(model: nn.Module) -> Callable[[Sequence[EncodedReplies]], Tensor]:
    def read(row: Sequence[EncodedReplies]) -> Tensor:
        """Raw scores: (N, 1)."""
        keys = [index for index, each in enumerate(row) for _ in each.dialogues]
        dialogues = [dialogue for each in row for dialogue in each.dialogues]
        return score_token_sequences(model, dialogues, keys=keys).double()[:, None]

    return read


def _logprobs_of(model: nn.Module) -> Callable[[Sequence[EncodedReplies]], Tensor]:
    def read(row: Sequence[EncodedReplies]) -> Tensor:
        """Log-probability of each reply with its end of turn: its sum, and its mean per token: (N, 2)."""
        trees = []
        for each in row:
            start = len(each.prompt.token_ids)
            trees.append((each.prompt.token_ids, [path[start:-1] for path in each.dialogues]))
        said = packed_logprobs(model, trees, temperature=1.0).logprobs.cpu().double()
        parts = said.split([len(reply) for _, replies in trees for reply in replies])
        return torch.stack([torch.stack([part.sum(), part.mean()]) for part in parts])

    return read
