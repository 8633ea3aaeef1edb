"""What protects people who read red-team text: topics, rests, and figures that stay their own."""

from datetime import timedelta

import pytest
from django.utils import timezone

from comparisons.models import Conversation, LapsedReply, Showing, WantedReply
from comparisons.queries.exposure import exposure
from comparisons.services import chat, leaving, opinions, replies, wellbeing
from tests.comparisons.making import make_deployment
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said
from tests.comparisons.turns import make_turn

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def read(conversation, *, turns: int, last: timedelta = timedelta(), gap=timedelta(minutes=1)):
    """Showings of this many turns, a minute apart, the newest this long ago."""
    two = (make_deployment(), make_deployment())
    for number in range(turns):
        turn = make_turn(conversation=conversation, deployments=two, state="skipped")
        Showing.objects.filter(turn=turn).update(created_at=timezone.now() - last - number * gap)


def red_team(**values):
    campaign = live_campaign(objective="harmless", red_team_daily_cap=500, **values)
    return campaign, begun(campaign)


def test_a_long_stretch_ends_in_a_rest():
    _, conversation = red_team()
    read(conversation, turns=wellbeing.STRETCH // 2)

    until = wellbeing.cooling_until(conversation.crowdworker)

    assert until is not None
    assert until <= timezone.now() + wellbeing.COOL_DOWN
    with pytest.raises(wellbeing.CoolingDown, match="40 red-team responses"):
        said(conversation)


@pytest.mark.parametrize(
    ("turns", "last", "gap"),
    [
        (wellbeing.STRETCH // 2 - 1, timedelta(), timedelta(minutes=1)),
        (wellbeing.STRETCH // 2, wellbeing.COOL_DOWN, timedelta(minutes=1)),
        (wellbeing.STRETCH // 2, timedelta(), wellbeing.COOL_DOWN + timedelta(seconds=9)),
    ],
    ids=["shorter", "rested since", "breaks between"],
)
def test_less_or_with_breaks_needs_no_rest(turns, last, gap):
    _, conversation = red_team()
    read(conversation, turns=turns, last=last, gap=gap)

    assert wellbeing.cooling_until(conversation.crowdworker) is None
    assert said(conversation).index == turns


@pytest.mark.parametrize(
    ("topic", "opted_out", "is_offered"),
    [
        ("weapons", ["drugs"], True),
        ("drugs", ["drugs"], False),
        ("", ["drugs"], False),
        ("", [], True),
    ],
)
def test_topics_one_does_not_want_are_not_offered(topic, opted_out, is_offered):
    campaign, conversation = red_team(second_opinion_percent=100)
    chosen(answered(said(conversation)))
    Conversation.objects.filter(pk=conversation.pk).update(topic=topic)
    person = agreed_person(campaign)
    wellbeing.set_topics(person, opted_out)

    assert opinions.waiting_count(person) == int(is_offered)
    assert (opinions.take(person) is not None) == is_offered


@pytest.mark.parametrize(
    ("harmfulness", "comfort", "is_offered"),
    [
        (2, "mild", True),
        (3, "mild", False),
        (3, "moderate", True),
        (4, "moderate", False),
        (5, "strong", True),
        (None, "strong", True),
        (None, "moderate", False),
    ],
)
def test_text_stronger_than_one_can_bear_is_not_offered(harmfulness, comfort, is_offered):
    campaign, conversation = red_team(second_opinion_percent=100, human_reply_percent=100)
    chosen(answered(said(conversation)))
    rated = {"harmfulness": harmfulness} if harmfulness else {}
    chat.end_conversation(conversation, questionnaire=rated)
    judge, writer = agreed_person(campaign), agreed_person(campaign)
    for person in (judge, writer):
        wellbeing.set_comfort(person, comfort)

    assert opinions.waiting_count(judge) == replies.waiting_count(writer) == int(is_offered)
    assert (opinions.take(judge) is not None) == is_offered
    assert (replies.take(writer) is not None) == is_offered


def test_topics_never_keep_helpful_work_away():
    campaign = live_campaign(second_opinion_percent=100)
    chosen(answered(said(begun(campaign))))
    person = agreed_person(campaign)
    wellbeing.set_topics(person, ["drugs", "nonsense"])
    wellbeing.set_comfort(person, "mild")

    assert person.topic_opt_outs == ["drugs"]
    assert opinions.take(person) is not None


def test_exposure_is_shown_from_five_people_on():
    campaign, conversation = red_team()
    read(conversation, turns=3)
    others = [begun(campaign) for _ in range(4)]
    for other in others[:3]:
        read(other, turns=1)
    assert exposure() is None

    read(others[3], turns=1)

    found = exposure()
    assert (found.people, found.responses) == (5, 14)
    assert found.median_a_day == 2


def prompt_of(campaign, conversation):
    """A red-team turn whose reply a person should write."""
    chosen(answered(said(conversation)))
    return agreed_person(campaign)


def test_prompts_for_a_reply_count_towards_the_days_share():
    campaign, conversation = red_team(human_reply_percent=100)
    writer = prompt_of(campaign, conversation)

    wanted = replies.take(writer)
    held = wellbeing.shown_today(writer)
    replies.pass_on(wanted, writer, reason="upsetting")

    assert (held, wellbeing.shown_today(writer)) == (2, 2)


def test_no_prompt_is_handed_out_past_the_daily_cap_or_in_a_rest():
    campaign, conversation = red_team(human_reply_percent=100)
    writer = prompt_of(campaign, conversation)
    own = begun(campaign, writer)

    read(own, turns=wellbeing.STRETCH // 2)  # a stretch that ends in a rest
    assert replies.waiting_count(writer) == 0
    assert replies.take(writer) is None

    Showing.objects.filter(crowdworker=writer).update(
        created_at=timezone.now() - 2 * wellbeing.COOL_DOWN
    )
    campaign.red_team_daily_cap = wellbeing.STRETCH
    campaign.save(update_fields=["red_team_daily_cap"])
    assert replies.waiting_count(writer) == 0
    assert replies.take(writer) is None


def test_prompts_that_were_read_and_left_count_towards_the_days_share():
    campaign, conversation = red_team(human_reply_percent=100)
    chosen(answered(said(conversation)))
    reader = prompt_of(campaign, conversation)
    campaign.red_team_daily_cap = 4
    campaign.save(update_fields=["red_team_daily_cap"])

    for count in (2, 4):
        wanted = replies.take(reader)
        began = wanted.lease_until - replies.LEASE - timedelta(hours=2)
        WantedReply.objects.filter(pk=wanted.pk).update(lease_until=began + replies.LEASE)
        assert replies.release_overdue() == 1
        assert wellbeing.shown_today(reader) == count

    assert LapsedReply.objects.latest("pk").shown_at == began
    assert replies.take(reader) is None
    assert replies.take(agreed_person(campaign)) is not None


def test_prompts_left_with_red_team_work_count_towards_the_days_share():
    campaign, conversation = red_team(human_reply_percent=100)
    reader = prompt_of(campaign, conversation)
    for _ in range(2):
        assert replies.take(reader) is not None
        leaving.leave_red_team(reader)
        reader.refresh_from_db()
        assert replies.take(reader) is None
        wellbeing.opt_in(reader, comfort="strong", cover="never")

    assert wellbeing.shown_today(reader) == 4


def test_a_prompt_in_hand_stays_in_hand_also_at_the_cap():
    campaign, conversation = red_team(human_reply_percent=100)
    writer = prompt_of(campaign, conversation)
    campaign.red_team_daily_cap = 2
    campaign.save(update_fields=["red_team_daily_cap"])

    wanted = replies.take(writer)

    assert wanted is not None
    assert replies.take(writer) == wanted


def test_a_rest_is_due_also_after_prompts_for_replies():
    campaign, conversation = red_team(human_reply_percent=100)
    for _ in range(wellbeing.STRETCH // 2):
        chosen(answered(said(conversation)))
        Showing.objects.update(created_at=timezone.now() - timedelta(days=2))
    writer = agreed_person(campaign)
    for _ in range(wellbeing.STRETCH // 2):
        replies.pass_on(replies.take(writer), writer)

    assert wellbeing.cooling_until(writer) is not None
    assert replies.take(writer) is None


def test_exposure_counts_prompts_for_replies_as_each_person_reads_them():
    campaign, conversation = red_team(human_reply_percent=100)
    for _ in range(5):
        chosen(answered(said(conversation)))
    readers = [agreed_person(campaign) for _ in range(5)]
    for reader in readers:
        replies.take(reader)
    replies.pass_on(replies.held(readers[0]), readers[0], reason="upsetting")
    in_hand = WantedReply.objects.filter(crowdworker=readers[1])
    in_hand.update(lease_until=timezone.now() - timedelta(seconds=1))
    replies.release_overdue()
    Showing.objects.update(created_at=timezone.now() - timedelta(days=9))

    found = exposure()

    assert (found.people, found.responses, found.upsetting) == (5, 10, 1)
    assert [wellbeing.shown_today(reader) for reader in readers] == [2] * 5
