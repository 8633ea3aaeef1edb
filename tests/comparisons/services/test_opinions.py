"""Second opinions: each item to one person at a time, never to its author, blind and re-randomised."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from comparisons.models import Comparison, Flag, Showing
from comparisons.services import judging, onboarding, opinions, undoing, wellbeing, withdrawal
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


def judged_turn(campaign, person=None):
    turn = answered(said(begun(campaign, person)))
    chosen(turn)
    return turn


def judge(showing, **values):
    texts = {"A": showing.side_a.text_sha256, "B": showing.side_b.text_sha256}
    return judging.record_choice(
        showing, side="A", strength=2, choice_key=uuid.uuid4(), text_sha256=texts, **values
    )


def test_every_turn_or_none_is_offered_by_the_campaigns_share():
    judged_turn(live_campaign(second_opinion_percent=0))
    assert not Showing.objects.filter(purpose="second_opinion").exists()

    judged_turn(live_campaign(second_opinion_percent=100, names=("x", "y")))
    assert Showing.objects.filter(purpose="second_opinion").count() == 1


def test_an_item_goes_to_one_other_person_and_never_to_the_author():
    campaign = live_campaign(second_opinion_percent=100)
    author, first, second = (agreed_person(campaign) for _ in range(3))
    judged_turn(campaign, author)

    taken = opinions.take(first)

    assert opinions.take(author) is None
    assert opinions.take(second) is None
    assert opinions.take(first) == taken


def test_a_second_opinion_does_not_carry_the_dialogue_on():
    campaign = live_campaign(second_opinion_percent=100)
    turn, person = judged_turn(campaign), agreed_person(campaign)

    comparison = judge(opinions.take(person))

    turn.refresh_from_db()
    assert turn.continued_by != comparison
    assert comparison.turn == turn
    assert comparison.crowdworker == person
    assert opinions.take(person) is None
    assert Comparison.objects.count() == 2


def test_what_was_taken_back_is_read_by_nobody_until_it_is_chosen_again():
    campaign = live_campaign(second_opinion_percent=100)
    author, other = agreed_person(campaign), agreed_person(campaign)
    turn = answered(said(begun(campaign, author)))
    first = chosen(turn)

    undoing.undo_choice(first)
    assert opinions.take(other) is None

    turn.refresh_from_db()
    chosen(turn, side="B")
    assert judge(opinions.take(other)).turn == turn


def test_an_item_in_hand_when_the_choice_is_taken_back_does_not_wait_for_the_next():
    campaign = live_campaign(second_opinion_percent=100)
    author, reader, other = (agreed_person(campaign) for _ in range(3))
    turn = answered(said(begun(campaign, author)))
    first = chosen(turn)
    held = opinions.take(reader)

    undoing.undo_choice(first)

    assert opinions.pass_on(held)
    assert opinions.take(other) is None


@pytest.mark.parametrize(
    ("author", "judge_", "origin"),
    [("direct", "simulated", "simulated"), ("simulated", "direct", "crowd")],
)
def test_an_opinion_has_the_origin_of_the_person_who_gave_it(author, judge_, origin):
    campaign = live_campaign(second_opinion_percent=100)
    judged_turn(campaign, agreed_person(campaign, platform=author))

    comparison = judge(opinions.take(agreed_person(campaign, platform=judge_)))

    assert comparison.origin == origin


def test_an_overdue_item_goes_to_somebody_else_and_the_late_choice_is_not_needed():
    campaign = live_campaign(second_opinion_percent=100)
    judged_turn(campaign)
    slow, quick = agreed_person(campaign), agreed_person(campaign)
    late = opinions.take(slow)
    Showing.objects.filter(pk=late.pk).update(lease_until=timezone.now() - timedelta(seconds=1))

    assert opinions.release_overdue() == 1
    taken = opinions.take(quick)
    late.refresh_from_db()

    assert taken is not None
    with pytest.raises(judging.LeaseOver):
        judge(late)
    judge(taken)


def test_red_team_items_only_for_those_who_opted_in():
    campaign = live_campaign(objective="harmless", second_opinion_percent=100)
    judged_turn(campaign)
    willing, other = agreed_person(campaign), agreed_person(campaign)
    other.is_red_team_opted_in = False
    other.save(update_fields=["is_red_team_opted_in"])

    assert opinions.take(other) is None
    assert opinions.take(willing).is_covered


def test_sides_are_drawn_anew(monkeypatch):
    campaign = live_campaign(second_opinion_percent=100)
    monkeypatch.setattr(opinions, "is_coin_heads", lambda: True)
    turn = answered(said(begun(campaign)), a="mine", b="yours")

    chosen(turn, side="A")

    showing = Showing.objects.get(purpose="second_opinion")
    assert (showing.side_a.text_sha256, showing.side_b.text_sha256) == (
        hash_of("yours"),
        hash_of("mine"),
    )


def test_only_campaigns_whose_wording_the_person_accepted():
    campaign = live_campaign(second_opinion_percent=100)
    judged_turn(campaign)
    person = agreed_person(campaign)
    newer = campaign.instruction_versions.create(version=2, summary="", body="", consent="")

    assert opinions.take(person) is None
    onboarding.give_consent(person, newer)

    assert opinions.take(person) is not None


def test_only_people_in_good_standing():
    campaign = live_campaign(second_opinion_percent=100)
    judged_turn(campaign)
    person = agreed_person(campaign, standing="suspended")

    assert opinions.take(person) is None
    assert opinions.waiting_count(person) == 0


def test_an_item_held_from_before_new_instructions_waits_for_consent():
    campaign = live_campaign(second_opinion_percent=100)
    judged_turn(campaign)
    person = agreed_person(campaign)
    held = opinions.take(person)
    newer = campaign.instruction_versions.create(version=2, summary="", body="", consent="")

    assert opinions.take(person) is None
    onboarding.give_consent(person, newer)
    assert opinions.take(person) == held


def test_red_team_items_count_from_when_they_were_taken_and_stop_at_the_daily_cap():
    campaign = live_campaign(objective="harmless", second_opinion_percent=100, red_team_daily_cap=2)
    judged_turn(campaign)
    judged_turn(campaign)
    person = agreed_person(campaign)
    Showing.objects.update(created_at=timezone.now() - timedelta(days=2))  # queued for long

    first = opinions.take(person)
    assert first is not None
    assert wellbeing.shown_today(person) == 2
    judge(first)

    assert opinions.take(person) is None
    Showing.objects.filter(pk=first.pk).update(lease_until=timezone.now() - timedelta(days=1))
    assert opinions.take(person) is not None


def test_an_item_that_was_judged_or_renewed_meanwhile_is_not_released(monkeypatch):
    campaign = live_campaign(second_opinion_percent=100)
    judged_turn(campaign)
    showing = opinions.take(agreed_person(campaign))
    Showing.objects.filter(pk=showing.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    queryset = type(Showing.objects.all())
    locked = queryset.select_for_update

    def renewed_first(self, *args, **kwargs):
        Showing.objects.filter(pk=showing.pk).update(lease_until=timezone.now() + opinions.LEASE)
        return locked(self, *args, **kwargs)

    monkeypatch.setattr(queryset, "select_for_update", renewed_first)

    assert opinions.release_overdue() == 0

    showing.refresh_from_db()
    assert showing.replaced_at is None


@pytest.mark.parametrize("flag", [{"is_heeded": True}, {"kind": "personal_data"}])
def test_what_can_never_be_released_is_not_handed_out(flag):
    campaign = live_campaign(second_opinion_percent=100)
    turn, person = judged_turn(campaign), agreed_person(campaign)
    values = {"kind": "other"} | flag
    raised = Flag.objects.create(turn=turn, crowdworker=turn.conversation.crowdworker, **values)

    assert opinions.take(person) is None

    Flag.objects.filter(pk=raised.pk).update(resolved_at=timezone.now(), is_heeded=False)
    assert opinions.take(person) is not None


def test_nothing_is_kept_of_one_who_withdrew_between_reading_and_storing():
    campaign = live_campaign(second_opinion_percent=100)
    judged_turn(campaign)
    person = agreed_person(campaign)
    showing = opinions.take(person)
    assert showing.crowdworker.standing == "active"  # as the request read it
    withdrawal.withdraw(person)

    with pytest.raises(judging.LeaseOver):
        judge(showing, reason_text="my private words")

    assert not Comparison.objects.filter(crowdworker=person).exists()
