"""The public HH format: read exactly, written exactly, odd transcripts kept whole."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparisons.formats import hh
from comparisons.formats.pairs import LineError, Pair
from comparisons.formats.rich import ComparisonRow

RECORD = {
    "chosen": "\n\nHuman: Hi \n\nAssistant: Hello.\n\nHuman: Tea?\n\nAssistant: Yes,  please.\n",
    "rejected": "\n\nHuman: Hi \n\nAssistant: Hello.\n\nHuman: Tea?\n\nAssistant: No.",
}


def row_of(pair: Pair, *, question: str = "more_helpful") -> ComparisonRow:
    return ComparisonRow(
        comparison="", conversation="", turn=0, messages=pair.messages, picked=pair.picked,
        other=pair.other, question=question, objective="helpful", strength=None, tranche="base",
        origin="imported", picked_checkpoint=None, other_checkpoint=None,
        finish_reasons=["stop", "stop"],
    )  # fmt: skip


def test_a_record_is_read_with_its_white_space():
    pair = hh.pair_of(RECORD)

    assert pair == Pair(
        messages=[
            {"role": "user", "content": "Hi "},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "Tea?"},
        ],
        picked="Yes,  please.\n",
        other="No.",
    )
    assert hh.record_of(row_of(pair)) == RECORD


def test_only_more_harmful_is_written_the_other_way_round():
    pair = hh.pair_of(RECORD)

    flipped = hh.record_of(row_of(pair, question="more_harmful"))

    assert flipped == {"chosen": RECORD["rejected"], "rejected": RECORD["chosen"]}
    assert hh.record_of(row_of(pair, question="less_harmful")) == RECORD


def test_a_dialogue_that_parts_early_is_kept_whole_and_said():
    record = {
        "chosen": "\n\nHuman: DVT?\n\nAssistant: A clot.\n\nHuman: Where?\n\nAssistant: A vein.",
        "rejected": "\n\nHuman: DVT?\n\nAssistant: Deep vein thrombosis.",
    }

    pair = hh.pair_of(record)

    assert pair.is_odd
    assert pair.messages == [{"role": "user", "content": "DVT?"}]
    assert pair.picked == "A clot.\n\nHuman: Where?\n\nAssistant: A vein."
    assert hh.record_of(row_of(pair)) == record


def test_a_role_that_repeats_stays_inside_its_message():
    record = {
        "chosen": "\n\nHuman: a\n\nAssistant: wait\n\nAssistant:  now",
        "rejected": "\n\nHuman: a\n\nAssistant: wait\n\nAssistant: never",
    }

    pair = hh.pair_of(record)

    assert pair.is_odd
    assert [each["role"] for each in pair.messages] == ["user"]
    assert (pair.picked, pair.other) == ("wait\n\nAssistant:  now", "wait\n\nAssistant: never")
    assert hh.record_of(row_of(pair)) == record


def test_an_empty_last_reply_is_a_reply():
    pair = hh.pair_of(
        {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant:"}
    )

    assert (pair.picked, pair.other, pair.has_empty_reply) == ("b", "", True)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, "chosen is not a text"),
        ({"chosen": "x", "rejected": "y"}, "does not begin with"),
        ({"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": 3}, "rejected is not a text"),
        (
            {
                "chosen": "\n\nAssistant: a\n\nHuman: b",
                "rejected": "\n\nAssistant: a\n\nHuman: b",
            },
            "human side",
        ),
        (
            {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: c\n\nAssistant: b"},
            "share no human message",
        ),
        (
            {"chosen": "\n\nHuman: a\x00\n\nAssistant: b", "rejected": ""},
            "NUL",
        ),
        ({"chosen": "\n\nHuman: \ud800\n\nAssistant: b", "rejected": ""}, "surrogate"),
    ],
)
def test_what_cannot_be_read_says_why(record, reason):
    with pytest.raises(LineError, match=reason):
        hh.pair_of(record)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)


@settings(max_examples=150, deadline=None)
@given(first=texts, second=texts, picked=texts, other=texts)
def test_writing_what_was_read_gives_the_same_text(first, second, picked, other):
    messages = [
        {"role": "user", "content": first},
        {"role": "assistant", "content": second},
        {"role": "user", "content": first},
    ]
    record = hh.record_of(row_of(Pair(messages=messages, picked=picked, other=other)))

    again = hh.pair_of(record)

    assert hh.record_of(row_of(again)) == record
