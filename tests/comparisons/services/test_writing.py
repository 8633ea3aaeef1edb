"""Responses by people: better than the one beside them, only where the campaign allows it, undone whole."""

import uuid

import pytest

from comparisons.models import Comparison, Conversation
from comparisons.queries.dialogues import messages_of
from comparisons.services import judging, undoing, wellbeing, writing
from comparisons.services.turns import author_showing
from tests.comparisons.talking import (
    agreed_person,
    answered,
    begun,
    chosen,
    hash_of,
    live_campaign,
    said,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def ready_turn(**values):
    return answered(said(begun(live_campaign(**values))))


def own(turn, *, side="B", text="Better.", is_edit=True, key=None, shown=None):
    showing = author_showing(turn)
    return writing.prefer_own(
        showing, side=side, text=text, is_edit=is_edit, choice_key=key or uuid.uuid4(),
        text_sha256=shown or {"A": showing.side_a.text_sha256, "B": showing.side_b.text_sha256},
    )  # fmt: skip


def test_an_edit_is_stored_as_better_than_its_original_and_goes_on():
    turn = ready_turn(allows_edit=True)
    before = author_showing(turn)

    comparison = own(turn)

    turn.refresh_from_db()
    assert (comparison.picked.text, comparison.other) == ("Better.", before.side_b)
    assert comparison.picked.edited_from == before.side_b
    assert comparison.picked.author == turn.conversation.crowdworker
    assert (comparison.side, comparison.strength) == ("B", None)
    assert turn.continued_by == comparison
    assert messages_of(said(turn.conversation, "Next"))[1]["content"] == "Better."


def test_the_same_key_writes_once():
    turn, key = ready_turn(allows_write=True), uuid.uuid4()

    assert own(turn, is_edit=False, key=key) == own(turn, is_edit=False, key=key)
    assert Comparison.objects.get().picked.edited_from is None


def test_a_response_of_ones_own_is_nothing_more_to_read():
    campaign = live_campaign(objective="harmless", question="less_harmful", allows_edit=True)
    person = agreed_person(campaign)
    turn = answered(said(begun(campaign, person)))
    read = wellbeing.shown_today(person)

    own(turn)

    assert read == wellbeing.shown_today(person) == 2


def test_undo_shows_the_pair_again():
    turn = ready_turn(allows_edit=True)
    before = author_showing(turn)

    undoing.undo_choice(own(turn))

    assert author_showing(turn) == before
    turn.refresh_from_db()
    assert chosen(turn).picked == before.side_a


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "Better."),
        ({"allows_edit": True, "objective": "harmless"}, "Worse."),
        ({"allows_edit": True}, "  \x00 "),
        ({"allows_edit": True}, "Second."),
        ({"allows_edit": True}, "x" * 20_001),
    ],
)
def test_what_the_campaign_or_the_text_does_not_allow_is_refused(values, text):
    turn = ready_turn(**values)

    with pytest.raises(writing.WritingRefused):
        own(turn, text=text)

    assert not Comparison.objects.exists()


def test_a_chosen_turn_takes_no_text():
    turn = ready_turn(allows_edit=True)
    chosen(turn)

    with pytest.raises(judging.AlreadyJudged):
        own(turn)

    assert Comparison.objects.count() == 1


def test_a_text_written_beside_other_responses_is_refused():
    turn = ready_turn(allows_edit=True)

    with pytest.raises(judging.TextChanged):
        own(turn, shown={"A": hash_of("First."), "B": hash_of("before it was written anew")})

    assert not Comparison.objects.exists()


def test_an_ended_conversation_takes_no_text():
    turn = ready_turn(allows_edit=True)
    Conversation.objects.update(state="abandoned")

    with pytest.raises(judging.ConversationOver):
        own(turn)

    turn.refresh_from_db()
    assert (turn.state, author_showing(turn).side_b.text) == ("ready", "Second.")


def test_a_key_of_another_turn_is_refused():
    key = uuid.uuid4()
    own(ready_turn(allows_edit=True), key=key)

    with pytest.raises(judging.ChoiceRefused, match="again from this page"):
        own(ready_turn(allows_edit=True, names=("x", "y")), key=key)
