"""The rich row and TRL's format: everything trained on comes back; what is wrong says so."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparisons.formats import hh, rich, trl
from comparisons.formats.pairs import LineError
from comparisons.formats.rich import ComparisonRow

RECORD = {
    "comparison": "2f1b6f7e-1111-4222-8333-444455556666",
    "conversation": "2f1b6f7e-1111-4222-8333-444455556667",
    "turn": 1,
    "messages": [{"role": "user", "content": "Hi"}],
    "picked": "worse",
    "other": "better",
    "question": "more_harmful",
    "objective": "harmless",
    "strength": 3,
    "tranche": "online",
    "origin": "crowd",
    "picked_checkpoint": None,
    "other_checkpoint": None,
    "finish_reasons": ["stop", "length"],
}


def test_a_rich_row_is_read_unflipped():
    pair = rich.pair_of(RECORD)

    assert (pair.picked, pair.other, pair.question) == ("worse", "better", "more_harmful")
    assert (pair.strength, pair.tranche, pair.objective) == (3, "online", "harmless")
    assert pair.finish_reasons == ("stop", "length")
    assert pair.comparison == RECORD["comparison"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"objective": "honest"}, "neither"),
        ({"question": "more_helpful"}, "does not fit"),
        ({"strength": 5}, "strength"),
        ({"strength": True}, "strength"),
        ({"tranche": "x"}, "tranche"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, "no role"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "end on a user"),
        ({"finish_reasons": ["stop"]}, "finish_reasons"),
        ({"finish_reasons": ["stop", "burst"]}, "burst"),
        ({"comparison": "7"}, "UUID"),
    ],
)
def test_a_wrong_rich_row_says_why(change, reason):
    with pytest.raises(LineError, match=reason):
        rich.pair_of({**RECORD, **change})


MESSAGES = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "x"}]
FORMATS = [
    (rich.pair_of, RECORD),
    (trl.pair_of, {"prompt": "\n\nHuman: Hi", "chosen": "x", "rejected": "y"}),
    (trl.pair_of, {"prompt": "Hi", "chosen": MESSAGES, "rejected": MESSAGES}),
    (trl.pair_of, {"prompt": MESSAGES[:1], "chosen": MESSAGES[1:], "rejected": MESSAGES[1:]}),
    (hh.pair_of, dict.fromkeys(("chosen", "rejected"), "\n\nHuman: Hi\n\nAssistant: x")),
]
OF_OTHER_KINDS = (
    [], {}, [[]], [None], {"a": []}, None, True, False, 0, 7, -1, 1e9, float("nan"), "",
)  # fmt: skip


def _with_each_value_replaced(value, other):
    """The value with one thing in it replaced, once for each thing, at every depth."""
    yield other
    if isinstance(value, dict):
        for key in value:
            for changed in _with_each_value_replaced(value[key], other):
                yield {**value, key: changed}
    if isinstance(value, list):
        for i, each in enumerate(value):
            for changed in _with_each_value_replaced(each, other):
                yield [*value[:i], changed, *value[i + 1 :]]


@pytest.mark.parametrize(("pair_of", "record"), FORMATS)
def test_a_value_of_any_kind_in_any_field_is_read_or_refused(pair_of, record):
    changed = [
        each
        for other in OF_OTHER_KINDS
        for each in _with_each_value_replaced(record, other)
        if isinstance(each, dict)
    ]
    refused = []

    for each in changed:
        try:
            pair_of(each)
        except LineError as refusal:
            refused.append(str(refusal))

    assert len(refused) > len(OF_OTHER_KINDS)
    assert max(len(reason) for reason in refused) < 300


def test_trl_writes_training_order_and_reads_both_shapes():
    record = trl.record_of(ComparisonRow(**RECORD))

    assert record == {
        "prompt": [{"role": "user", "content": "Hi"}],
        "chosen": [{"role": "assistant", "content": "better"}],
        "rejected": [{"role": "assistant", "content": "worse"}],
    }
    joined = {
        "chosen": record["prompt"] + record["chosen"],
        "rejected": record["prompt"] + record["rejected"],
    }
    assert trl.pair_of(record) == trl.pair_of(joined)
    assert trl.pair_of(record).picked == "better"


def test_trl_refuses_sides_that_answer_different_messages():
    with pytest.raises(LineError, match="same messages"):
        trl.pair_of(
            {
                "chosen": [
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": "x"},
                ],
                "rejected": [
                    {"role": "user", "content": "b"},
                    {"role": "assistant", "content": "x"},
                ],
            }
        )


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)


@settings(max_examples=100, deadline=None)
@given(message=texts, picked=texts, other=texts, strength=st.sampled_from([None, 1, 2, 3, 4]))
def test_rich_and_trl_round_trip_any_text(message, picked, other, strength):
    row = ComparisonRow(
        **{
            **RECORD,
            "messages": [{"role": "user", "content": message}],
            "picked": picked,
            "other": other,
            "strength": strength,
        }
    )

    read = rich.pair_of(row.to_dict())

    assert (read.messages, read.picked, read.other) == (row.messages, picked, other)
    assert read.strength == strength
    assert trl.pair_of(trl.record_of(row)).picked == other
