"""TRL's preference format with texts in it: plain prompts and replies, a prompt beside messages, the cure of others."""

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


def said(*contents, first="user"):
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    return [{"content": each, "role": roles[i % 2]} for i, each in enumerate(contents)]


BINARIZED = {  # a row as ultrafeedback_binarized has them
    "prompt": "how can i develop a habit of drawing daily",
    "prompt_id": "086b3e24f29b8956a01059f79c56db35d118a06fb6b844b095737d042795cd43",
    "chosen": said("how can i develop a habit of drawing daily", "Start small:\n\n1. Draw."),
    "rejected": said("how can i develop a habit of drawing daily", "As an AI, I don't."),
    "messages": said("how can i develop a habit of drawing daily", "Start small:\n\n1. Draw."),
    "score_chosen": 8.5,
    "score_rejected": 7.0,
}


@pytest.mark.parametrize("space", ["", "\n", " \n "])
def test_a_text_beside_whole_dialogues_adds_nothing_to_them(space):
    pair = trl.pair_of({**BINARIZED, "prompt": BINARIZED["prompt"] + space})

    assert pair == Pair(
        messages=[{"role": "user", "content": "how can i develop a habit of drawing daily"}],
        picked="Start small:\n\n1. Draw.",
        other="As an AI, I don't.",
    )


def test_messages_that_stand_in_prompt_and_at_the_head_of_a_side_are_read_once():
    prompt = [{"role": "user", "content": "Hello"}]
    whole, apart = said("Hello", "Hi."), said("Hello", "No.")[1:]

    for sides in (
        {"chosen": whole, "rejected": apart},
        {"chosen": whole, "rejected": prompt + apart},
    ):
        assert trl.pair_of({"prompt": prompt, **sides}) == Pair(
            messages=prompt, picked="Hi.", other="No."
        )


def test_a_text_beside_dialogues_of_several_turns_is_their_first_message():
    pair = plain("Hi", said("Hi", "Hello.", "Tea?", "Yes."), said("Hi", "Hello.", "Tea?", "No."))

    assert pair == Pair(messages=DIALOGUE, picked="Yes.", other="No.")


@pytest.mark.parametrize(
    ("prompt", "messages"),
    [("Hi", HI), ("Hi\n", said("Hi\n")), (TEXT, DIALOGUE), (TEXT + "\n\nAssistant:", DIALOGUE)],
)
def test_a_text_before_messages_of_an_assistant_alone_is_what_they_answer(prompt, messages):
    pair = plain(prompt, said("Yes.", first="assistant"), said("No.", first="assistant"))

    assert pair == Pair(messages=messages, picked="Yes.", other="No.")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"prompt": "how can I"}, "of chosen differ from character 9 on: .* leave `prompt` out"),
        ({"prompt": "how"}, "of chosen differ from character 4 on"),
        ({"rejected": said("how", "No.")}, "of rejected differ from character 4 on"),
        ({"prompt": ""}, "of chosen differ from character 1 on"),
        ({"prompt": " ", "chosen": said("x", first="assistant")}, "prompt is empty and chosen"),
        ({"prompt": "Hi\x00"}, "prompt holds a NUL"),
        ({"prompt": 7}, "prompt is not a list"),
        ({"chosen": [{"role": "system", "content": "x"}]}, "into the first user message"),
    ],
)
def test_a_text_beside_messages_that_it_does_not_fit_says_the_cure(record, reason):
    with pytest.raises(LineError, match=reason):
        trl.pair_of({**BINARIZED, **record})
