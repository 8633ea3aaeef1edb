"""Saying something: stored once, with two pending responses, within every limit."""

import contextlib
import uuid

import pytest

from comparisons.core.splits import first_message_sha256
from comparisons.models import Assignment, Campaign, Conversation, Crowdworker, Response, Turn
from comparisons.queries.dialogues import messages_of
from comparisons.services import assignment_ends, chat, onboarding, turns
from comparisons.services.drawing import Look, NothingServes
from comparisons.services.wellbeing import DailyLimit, NotOptedIn
from modelserving.models import Deployment, SlotDeployment
from tests.comparisons.making import make_checkpoint
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def test_say_stores_turn_pair_and_showing_together():
    campaign = live_campaign()
    conversation = begun(campaign)

    turn = said(conversation, "Help me", look=Look(layout="stacked", theme="dark"))

    responses = list(turn.responses.all())
    showing = turns.author_showing(turn)
    conversation.refresh_from_db()
    assert [r.state for r in responses] == ["pending", "pending"]
    assert {showing.side_a_id, showing.side_b_id} == {r.pk for r in responses}
    assert responses[0].seed != responses[1].seed
    assert (showing.layout, showing.theme, showing.is_covered) == ("stacked", "dark", False)
    assert showing.instruction_version == campaign.instruction_versions.get()
    assert turn.pairing_rule == "by_traffic"
    assert turn.pair_probability == pytest.approx(0.25)
    assert conversation.first_message_sha256 == first_message_sha256("Help me")


def test_say_rings_once_after_commit(bell, django_capture_on_commit_callbacks):
    conversation = begun(live_campaign())

    with django_capture_on_commit_callbacks(execute=True):
        turn = said(conversation)

    assert bell.rings == [turn.pk]


def test_same_key_is_the_same_turn():
    conversation, key = begun(live_campaign()), uuid.uuid4()

    first = chat.say(conversation, text="Hello", message_key=key)
    again = chat.say(conversation, text="Hello", message_key=key)

    assert first == again
    with pytest.raises(chat.WentOn):
        chat.say(conversation, text="Something else", message_key=key)
    assert (Turn.objects.count(), Response.objects.count()) == (1, 2)


def test_the_same_request_that_lost_the_lock_gets_the_turn_of_the_other(monkeypatch):
    conversation, key = begun(live_campaign()), uuid.uuid4()
    store, turns = chat._store, []

    def store_after_the_other_request(*args, **values):
        turns.append(store(*args, **values))
        return store(*args, **values)

    monkeypatch.setattr(chat, "_store", store_after_the_other_request)
    # the first request's row is kept, the second's is refused as it would be after the lock
    monkeypatch.setattr(chat.transaction, "atomic", contextlib.nullcontext)

    assert chat.say(conversation, text="Hello", message_key=key, after=0) == turns[0]


@pytest.mark.parametrize(
    ("text", "error"),
    [("", chat.EmptyMessage), (" \x00\n ", chat.EmptyMessage), ("x" * 4001, chat.MessageTooLong)],
)
def test_unusable_text_is_refused_and_nothing_stored(text, error):
    conversation = begun(live_campaign())

    with pytest.raises(error):
        said(conversation, text)

    assert not Turn.objects.exists()


def test_text_is_cleaned_for_every_database():
    turn = said(begun(live_campaign()), " a\x00b\r\nc\ud800 ")

    assert turn.message == "ab\nc\N{REPLACEMENT CHARACTER}"


def test_a_turn_must_be_decided_before_the_next():
    conversation = begun(live_campaign())
    turn = answered(said(conversation))

    with pytest.raises(chat.WentOn):
        said(conversation, "And another thing")
    chosen(turn)

    assert said(conversation, "And another thing").index == 1


def test_a_page_that_is_behind_is_told():
    conversation = begun(live_campaign())
    chosen(answered(said(conversation)))

    with pytest.raises(chat.WentOn):
        said(conversation, "From the other tab", after=0)


def test_one_turn_in_flight_per_person_over_all_conversations():
    one, two = live_campaign(), live_campaign(names=("three", "four"))
    person = agreed_person(one)
    onboarding.give_consent(person, two.instruction_versions.get())
    said(begun(one, person))

    with pytest.raises(chat.TurnInFlight):
        said(begun(two, person))


def test_held_back_when_a_side_is_best_of_k():
    campaign = live_campaign()
    ranked = Deployment.objects.create(
        name="ranked", checkpoint=make_checkpoint(), ranker=make_checkpoint(), best_of=4
    )
    SlotDeployment.objects.filter(slot=campaign.slot).update(traffic=0)
    SlotDeployment.objects.create(slot=campaign.slot, deployment=ranked, role="serving", traffic=9)

    assert said(begun(campaign)).is_held_back


def test_no_traffic_stores_nothing():
    campaign = live_campaign()
    conversation = begun(campaign)
    SlotDeployment.objects.filter(slot=campaign.slot).update(traffic=0)

    with pytest.raises(NothingServes):
        said(conversation)

    assert not Turn.objects.exists()


def test_new_instructions_come_before_the_next_message():
    campaign = live_campaign()
    conversation = begun(campaign)
    version = campaign.instruction_versions.create(version=2, summary="", body="", consent="")

    with pytest.raises(onboarding.ConsentNeeded):
        said(conversation)
    onboarding.give_consent(conversation.crowdworker, version)

    assert said(conversation).index == 0


@pytest.mark.parametrize(
    ("kind", "values"),
    [(Campaign, {"state": "paused"}), (Crowdworker, {"standing": "suspended"})],
)
def test_paused_work_takes_no_message(kind, values):
    conversation = begun(live_campaign())
    kind.objects.update(**values)

    with pytest.raises(onboarding.NoWork):
        said(conversation)


def test_dialogue_goes_on_from_the_picked_response_even_the_more_harmful():
    conversation = begun(live_campaign(objective="harmless"))
    chosen(answered(said(conversation, "one"), a="mild", b="worse"), side="B")
    turns.skip_turn(answered(said(conversation, "left out")))

    turn = said(conversation, "two")

    assert messages_of(turn) == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "worse"},
        {"role": "user", "content": "two"},
    ]


def test_red_team_needs_intent_opting_in_and_stays_under_the_cap():
    campaign = live_campaign(objective="harmless", red_team_daily_cap=4)
    person = agreed_person(campaign)
    conversation = chat.start_conversation(onboarding.open_assignment(person, campaign))

    with pytest.raises(chat.ChatRefused, match="what you will try"):
        said(conversation)
    chat.set_intent(conversation, "Something")
    assert turns.author_showing(said(conversation)).is_covered
    turns.skip_turn(Turn.objects.get())
    turns.skip_turn(said(conversation))
    with pytest.raises(DailyLimit):
        said(conversation)
    Crowdworker.objects.update(is_red_team_opted_in=False)
    with pytest.raises(NotOptedIn):
        said(conversation)


def test_intent_is_kept_once_and_only_before_the_first_turn():
    conversation = begun(live_campaign(objective="harmless"))
    said(conversation)

    with pytest.raises(chat.WentOn):
        chat.set_intent(conversation, "Something else")


def test_finishing_the_last_conversation_submits_the_assignment():
    campaign = live_campaign(conversations_per_assignment=2)
    person = agreed_person(campaign)
    for _ in range(2):
        conversation = begun(campaign, person)
        chosen(answered(said(conversation)))
        chat.end_conversation(conversation, rating=3, comment=" Fine. ")

    assignment = Assignment.objects.get()
    assert assignment.state == "submitted"
    assert list(assignment.conversations.values_list("state", "overall_rating", "comment")) == [
        ("finished", 3, "Fine."),
        ("finished", 3, "Fine."),
    ]


def test_a_conversation_cannot_end_with_an_open_choice():
    conversation = begun(live_campaign())
    answered(said(conversation))

    with pytest.raises(chat.WentOn, match="Choose a response first"):
        chat.end_conversation(conversation)

    assert Conversation.objects.get().state == "open"


def test_a_conversation_without_a_choice_is_not_counted_and_leaves_its_place():
    campaign = live_campaign(conversations_per_assignment=1)
    person = agreed_person(campaign)
    nothing_said = begun(campaign, person)
    with pytest.raises(chat.EmptyMessage):
        chat.end_conversation(nothing_said)
    turns.skip_turn(said(nothing_said))

    ended = chat.end_conversation(nothing_said, comment="Nothing here.")
    following = begun(campaign, person)
    chosen(answered(said(following)))
    assert Assignment.objects.get().state == "work"
    chat.end_conversation(following)

    assert (ended.state, ended.comment) == ("abandoned", "Nothing here.")
    assert Assignment.objects.get().state == "submitted"
    assert list(Conversation.objects.order_by("pk").values_list("position", "state")) == [
        (None, "abandoned"),
        (1, "finished"),
    ]


@pytest.mark.parametrize("answers", [{"success": 6}, {"charm": 3}])
def test_end_answers_are_checked(answers):
    conversation = begun(live_campaign(objective="harmless"))

    with pytest.raises(chat.ChatRefused):
        chat.end_conversation(conversation, questionnaire=answers)


def test_a_comment_that_comes_too_late_is_not_called_kept():
    conversation = begun(live_campaign())
    chat.keep_comment(conversation, "In time.")
    assignment_ends.give_back(conversation.assignment)

    with pytest.raises(chat.WentOn, match="could not be added"):
        chat.keep_comment(conversation, "Too late.")
    conversation.refresh_from_db()
    assert conversation.comment == "In time."


def test_the_end_of_a_conversation_that_is_over_is_refused_unless_it_is_the_same_click():
    conversation = begun(live_campaign())
    chosen(answered(said(conversation)))
    sent = {"rating": 3, "comment": " Fine. "}
    chat.end_conversation(conversation, **sent)

    assert chat.end_conversation(conversation, **sent).state == "finished"
    with pytest.raises(chat.WentOn, match="was not kept"):
        chat.end_conversation(conversation, rating=1, comment="Awful.")

    over = begun(live_campaign(names=("x", "y")))
    chosen(answered(said(over)))
    assignment_ends.give_back(over.assignment)
    with pytest.raises(chat.WentOn, match="was not kept"):
        chat.end_conversation(over)
