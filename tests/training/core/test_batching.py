"""Encoding, shuffling and balancing of comparisons."""

import random

import pytest

from modelserving.core.dialogue import DialogueFormat, encode_scored
from tests.tiny_checkpoints import tiny_tokenizer
from tests.training.core.tiny_release import row
from training.core.batching import (
    EncodedComparison,
    balanced_rows,
    encode_comparison,
    group_conversations,
    in_half,
    plan_steps,
)
from training.core.data import ReleaseRow


def encoded(context_tokens: int = 128, **changes) -> EncodedComparison:
    layout = DialogueFormat(context_tokens=context_tokens)
    return encode_comparison(
        ReleaseRow(**row(0, **changes)), encoder=tiny_tokenizer(), layout=layout
    )


def test_both_sides_end_on_the_score_token_and_share_their_prompt():
    comparison = encoded()

    score = tiny_tokenizer().token_id("<|score|>")
    assert comparison.chosen[-1] == comparison.rejected[-1] == score
    reply = comparison.chosen.index(tiny_tokenizer().token_id("<|assistant|>"))
    assert comparison.chosen[: reply + 1] == comparison.rejected[: reply + 1]


def test_only_more_harmful_flips_what_training_prefers():
    picked = encoded(question="less_harmful")
    flipped = encoded(question="more_harmful")

    assert (picked.chosen, picked.rejected) == (flipped.rejected, flipped.chosen)


def test_too_long_dialogues_lose_the_same_exchanges_on_both_sides():
    messages = [
        {"role": "user", "content": "one " * 20},
        {"role": "assistant", "content": "two " * 20},
        {"role": "user", "content": "three"},
    ]

    comparison = encoded(64, messages=messages, picked="a", other="b " * 12)

    assert comparison.dropped_messages == 2
    assert max(len(comparison.chosen), len(comparison.rejected)) <= 64
    assert tiny_tokenizer().decode(comparison.chosen).startswith("three")
    assert tiny_tokenizer().decode(comparison.rejected).startswith("three")


def test_a_long_response_to_a_short_prompt_is_not_cut():
    text = "I am well, thank you. " * 3
    whole = encoded(256, picked=text)

    comparison = encoded(len(whole.chosen), picked=text)

    assert comparison == whole
    assert not comparison.is_cut
    assert encoded(len(whole.chosen) - 1, picked=text).is_cut


@pytest.mark.parametrize("words", [1, 5, 12, 15, 16])
def test_a_dialogue_that_fits_is_trained_on_as_serving_reads_it(words: int):
    layout, tokenizer = DialogueFormat(context_tokens=64), tiny_tokenizer()
    changes = {"picked": "today " * words, "other": "Hello"}
    comparison = encoded(64, **changes)
    stored = ReleaseRow(**row(0, **changes))

    served = [
        encode_scored(
            [*stored.messages, {"role": "assistant", "content": text}],
            encoder=tokenizer,
            layout=layout,
        )
        for text in (stored.chosen, stored.rejected)
    ]

    assert not comparison.is_cut
    assert [each.token_ids for each in served] == [
        list(comparison.chosen),
        list(comparison.rejected),
    ]


def test_halves_are_disjoint_and_complete():
    names = [f"conversation-{index}" for index in range(200)]

    first = {name for name in names if in_half(name, "first")}
    second = {name for name in names if in_half(name, "second")}

    assert first | second == set(names)
    assert not first & second
    assert 60 < len(first) < 140


def test_a_plan_reads_everything_once_per_epoch_and_depends_on_the_seed_alone():
    groups = [[index * 3 + turn for turn in range(1 + index % 3)] for index in range(30)]
    everything = sorted(each for group in groups for each in group)

    plan = plan_steps(groups, batch_size=8, epochs=2, seed=1)

    read = [each for step in plan for group in step for each in group]
    assert sorted(read) == sorted(everything * 2)
    assert all(sum(map(len, step)) <= 8 for step in plan)
    assert plan == plan_steps(groups, batch_size=8, epochs=2, seed=1)
    assert plan != plan_steps(groups, batch_size=8, epochs=2, seed=2)


def test_a_conversation_is_one_group_in_the_order_of_its_turns():
    comparisons = [encoded(conversation="a", turn=turn) for turn in (3, 1, 2)]
    comparisons.append(encoded(conversation="b"))

    assert group_conversations(comparisons) == [[1, 2, 0], [3]]


@pytest.mark.parametrize("row_tokens", [100, 1000])
def test_rows_are_complete_and_balanced(row_tokens: int):
    rng = random.Random(0)
    lengths = [rng.randint(1, 50) for _ in range(64)]

    rows = balanced_rows(lengths, row_tokens=row_tokens)

    assert sorted(index for one in rows for index in one) == list(range(64))
    filled = [sum(lengths[index] for index in one) for one in rows]
    assert max(filled) - min(filled) <= 50
