"""Stop, skip, take back, ask again: every change is legal or refused, and nothing is lost."""

import pytest

from comparisons.models import Assignment, Campaign, Conversation, Response, Turn
from comparisons.services import assignment_ends, chat, onboarding, turns
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def state(turn: Turn) -> str:
    turn.refresh_from_db()
    return turn.state


def test_skip_and_undo_return_to_what_was():
    conversation = begun(live_campaign())
    turn = answered(said(conversation))

    turns.skip_turn(turn)
    turns.skip_turn(turn, reason="upsetting")
    assert (state(turn), turn.skip_reason) == ("skipped", "upsetting")
    turns.unskip_turn(turn)

    assert (state(turn), turn.skip_reason) == ("ready", "")


def test_undone_skip_of_unwritten_responses_rings_again(bell, django_capture_on_commit_callbacks):
    turn = said(begun(live_campaign()))
    turns.skip_turn(turn)

    with django_capture_on_commit_callbacks(execute=True):
        turns.unskip_turn(turn)

    assert (state(turn), bell.rings, turn.is_stop_requested) == ("generating", [turn.pk], False)


def test_a_skip_of_unwritten_responses_waits_for_those_of_another_conversation():
    one, two = live_campaign(), live_campaign(names=("three", "four"))
    person = agreed_person(one)
    onboarding.give_consent(person, two.instruction_versions.get())
    turn = said(begun(one, person))
    turns.skip_turn(turn)
    elsewhere = said(begun(two, person))

    with pytest.raises(chat.TurnInFlight):
        turns.unskip_turn(turn)
    assert state(turn) == "skipped"

    answered(elsewhere)
    turns.unskip_turn(turn)
    assert state(turn) == "generating"


def test_skip_cannot_be_undone_after_the_next_message():
    conversation = begun(live_campaign())
    turn = answered(said(conversation))
    turns.skip_turn(turn)
    said(conversation)

    with pytest.raises(chat.WentOn):
        turns.unskip_turn(turn)


def test_skip_cannot_be_undone_in_an_ended_conversation():
    turn = answered(said(begun(live_campaign())))
    turns.skip_turn(turn)
    Conversation.objects.update(state="abandoned")

    with pytest.raises(chat.WentOn):
        turns.unskip_turn(turn)

    assert state(turn) == "skipped"


def test_a_chosen_turn_cannot_be_skipped():
    turn = answered(said(begun(live_campaign())))
    chosen(turn)

    with pytest.raises(chat.WentOn):
        turns.skip_turn(turn)

    assert state(turn) == "chosen"


def test_stop_asks_only_while_writing_and_never_for_one_held_back():
    turn = said(begun(live_campaign()))

    turns.stop_turn(turn)
    turn.refresh_from_db()
    assert turn.is_stop_requested

    Turn.objects.update(is_stop_requested=False, is_held_back=True)
    turns.stop_turn(turn)
    turn.refresh_from_db()
    assert not turn.is_stop_requested


def test_regenerate_replaces_the_showing_and_keeps_the_old_pair():
    turn = answered(said(begun(live_campaign())))
    before = turns.author_showing(turn)

    turns.regenerate(turn)

    after = turns.author_showing(turn)
    before.refresh_from_db()
    assert before.replaced_at is not None
    assert {after.side_a.state, after.side_b.state} == {"pending"}
    assert turn.responses.count() == 4
    assert (state(turn), turn.regenerations) == ("generating", 1)


def test_regenerate_is_bounded_and_a_campaign_may_forbid_it():
    turn = answered(said(begun(live_campaign())))
    for _ in range(turns.MOST_REGENERATIONS):
        answered(turns.regenerate(turn))
    with pytest.raises(chat.WentOn):
        turns.regenerate(turn)

    campaign = turn.conversation.campaign
    campaign.allows_regenerate = False
    campaign.save(update_fields=["allows_regenerate"])
    with pytest.raises(chat.ChatRefused):
        turns.regenerate(turn)


def test_a_failed_side_is_written_again_twice_and_the_other_kept():
    turn = answered(said(begun(live_campaign())))
    showing = turns.author_showing(turn)
    for _ in range(turns.MOST_TRIES):
        Response.objects.filter(pk=showing.side_b_id).update(state="failed")
        Turn.objects.filter(pk=turn.pk).update(state="failed")
        turns.retry_side(turn, "B")
        assert state(turn) == "generating"
    Response.objects.filter(pk=showing.side_b_id).update(state="failed")

    with pytest.raises(chat.WentOn, match="Skip this turn"):
        turns.retry_side(turn, "B")

    assert Response.objects.get(pk=showing.side_a_id).text == "First."


def failed(turn: Turn) -> Turn:
    """Side B could not be written."""
    showing = turns.author_showing(answered(turn))
    Response.objects.filter(pk=showing.side_b_id).update(state="failed", text="")
    Turn.objects.filter(pk=turn.pk).update(state="failed")
    turn.refresh_from_db()
    return turn


def give_back(turn: Turn) -> None:
    assignment_ends.give_back(turn.conversation.assignment)


def return_alone(turn: Turn) -> None:
    Assignment.objects.update(state="returned")  # as an event left it before


def end_campaign(_turn: Turn) -> None:
    Campaign.objects.update(state="ended")


def write_in_another(turn: Turn) -> None:
    campaign = live_campaign()
    person = turn.conversation.crowdworker
    onboarding.give_consent(person, campaign.instruction_versions.get())
    said(begun(campaign, person))


@pytest.mark.parametrize(
    ("happen", "refused"),
    [
        (give_back, chat.WentOn),
        (return_alone, chat.WentOn),
        (end_campaign, onboarding.NoWork),
        (write_in_another, chat.TurnInFlight),
        (turns.skip_turn, chat.WentOn),
    ],
)
def test_a_failed_side_is_not_written_again_where_nothing_may_be_written(happen, refused):
    turn = failed(said(begun(live_campaign())))
    happen(turn)
    before = list(Response.objects.order_by("pk").values_list("state", "tries"))

    with pytest.raises(refused):
        turns.retry_side(turn, "B")

    assert list(Response.objects.order_by("pk").values_list("state", "tries")) == before


def test_a_failed_side_is_written_again_at_the_daily_cap():
    turn = failed(said(begun(live_campaign(objective="harmless", red_team_daily_cap=2))))

    turns.retry_side(turn, "B")

    assert state(turn) == "generating"
