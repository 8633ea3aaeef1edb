"""TRL's preference format as plain texts: a prompt of one message or of a dialogue, or no prompt and the cure."""

import pytest

from comparisons.formats import hh, trl
from comparisons.formats.pairs import LineError, Pair

HI = [{"role": "user", "content": "Hi"}]
DIALOGUE = [*HI, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Tea?"}]
TEXT = hh.render(DIALOGUE)


def plain(prompt, chosen="Yes.", rejected="No."):
    return trl.pair_of({"prompt": prompt, "chosen": chosen, "rejected": rejected})


def test_a_plain_prompt_is_one_human_message_and_every_text_stays_as_it_is():
    pair = plain("The sky is\n", " blue.", " green. ")

    assert pair == Pair(
        messages=[{"role": "user", "content": "The sky is\n"}], picked=" blue.", other=" green. "
    )


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected"),
    [
        (TEXT, "Yes.", "No."),
        (TEXT, "\n\nAssistant: Yes.", "\n\nAssistant: No."),
        (TEXT + "\n\nAssistant:", " Yes.", " No."),
        (TEXT + "\n\nAssistant:", "Yes.", "No."),
        (TEXT + "\n\nAssistant: ", "Yes.", "No."),
        (TEXT, TEXT + "\n\nAssistant: Yes.", TEXT + "\n\nAssistant: No."),
        ("Tea?", TEXT + "\n\nAssistant: Yes.", TEXT + "\n\nAssistant: No."),
    ],
)
def test_a_prompt_that_is_a_transcript_is_read_as_its_dialogue(prompt, chosen, rejected):
    pair = plain(prompt, chosen, rejected)

    assert pair == Pair(messages=DIALOGUE, picked="Yes.", other="No.")


def test_a_reply_that_goes_on_with_turns_is_kept_whole_and_said():
    pair = plain("Hi", "a\n\nHuman: b\n\nAssistant: c", "d")

    assert (pair.messages, pair.is_odd) == (HI, True)
    assert pair.picked == "a\n\nHuman: b\n\nAssistant: c"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, "give the row its `prompt`"),
        ({"prompt": None}, "give the row its `prompt`"),
        ({"prompt": " \n"}, "give the row its `prompt`"),
        ({"chosen": TEXT, "rejected": TEXT}, "with --format hh"),
        ({"prompt": 7}, "prompt is not a text"),
        ({"prompt": HI}, "prompt is not a text"),
        ({"prompt": "Hi", "rejected": []}, "rejected is not a text"),
        ({"prompt": "Hi\x00"}, "prompt holds a NUL"),
        ({"prompt": "Human: Hi\n\nAssistant:"}, "does not begin with"),
        ({"prompt": "\n\nHuman: Hi\n\nAssistant: Well"}, "does not end on a user message"),
    ],
)
def test_plain_texts_that_cannot_be_read_say_why(record, reason):
    with pytest.raises(LineError, match=reason):
        trl.pair_of({"chosen": "Yes.", "rejected": "No.", **record})
